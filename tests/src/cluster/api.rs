//! A real API server over a real etcd, in the node's network namespace of a world.

use super::inside::Inside;
use super::pki::Pki;
use super::server::Server;
use crate::wait::wait_within;
use crate::world::{Addresses, World, command_inside};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::request::Request;
use kube::{Client, Config};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The address that the API server gives its own Service.
pub const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// How long it may take to be ready: two seconds, most of them when other tests run beside.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where etcd listens.
const ETCD: &str = "http://127.0.0.1:2379";

/// Where the API server listens, for the node and for its pods.
pub fn url() -> String {
    format!("https://{}:6443", Addresses::NODE.v4)
}

/// An API server that authenticates and authorises (RBAC), without controllers and kubelets: what is put into it stays as
/// it is. Its Service addresses are 10.96.0.0/16 and `fd00:10:96::/112`.
pub struct Api {
    // Dropped in this order.
    client: Client,
    inside: Inside,
    server: Server,
    etcd: Server,
    place: (crate::world::Netns, crate::world::Cgroup),
    data: PathBuf,
    pki: Pki,
}

impl Api {
    /// Starts both and waits until they serve. A world takes one.
    pub fn start(world: &World) -> Result<Self> {
        let home = world.home().path("api");
        let pki = Pki::create(home.clone())?;
        let place = world.node_place("control-plane")?;
        let logs = world.home().path("logs");
        let data = home.join("etcd");
        let etcd = Server::new("etcd", etcd_arguments(&data), place.clone(), logs.join("etcd.log"))?;
        let arguments = api_arguments(&pki, &home);
        let server = Server::new("kube-apiserver", arguments, place.clone(), logs.join("kube-apiserver.log"))?;
        let inside = Inside::enter(&place.0)?;
        let client = inside.run(connect(pki.file("kubeconfig")))?;
        let api = Self { client, inside, server, etcd, place, data, pki };
        api.etcd.start()?;
        api.server.start()?;
        api.wait_ready()?;
        Ok(api)
    }

    /// Waits until it serves requests.
    pub fn wait_ready(&self) -> Result<()> {
        wait_within(PATIENCE, "the API server to be ready", || {
            self.server.check()?;
            self.etcd.check()?;
            let client = self.client.clone();
            self.run(async move {
                let asked = tokio::time::timeout(Duration::from_secs(5), ready(client)).await;
                asked.context("no answer within 5 s")?
            })
        })
        .with_context(|| format!("the API server said:\n{}", self.server.log_tail()))
    }

    /// The API server's process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The etcd's process.
    pub fn etcd(&self) -> &Server {
        &self.etcd
    }

    /// An administrator's kubeconfig, for programs on the node or in its pods.
    pub fn kubeconfig(&self) -> PathBuf {
        self.pki.file("kubeconfig")
    }

    /// A kubeconfig with another token, of a service account for instance.
    pub fn kubeconfig_with(&self, user: &str, token: &str) -> Result<PathBuf> {
        self.pki.write_kubeconfig(user, token)
    }

    /// An administrator's client, to be used in [`Api::run`] only.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Another client of the same, with connections of its own.
    pub fn new_client(&self) -> Result<Client> {
        self.run(connect(self.kubeconfig()))
    }

    /// Runs a future in the node's network namespace and waits for what it gives.
    pub fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.inside.run(work)
    }

    /// `kubectl` with an administrator's rights, on the node.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(super::components::find("kubectl")?)?;
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        finish(&mut command)
    }

    /// Ends both, forgets every object, and starts both again: uids and resource versions begin anew.
    pub fn wipe(&self) -> Result<()> {
        self.server.kill()?;
        self.etcd.kill()?;
        fs::remove_dir_all(&self.data).with_context(|| format!("remove {}", self.data.display()))?;
        self.etcd.start()?;
        self.server.start()?;
        self.wait_ready()
    }

    /// Has etcd forget all revisions but the present: who asks for what changed since an earlier one is told `410 Gone`.
    pub fn compact(&self) -> Result<()> {
        // The key "a": any question is answered with the revision.
        let answer = self.ask_etcd("kv/range", "{\"key\":\"YQ==\"}")?;
        let answer: Value = serde_json::from_str(&answer).context("read etcd's answer")?;
        let revision = answer["header"]["revision"].as_str().with_context(|| format!("no revision in {answer}"))?;
        self.ask_etcd("kv/compaction", &format!("{{\"revision\":{revision},\"physical\":true}}")).map(drop)
    }

    fn ask_etcd(&self, what: &str, json: &str) -> Result<String> {
        let mut command = self.command("curl")?;
        command.args(["--silent", "--show-error", "--fail", "--max-time", "20", "--data", json]);
        finish(command.arg(format!("{ETCD}/v3/{what}")))
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        command_inside(program, &self.place.0, &self.place.1)
    }
}

async fn connect(kubeconfig: PathBuf) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).context("read the kubeconfig")?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Ready, and with the namespace that most objects go into: a controller of the API server's makes it.
async fn ready(client: Client) -> Result<()> {
    let request = Request::new("/readyz").list(&ListParams::default()).context("write a request")?;
    client.request_text(request).await.context("ask /readyz")?;
    kube::Api::<Namespace>::all(client).get("default").await.context("get the namespace default")?;
    Ok(())
}

fn finish(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, complained.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn etcd_arguments(data: &Path) -> Vec<OsString> {
    let peer = "http://127.0.0.1:2380";
    let mut arguments = flags(&[
        ("listen-client-urls", ETCD),
        ("advertise-client-urls", ETCD),
        ("listen-peer-urls", peer),
        ("initial-advertise-peer-urls", peer),
        ("initial-cluster", &format!("default={peer}")),
        ("log-level", "warn"),
        // The data is gone with the world: nothing is to be on a disk.
        ("unsafe-no-fsync", "true"),
    ]);
    arguments.extend(["--data-dir".into(), data.into()]);
    arguments
}

fn api_arguments(pki: &Pki, home: &Path) -> Vec<OsString> {
    let mut arguments = flags(&[
        ("etcd-servers", ETCD),
        ("secure-port", "6443"),
        ("bind-address", "0.0.0.0"),
        ("advertise-address", &Addresses::NODE.v4.to_string()),
        ("service-cluster-ip-range", "10.96.0.0/16,fd00:10:96::/112"),
        ("service-account-issuer", "https://kubernetes.default.svc"),
        ("authorization-mode", "RBAC"),
        ("disable-admission-plugins", "ServiceAccount"),
        ("endpoint-reconciler-type", "none"),
        // Tests are in a hurry, and alone.
        ("enable-priority-and-fairness", "false"),
        ("max-requests-inflight", "0"),
        ("max-mutating-requests-inflight", "0"),
    ]);
    for (flag, file) in [
        ("tls-cert-file", "server.crt"),
        ("tls-private-key-file", "server.key"),
        ("service-account-signing-key-file", "accounts.key"),
        ("service-account-key-file", "accounts.pub"),
        ("token-auth-file", "tokens.csv"),
    ] {
        arguments.extend([format!("--{flag}").into(), pki.file(file).into()]);
    }
    arguments.extend(["--cert-dir".into(), home.join("certs").into()]);
    arguments
}

fn flags(flags: &[(&str, &str)]) -> Vec<OsString> {
    flags.iter().map(|(name, value)| format!("--{name}={value}").into()).collect()
}
