//! mesh: the command.
fn main() {}
