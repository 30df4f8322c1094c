//! The real thing: `mesh agent` over a cgroup and pins of the test's own. Needs root.

use crate::agent::mesh;
use mesh_userspace::datapath::{self, Pins};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

/// A cgroup and a directory of pins, taken away when dropped.
pub struct Place {
    pub cgroup: PathBuf,
    pub pins: PathBuf,
}

impl Place {
    /// A new one.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mesh-cli-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let place = Self {
            cgroup: datapath::find_cgroup().unwrap().join(&name),
            pins: PathBuf::from("/sys/fs/bpf").join(&name),
        };
        std::fs::create_dir(&place.cgroup).unwrap();
        place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let unloaded = datapath::unload(&Pins::new(&self.pins));
        let removed = std::fs::remove_dir(&self.cgroup);
        if !std::thread::panicking() {
            unloaded.unwrap();
            // The doctor took its own cgroup away, or this one could not go.
            removed.unwrap();
        }
    }
}

/// `mesh agent`, killed when dropped.
pub struct Running(std::process::Child);

impl Running {
    /// Starts it over `folder/manifests`, with its socket `folder/mesh.sock`, and waits until it serves.
    pub fn start(place: &Place, folder: &Path) -> Self {
        Self::start_with(place, folder, &[])
    }

    /// The same with further arguments.
    pub fn start_with(place: &Place, folder: &Path, arguments: &[String]) -> Self {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"))
            .args(["agent", "--node-name", "node-1", "--manifests"])
            .arg(folder.join("manifests"))
            .arg("--cgroup")
            .arg(&place.cgroup)
            .arg("--pins")
            .arg(&place.pins)
            .arg("--socket")
            .arg(folder.join("mesh.sock"))
            .args(arguments)
            .stderr(log)
            .spawn()
            .unwrap();
        let mut running = Self(child);
        let status = format!("status -o json --socket {}", folder.join("mesh.sock").display());
        while !is_ready(&mesh(&status)) {
            if let Some(ended) = running.0.try_wait().unwrap() {
                panic!("the agent ended with {ended}: {}", std::fs::read_to_string(folder.join("log")).unwrap());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// It answers, and has read and written everything.
fn is_ready(status: &Output) -> bool {
    serde_json::from_slice::<serde_json::Value>(&status.stdout).is_ok_and(|status| status["health"] != "starting")
}
