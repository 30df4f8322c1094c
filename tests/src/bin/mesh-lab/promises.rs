//! What was promised, and whether it was kept.

use crate::screen::Screen;
use std::fmt::Display;
use std::process::ExitCode;

/// The promises of one run.
#[derive(Debug, Default)]
pub struct Promises {
    kept: usize,
    broken: Vec<String>,
}

impl Promises {
    /// Notes a promise, and says whether it was kept; an error is what was seen instead.
    pub fn note<E: Display>(&mut self, screen: &mut Screen, promise: &str, outcome: Result<(), E>) {
        match outcome {
            Ok(()) => {
                self.kept += 1;
                screen.good(promise);
            }
            Err(seen) => {
                let text = format!("{promise}: {seen:#}");
                screen.bad(&text);
                self.broken.push(text);
            }
        }
    }

    /// The last words of a run.
    pub fn summary(&self, screen: &mut Screen, seconds: f64) -> ExitCode {
        let all = self.kept + self.broken.len();
        screen.act("Summary");
        if self.broken.is_empty() {
            screen.good(&format!("all {all} promises were kept, in {seconds:.0} s"));
            return ExitCode::SUCCESS;
        }
        screen.bad(&format!("{} of {all} promises were broken, in {seconds:.0} s:", self.broken.len()));
        for broken in &self.broken {
            screen.say(&format!("    {broken}"));
        }
        ExitCode::FAILURE
    }
}

/// `Ok` when `seen` is what was expected, else both.
pub fn same<T: PartialEq + std::fmt::Debug>(seen: &T, expected: &T) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("saw {seen:?}, expected {expected:?}")) }
}
