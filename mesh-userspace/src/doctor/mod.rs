//! Whether this machine can run mesh, and whether what runs is in force: each check with what to do about a failure.
//!
//! To add a check: a function that gives [`Check`]s, in the file of its noun, and its line in [`examine`].

mod agent;
mod capability;
mod coverage;
mod datapath;
mod kernel;
mod mounts;
pub mod probe;

use crate::api::Client;
use crate::config::DatapathConfig;
use serde::{Deserialize, Serialize};

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// mesh works, less well or not yet.
    Warning,
    /// mesh does not work.
    Failed,
}

impl Verdict {
    /// The word as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One check and its result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What was looked at: a stable name.
    pub check: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub message: String,
    /// What to do; empty when all is well.
    pub action: String,
}

impl Check {
    fn new(check: &str, verdict: Verdict, message: impl Into<String>, action: impl Into<String>) -> Self {
        Self { check: check.to_owned(), verdict, message: message.into(), action: action.into() }
    }

    fn ok(check: &str, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, message, "")
    }

    fn warning(check: &str, message: impl Into<String>, action: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, message, action)
    }

    fn failed(check: &str, message: impl Into<String>, action: impl Into<String>) -> Self {
        Self::new(check, Verdict::Failed, message, action)
    }
}

/// Makes every check in turn and hands each over as soon as it is known.
pub async fn examine(datapath: &DatapathConfig, client: &Client, mut report: impl FnMut(Check)) {
    kernel::checks().into_iter().for_each(&mut report);
    report(capability::check());
    report(mounts::cgroup(&datapath.cgroup));
    report(mounts::bpffs(&datapath.pins));
    let (check, status) = agent::check(client, datapath).await;
    report(check);
    datapath::checks(datapath, status.is_some()).into_iter().for_each(&mut report);
    report(coverage::check(datapath, client, status.is_some()).await);
}
