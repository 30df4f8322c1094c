//! `mesh crd`.

use super::exit::Exit;
use crate::crd;
use std::io::Write as _;

/// Print the CustomResourceDefinitions, as `kubectl apply -f -` takes them.
///
/// They are made from the types that this agent reads, so they always fit it. The chart carries the same.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

const EXAMPLES: &str = "\
Examples:
  Install them, or bring them up to date:
    mesh crd | kubectl apply --server-side -f -";

impl Arguments {
    /// Prints them.
    #[expect(clippy::unused_self, reason = "as every verb")]
    pub fn run(self) -> anyhow::Result<Exit> {
        std::io::stdout().write_all(crd::yaml()?.as_bytes())?;
        Ok(Exit::Ok)
    }
}
