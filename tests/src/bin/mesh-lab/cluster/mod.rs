//! The lab's story on a real cluster: kubelets start the shop, and mesh is a DaemonSet in kube-proxy's place.

mod acts;
mod agents;
mod shop;
mod stage;

use crate::Up;
use crate::lab::interruption;
use anyhow::{Result, ensure};
use stage::Stage;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// `mesh-lab --cluster`, from nothing to the exit code.
pub fn run(up: &Up) -> Result<ExitCode> {
    ensure!(up.manifests.is_none(), "--cluster shows the shop: bring your own application to `cargo xtask cluster up`");
    let started = Instant::now();
    let interrupted = interruption()?;
    let mut stage = Stage::raise(interrupted)?;
    let played = acts::play(&mut stage);
    if stage.interrupted.load(Ordering::Relaxed) {
        stage.screen.say("interrupted: everything is taken down");
        return Ok(ExitCode::FAILURE);
    }
    if let Err(error) = played {
        stage.note::<anyhow::Error>("the lab goes on to its end", Err(error));
    }
    let code = stage.promises.summary(&mut stage.screen, started.elapsed().as_secs_f64());
    if up.keep {
        stage.keep()?;
    }
    Ok(code)
}
