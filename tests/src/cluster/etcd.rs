//! etcd: what the API server keeps everything in.

use super::components::Components;
use super::daemon::Daemon;
use super::place::Place;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// Where it listens, in its place.
pub(super) const URL: &str = "http://127.0.0.1:2379";
const PEERS: &str = "http://127.0.0.1:2380";

/// One member, alone. It is a [`Daemon`]: killed, paused and started as one.
#[derive(Debug)]
pub struct Etcd {
    daemon: Daemon,
    place: Place,
    data: PathBuf,
}

impl Etcd {
    pub(super) fn new(components: &Components, place: &Place) -> Result<Self> {
        let data = place.folder().join("etcd");
        let arguments = ["--listen-client-urls", URL, "--advertise-client-urls", URL, "--listen-peer-urls", PEERS];
        let mut arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
        // The tests kill processes, never the machine: what is written is there without fsync, too.
        arguments.extend(["--unsafe-no-fsync".into(), "--data-dir".into(), data.clone().into_os_string()]);
        Ok(Self { daemon: Daemon::new(components.program("etcd")?, arguments, place), place: place.clone(), data })
    }

    /// Its directory of data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Removes everything that it holds. It must not be running.
    pub(super) fn remove_data(&self) -> Result<()> {
        ensure!(!self.daemon.is_running(), "etcd is running");
        match fs::remove_dir_all(&self.data) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("remove etcd's data"),
            _ => Ok(()),
        }
    }

    /// Forgets the history before now: a watch from an earlier revision gets `410 Gone` from etcd, and so from an API
    /// server that was started after this. Returns the revision.
    pub fn compact(&self) -> Result<u64> {
        // JSON has 64-bit numbers as text here.
        let now = self.post("range", &json!({"key": "AA=="}))?;
        let revision = now["header"]["revision"].as_str().with_context(|| format!("no revision in {now}"))?.to_owned();
        self.post("compaction", &json!({"revision": revision, "physical": true}))?;
        revision.parse().with_context(|| format!("etcd's revision {revision}"))
    }

    fn post(&self, verb: &str, body: &Value) -> Result<Value> {
        let mut curl = self.place.command(Path::new("curl"))?;
        curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "10", "--data", &body.to_string()]);
        let output = curl.arg(format!("{URL}/v3/kv/{verb}")).output().context("run curl")?;
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "etcd, {verb} {body}: {said}{complained}");
        serde_json::from_str(&said).with_context(|| format!("etcd answered {said}"))
    }
}

impl Deref for Etcd {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}
