//! `mesh completions`.

use super::exit::Exit;
use clap_complete::Shell;
use std::io::Write as _;

/// Print the completions of a shell.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The shell.
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  This session of bash:
    source <(mesh completions bash)
  Every session of fish:
    mesh completions fish > ~/.config/fish/completions/mesh.fish";

impl Arguments {
    /// Prints them.
    pub fn run(self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "mesh", &mut script);
        std::io::stdout().write_all(&script)?;
        Ok(Exit::Ok)
    }
}
