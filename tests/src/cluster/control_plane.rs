//! The programs that make a cluster of an API server: controllers, and the scheduler.

use super::addresses::POD_RANGES;
use super::api_server::{ApiServer, SERVICE_RANGES};
use super::components::Components;
use super::daemon::Daemon;
use super::pki::Pki;
use super::place::Place;
use super::users::User;
use anyhow::Result;
use std::ffi::OsString;

/// An API server with what acts on its objects.
#[derive(Debug)]
pub struct ControlPlane {
    controllers: Daemon,
    scheduler: Daemon,
    api: ApiServer,
}

impl ControlPlane {
    /// Starts all of it, for nodes of these names. The API server is ready when this returns.
    pub(super) fn start(place: &Place, nodes: &[String]) -> Result<Self> {
        let mut users = vec![User::ADMIN, User::CONTROLLERS, User::SCHEDULER, User::KUBE_PROXY];
        users.extend(nodes.iter().map(|name| User::node(name)));
        let api = ApiServer::start(place.clone(), &users, &["--enable-admission-plugins=NodeRestriction".into()])?;
        let components = Components::find()?;
        let daemon = |name: &str, user: &User, arguments: Vec<OsString>| -> Result<Daemon> {
            let mut all: Vec<OsString> = vec!["--kubeconfig".into(), ApiServer::access(place, user).into()];
            all.push("--leader-elect=false".into());
            all.extend(arguments);
            let daemon = Daemon::new(components.program(name)?, all, place);
            daemon.start().map(|()| daemon)
        };
        let controllers = daemon("kube-controller-manager", &User::CONTROLLERS, controller_flags(api.pki()))?;
        let scheduler = daemon("kube-scheduler", &User::SCHEDULER, Vec::new())?;
        Ok(Self { controllers, scheduler, api })
    }

    /// The API server with its etcd.
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// kube-controller-manager's process.
    pub fn controllers(&self) -> &Daemon {
        &self.controllers
    }

    /// kube-scheduler's process.
    pub fn scheduler(&self) -> &Daemon {
        &self.scheduler
    }

    /// Fails with the log of whichever of them has ended.
    pub(super) fn ensure_running(&self) -> Result<()> {
        let others = [&self.controllers, &self.scheduler];
        let all = others.into_iter().chain([self.api.server(), self.api.etcd()]);
        all.into_iter().try_for_each(Daemon::ensure_running)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // Who has ended already is what we want.
        self.controllers.kill().ok();
        self.scheduler.kill().ok();
    }
}

fn controller_flags(pki: &Pki) -> Vec<OsString> {
    vec![
        "--use-service-account-credentials".into(),
        format!("--service-cluster-ip-range={}", SERVICE_RANGES.join(",")).into(),
        format!("--cluster-cidr={}", POD_RANGES.join(",")).into(),
        "--root-ca-file".into(),
        pki.authority().into(),
        "--service-account-private-key-file".into(),
        pki.accounts_key().into(),
    ]
}
