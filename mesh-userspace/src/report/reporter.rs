//! Telling the cluster what is new, while this agent is the elected one.

use super::Reports;
use super::told::{Action, Told};
use super::wanted::wanted;
use super::write::{Writer, why};
use kube::Client;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two writes: ten thousand Services with something unsupported must not be told all at once.
const PACE: Duration = Duration::from_millis(20);

/// After writes that failed.
const AGAIN: Duration = Duration::from_secs(10);

/// Tells the cluster.
pub struct Reporter {
    writer: Writer,
    reports: Reports,
    leading: watch::Receiver<bool>,
    /// What the log was told of a failure that goes on.
    failing: String,
}

impl Reporter {
    /// Tells what `reports` holds while `leading` is true.
    pub fn new(client: Client, node: Arc<str>, reports: Reports, leading: watch::Receiver<bool>) -> Self {
        Self { writer: Writer::new(client, node), reports, leading, failing: String::new() }
    }

    /// Runs until nobody leaves reports or elects any more.
    pub async fn run(mut self) {
        while self.leading.wait_for(|leading| *leading).await.is_ok() {
            if self.lead().await.is_err() {
                return;
            }
        }
    }

    /// Tells until another agent does; fails when nobody leaves reports any more.
    async fn lead(&mut self) -> Result<(), watch::error::RecvError> {
        self.reports.wait_for(Option::is_some).await?;
        let mut told = loop {
            match self.writer.found().await {
                Ok(found) => break Told::found(found),
                Err(error) => self.complain(why(error)),
            }
            tokio::time::sleep(AGAIN).await;
            if !*self.leading.borrow() {
                return Ok(());
            }
        };
        // What an earlier agent wrote Events about is not wrong once more because this one took over.
        let mut again = false;
        loop {
            let report = self.reports.borrow_and_update().clone().unwrap_or_default();
            let wanted = wanted(&report);
            told.forget(&wanted);
            let mut failed = false;
            for action in told.lacks(&wanted) {
                if !*self.leading.borrow() {
                    return Ok(());
                }
                match self.act(&action, again).await {
                    Ok(()) => told.done(action),
                    Err(error) => {
                        failed = true;
                        self.complain(why(error));
                    }
                }
                tokio::time::sleep(PACE).await;
            }
            if !failed {
                self.failing.clear();
                again = true;
            }
            tokio::select! {
                changed = self.reports.changed() => changed?,
                changed = self.leading.changed() => changed?,
                () = tokio::time::sleep(AGAIN), if failed => {}
            }
        }
    }

    async fn act(&self, action: &Action, again: bool) -> Result<(), kube::Error> {
        match action {
            Action::Conditions(object, generation, said) => self.writer.conditions(object, *generation, said).await,
            Action::Event(object, note) => self.writer.event(object, note, again).await,
        }
    }

    /// Tells the log of a failure, once while it goes on.
    fn complain(&mut self, why: String) {
        if self.failing != why {
            tracing::warn!("the cluster could not be told what is wrong with its objects: {why}; trying again");
            self.failing = why;
        }
    }
}
