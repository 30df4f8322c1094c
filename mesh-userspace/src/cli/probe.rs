//! `mesh probe`, the child of `mesh doctor`: not for people.

use super::exit::Exit;
use super::output::print;
use crate::doctor::probe;

/// Try one connection for `mesh doctor`, from inside a cgroup and a network namespace of its own.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// What to try, as JSON.
    question: String,
}

const EXAMPLES: &str = "\
Examples:
  Not for people: see mesh doctor.
    mesh doctor";

impl Arguments {
    /// Tries it and prints what came of it as JSON.
    pub fn run(self) -> anyhow::Result<Exit> {
        let outcome = probe::answer(&serde_json::from_str(&self.question)?)?;
        print(&format!("{}\n", serde_json::to_string(&outcome)?))?;
        Ok(Exit::Ok)
    }
}
