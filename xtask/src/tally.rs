//! The totals of a test run.

/// How many tests went how, over any number of test programs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// What failed, by name.
    failures: Vec<String>,
}

impl Tally {
    /// Takes in a line that a test program wrote.
    pub fn line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for part in counts.split("; ") {
            if let Some((Ok(count), what)) = part.split_once(' ').map(|(count, what)| (count.parse::<u64>(), what)) {
                match what {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.skipped += count,
                    _ => {}
                }
            }
        }
    }

    /// Takes in one more outcome: a check, or a test program that ended without its result.
    pub fn outcome(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.push(name.to_owned());
        }
    }

    /// How many tests failed.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// How many tests ran, whatever came of them.
    pub fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    /// What failed, a line each, and the totals, alone on the last line.
    pub fn summary(&self) -> String {
        let mut lines: Vec<_> = self.failures.iter().map(|name| format!("FAILED: {name}")).collect();
        lines.push(format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn tally(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.line(line));
        tally
    }

    #[test]
    fn results_of_several_programs_add_up() {
        let tally = tally(
            "running 3 tests\n\
             test a::b ... ok\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             running 2 tests\n\
             test c ... FAILED\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.01s\n",
        );
        assert_eq!(tally.summary(), "FAILED: c\n4 passed, 1 failed, 1 skipped");
        assert_eq!((tally.ran(), tally.failed()), (5, 1));
    }

    #[test]
    fn what_tests_print_is_no_result() {
        let tally = tally("the test result: 5 passed\ntest result\n 9 passed; 9 failed\ntest x ... ok\n");
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn a_failed_check_is_a_failure_with_its_name() {
        let mut tally = Tally::default();
        tally.outcome("rustfmt", true);
        tally.outcome("clippy", false);
        assert_eq!(tally.summary(), "FAILED: clippy\n1 passed, 1 failed, 0 skipped");
    }
}
