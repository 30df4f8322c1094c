//! `mesh man`.

use super::exit::Exit;
use anyhow::Context as _;
use std::io::Write as _;
use std::path::PathBuf;

/// Write the manual pages: one for mesh, and one for each command.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The directory to write to; without it, the page of mesh itself is printed.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Read the page of mesh:
    mesh man | man -l -
  Install all pages:
    mesh man /usr/local/share/man/man1";

impl Arguments {
    /// Writes them.
    pub fn run(self) -> anyhow::Result<Exit> {
        let command = super::command();
        if let Some(directory) = self.directory {
            std::fs::create_dir_all(&directory)
                .and_then(|()| clap_mangen::generate_to(command, &directory))
                .with_context(|| format!("write manual pages to {}", directory.display()))?;
        } else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
        }
        Ok(Exit::Ok)
    }
}
