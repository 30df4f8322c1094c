//! Waiting for a condition, never for a time.

use anyhow::{Result, bail};
use std::fmt::{Debug, Display};
use std::time::{Duration, Instant};

/// How long a condition may take to come true: far longer than it should on a busy machine, since only failures wait.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Tries `condition` until it is `Ok`, and returns what it gave. After [`PATIENCE`] it fails with `what` and the last
/// error, so write into the error what was seen instead.
pub fn wait_for<T, E: Display>(what: &str, condition: impl FnMut() -> Result<T, E>) -> Result<T> {
    wait_for_within(PATIENCE, what, condition)
}

/// The same for what takes its time even when all is well: a real API server, the pods of a Deployment.
pub fn wait_for_within<T, E: Display>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, E>,
) -> Result<T> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            // `{:#}` lets an anyhow error show its causes.
            Err(seen) if started.elapsed() > patience => {
                bail!("waited {} s for {what}; last seen: {seen:#}", patience.as_secs())
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Waits until `current()` equals `expected`.
pub fn wait_until_equal<T: PartialEq + Debug>(what: &str, expected: &T, mut current: impl FnMut() -> T) -> Result<()> {
    wait_for(what, || {
        let seen = current();
        if seen == *expected { Ok(()) } else { Err(format!("{seen:?} where {expected:?} was expected")) }
    })
}
