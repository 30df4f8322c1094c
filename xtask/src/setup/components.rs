//! What rustup calls components and the lints need: rustup's default profile has them, its minimal one has not.

use super::Item;
use crate::{process, workspace};
use std::process::Command;
use std::time::Duration;

/// Each component, and the program in it.
const COMPONENTS: [(&str, &str); 2] = [("clippy", "cargo-clippy"), ("rustfmt", "cargo-fmt")];

/// A machine without a network must not wait longer for rustup.
const LIMIT: Duration = Duration::from_secs(90);

fn missing() -> Vec<&'static str> {
    let folder = workspace::cargo_home().join("bin");
    // rustup puts a proxy of each in cargo's home, installed or not: it answers only when it is.
    let answers = |program: &str| {
        let place = process::find(program).or_else(|| process::find_in(program, std::slice::from_ref(&folder)));
        place.is_some_and(|place| process::output(Command::new(place).arg("--version")).is_ok())
    };
    COMPONENTS.iter().filter(|(_, program)| !answers(program)).map(|(name, _)| *name).collect()
}

/// All of them, as one item.
pub fn item() -> Item {
    let missing = missing();
    let all: Vec<_> = COMPONENTS.iter().map(|(name, _)| *name).collect();
    Item {
        name: "cargo's lints".to_owned(),
        state: if missing.is_empty() { Ok(all.join(", ")) } else { Err(missing.join(", ")) },
    }
}

/// Installs what is missing. Only the lints need it, and say so themselves when it is not there: no error here.
pub fn ensure() {
    let missing = missing();
    if missing.is_empty() {
        return;
    }
    println!("setup: {} missing: asking rustup", missing.join(", "));
    if let Err(reason) = process::run_within(LIMIT, Command::new("rustup").args(["component", "add"]).args(&missing)) {
        println!("setup: {reason:#}; install {} by hand", missing.join(", "));
    }
}
