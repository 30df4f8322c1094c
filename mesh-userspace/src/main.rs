//! mesh: the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_userspace::cli::main()
}
