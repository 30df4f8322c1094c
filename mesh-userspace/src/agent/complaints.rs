//! What is wrong, told to the log once: when it begins, and when it is over.

use std::collections::BTreeSet;

/// What the log was told of and is not over.
#[derive(Debug, Default)]
pub struct Complaints {
    told: BTreeSet<String>,
}

impl Complaints {
    /// Compares what is wrong now with what the log was told.
    pub fn tell(&mut self, now: BTreeSet<String>) {
        for new in now.difference(&self.told) {
            tracing::warn!("{new}");
        }
        for over in self.told.difference(&now) {
            tracing::info!("over: {over}");
        }
        self.told = now;
    }
}
