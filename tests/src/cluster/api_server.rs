//! kube-apiserver with its etcd, in a network namespace of their own.

use super::components::Components;
use super::daemon::Daemon;
use super::etcd::{self, Etcd};
use super::kubeconfig;
use super::kubectl::Kubectl;
use super::pki::Pki;
use super::place::Place;
use super::users::User;
use crate::wait::wait_for_within;
use crate::world::World;
use anyhow::{Context, Result, ensure};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where it listens, in its place.
const PORT: u16 = 6443;

/// From where it gives addresses to Services.
pub const SERVICE_RANGES: [&str; 2] = ["10.96.0.0/16", "fd00:10:96::/112"];

/// Its own Service's addresses: the first of each range.
const OWN_SERVICE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 1))];

/// How long it may take to be ready. Two seconds on an idle machine.
const START: Duration = Duration::from_secs(90);

/// An API server, and its etcd. Dropping it ends both.
#[derive(Debug)]
pub struct ApiServer {
    place: Place,
    pki: Pki,
    etcd: Etcd,
    server: Daemon,
    kubectl: Kubectl,
}

impl ApiServer {
    /// An API server that pods and the node of this world reach at [`ApiServer::url`]; it is ready when this returns.
    /// No controllers run, and no scheduler. Everybody who has no right gets `403`: RBAC is on.
    pub fn beside(world: &World) -> Result<Self> {
        let (netns, addresses, cgroup) = world.guest("api")?;
        let addresses = [addresses.v4.into(), addresses.v6.into()];
        let place = Place::new(netns, cgroup, world.home().path("api"), addresses)?;
        // Without a controller no account gets made, and a Pod that needs one could not be created.
        Self::start(place, &[User::ADMIN], &["--disable-admission-plugins=ServiceAccount".into()])
    }

    /// Starts both in this place, for these users, and waits until they are ready.
    pub(super) fn start(place: Place, users: &[User], arguments: &[OsString]) -> Result<Self> {
        let components = Components::find()?;
        let addresses: Vec<_> = place.addresses().into_iter().chain(OWN_SERVICE).chain([loopback()]).collect();
        let pki = Pki::create(place.folder().join("pki"), &addresses)?;
        let etcd = Etcd::new(&components, &place)?;
        let tokens = place.folder().join("tokens.csv");
        let lines: String = users.iter().map(User::line).collect();
        fs::write(&tokens, lines).with_context(|| format!("write {}", tokens.display()))?;
        let url = url(&place);
        for user in users {
            kubeconfig::write(&Self::access(&place, user), &url, &pki.authority(), &user.token())?;
        }

        let mut all = flags(&place, &pki, &tokens);
        all.extend_from_slice(arguments);
        let server = Daemon::new(components.program("kube-apiserver")?, all, &place);
        let kubectl = Kubectl::new(components.program("kubectl")?, place.clone(), Self::access(&place, &User::ADMIN));
        let api = Self { place, pki, etcd, server, kubectl };
        api.etcd.start()?;
        api.server.start()?;
        api.wait_ready().map(|()| api)
    }

    /// Waits until it answers that it is ready and the namespace `default` is there.
    pub fn wait_ready(&self) -> Result<()> {
        let ended = wait_for_within(START, "the API server to be ready", || {
            // Whoever ended comes to no good by waiting.
            if let Err(ended) = self.etcd.ensure_running().and_then(|()| self.server.ensure_running()) {
                return Ok(Err(ended));
            }
            ["/readyz", "/api/v1/namespaces/default"].iter().try_for_each(|path| self.fetch(path)).map(Ok)
        });
        ended.and_then(|ended| ended)
    }

    /// kube-apiserver's process, to be killed, paused and started.
    pub fn server(&self) -> &Daemon {
        &self.server
    }

    /// etcd's process, to be killed, paused and started.
    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// SIGKILL to kube-apiserver, and a new one over the same etcd, ready when this returns.
    pub fn restart(&self) -> Result<()> {
        self.server.kill()?;
        self.server.start()?;
        self.wait_ready()
    }

    /// Loses everything that was ever written: both are killed, etcd's data is removed, both start anew.
    pub fn wipe(&self) -> Result<()> {
        if self.server.is_running() {
            self.server.kill()?;
        }
        if self.etcd.is_running() {
            self.etcd.kill()?;
        }
        self.etcd.remove_data()?;
        self.etcd.start()?;
        self.server.start()?;
        self.wait_ready()
    }

    /// Where it is, as the world's node and pods reach it: `https://10.244.0.2:6443`.
    pub fn url(&self) -> String {
        url(&self.place)
    }

    /// The administrator's file of access. Every path in it is absolute.
    pub fn kubeconfig(&self) -> &Path {
        self.kubectl.kubeconfig()
    }

    /// The certificate that its own is signed by.
    pub fn authority(&self) -> PathBuf {
        self.pki.authority()
    }

    /// Where it runs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Creates or changes these objects, YAML or JSON.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.kubectl.apply(manifests)
    }

    /// Runs `work` with the administrator's client, on a thread inside the API server's network namespace: this
    /// process itself is in none from which the address can be reached.
    pub fn with_client<T: Send, F: Future<Output = Result<T>>>(
        &self,
        work: impl FnOnce(kube::Client) -> F + Send,
    ) -> Result<T> {
        self.place.netns().run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let file = Kubeconfig::read_from(self.kubeconfig()).context("read the kubeconfig")?;
                let first = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(file, &first).await.context("use the kubeconfig")?;
                work(kube::Client::try_from(config)?).await
            })
        })
    }

    /// The file of access of one of its users.
    pub(super) fn access(place: &Place, user: &User) -> PathBuf {
        place.folder().join(format!("{}.kubeconfig", user.name().replace(':', "-")))
    }

    fn fetch(&self, path: &str) -> Result<()> {
        let mut curl = self.place.command(Path::new("curl"))?;
        curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "5", "--cacert"]);
        curl.arg(self.authority()).arg("--header").arg(format!("Authorization: Bearer {}", User::ADMIN.token()));
        let output = curl.arg(format!("{}{path}", self.url())).output().context("run curl")?;
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{path}: {said}{complained}");
        Ok(())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // Who has ended already, or was killed by the test, is what we want.
        self.server.kill().ok();
        self.etcd.kill().ok();
    }
}

const fn loopback() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

fn url(place: &Place) -> String {
    format!("https://{}:{PORT}", place.addresses()[0])
}

fn flags(place: &Place, pki: &Pki, tokens: &Path) -> Vec<OsString> {
    let flag = |name: &str, value: &Path| {
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(value);
        flag
    };
    vec![
        format!("--etcd-servers={}", etcd::URL).into(),
        format!("--secure-port={PORT}").into(),
        format!("--advertise-address={}", place.addresses()[0]).into(),
        format!("--service-cluster-ip-range={}", SERVICE_RANGES.join(",")).into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        flag("service-account-signing-key-file", &pki.accounts_key()),
        flag("service-account-key-file", &pki.accounts_public_key()),
        flag("tls-cert-file", &pki.server_certificate()),
        flag("tls-private-key-file", &pki.server_key()),
        flag("token-auth-file", tokens),
        "--authorization-mode=Node,RBAC".into(),
        "--allow-privileged=true".into(),
        "--kubelet-preferred-address-types=InternalIP".into(),
    ]
}
