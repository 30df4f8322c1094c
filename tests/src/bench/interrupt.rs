//! Ctrl-C: noticed between rounds, so that everything is taken down in order.

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on a signal asks for the end instead of being it. Processes inside pods still die of it.
pub fn listen() -> Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(asked)).context("wait for signals")?;
    }
    Ok(())
}

/// Fails once the end was asked for.
pub fn check() -> Result<()> {
    ensure!(!ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed)), "interrupted");
    Ok(())
}
