//! One cluster for all tests of a test program.

use super::whole::{Cluster, Options};
use anyhow::{Result, anyhow};
use std::sync::{Arc, Mutex, PoisonError};

static SHARED: Mutex<Option<Result<Arc<Cluster>, String>>> = Mutex::new(None);

impl Cluster {
    /// The cluster that all tests of this program share: the first to ask starts it with its options, and it is removed
    /// when the program ends. Tests keep out of each other's way by namespaces of their own.
    pub fn shared(options: &Options) -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = shared.get_or_insert_with(|| {
            // SAFETY: the handler is a function of this program, and unwinds into nobody: it drops a value.
            unsafe { libc::atexit(remove) };
            Self::start(options).map(Arc::new).map_err(|error| format!("{error:#}"))
        });
        cluster.clone().map_err(|error| anyhow!("the shared cluster did not start: {error}"))
    }
}

/// A static value is never dropped.
extern "C" fn remove() {
    drop(SHARED.lock().unwrap_or_else(PoisonError::into_inner).take());
}
