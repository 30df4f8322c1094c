//! What was measured, beside its targets, as Markdown.

use crate::machine::Machine;
use anyhow::{Context, Result};
use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

/// Everything of one run.
#[derive(Debug)]
pub struct Report {
    page: Page,
    machine: Machine,
    sections: Vec<Section>,
    /// Measurements that came to nothing, and why.
    failed: Vec<String>,
}

/// What stands above the figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// Its title.
    pub title: &'static str,
    /// What a person types to have it written.
    pub command: &'static str,
    /// How the figures are to be read.
    pub how: &'static str,
}

/// One measurement.
#[derive(Debug)]
pub struct Section {
    title: &'static str,
    /// How it was measured.
    how: String,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
    targets: Vec<Target>,
    /// A picture's file name, and its text.
    picture: Option<(&'static str, String)>,
}

/// A promise, and what came of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    what: String,
    limit: Limit,
    measured: f64,
    unit: &'static str,
}

/// What a figure must keep.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Limit {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

impl Target {
    /// A promise; `unit` with its leading space, if it has one.
    pub fn new(what: impl Into<String>, limit: Limit, measured: f64, unit: &'static str) -> Self {
        Self { what: what.into(), limit, measured, unit }
    }

    fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) => self.measured <= limit,
            Limit::AtLeast(limit) => self.measured >= limit,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, limit, measured, unit } = self;
        let (word, limit, over) = match *limit {
            Limit::AtMost(limit) => ("at most", limit, measured / limit),
            Limit::AtLeast(limit) => ("at least", limit, limit / measured),
        };
        let digits = if unit.is_empty() || *measured < 1.0 { 3 } else { usize::from(*measured < 100.0) };
        write!(f, "{what}: {measured:.digits$}{unit}, {word} {limit}{unit}: ")?;
        if self.is_met() { f.write_str("met") } else { write!(f, "**missed** by {:.1} %", (over - 1.0) * 100.0) }
    }
}

impl Section {
    /// A section with its table's columns.
    pub fn new(title: &'static str, how: impl Into<String>, columns: &'static [&'static str]) -> Self {
        Self { title, how: how.into(), columns, rows: Vec::new(), targets: Vec::new(), picture: None }
    }

    /// Adds a line to the table, and shows it at once: a run takes minutes.
    pub fn row(&mut self, cells: Vec<String>) {
        eprintln!("  {}: {}", self.title, cells.join(" | "));
        self.rows.push(cells);
    }

    /// Adds a picture: its text goes to a file of this name beside the page.
    pub fn picture(&mut self, file: &'static str, text: String) {
        self.picture = Some((file, text));
    }

    /// Adds a target.
    pub fn target(&mut self, target: Target) {
        self.targets.push(target);
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n{}\n", self.title, self.how)?;
        let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
        writeln!(f, "{}", line(&self.columns.iter().map(ToString::to_string).collect::<Vec<_>>()))?;
        writeln!(f, "|{}", "---|".repeat(self.columns.len()))?;
        for row in &self.rows {
            writeln!(f, "{}", line(row))?;
        }
        if let Some((file, _)) = &self.picture {
            writeln!(f, "\n![{}]({file})", self.title)?;
        }
        if !self.targets.is_empty() {
            writeln!(f)?;
        }
        self.targets.iter().try_for_each(|target| writeln!(f, "- {target}"))
    }
}

impl Report {
    /// An empty report from this machine.
    pub fn new(page: Page, machine: Machine) -> Self {
        Self { page, machine, sections: Vec::new(), failed: Vec::new() }
    }

    /// Where it was measured.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Adds a measurement.
    pub fn push(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Notes that a measurement came to nothing: no target is met then.
    pub fn push_failure(&mut self, name: &str, error: &anyhow::Error) {
        self.failed.push(format!("{name}: **not measured**: {error:#}"));
    }

    /// Notes how busy the machine was to the end.
    pub fn finish(&mut self) -> Result<()> {
        self.machine.look_again()
    }

    fn targets(&self) -> impl Iterator<Item = &Target> {
        self.sections.iter().flat_map(|section| &section.targets)
    }

    /// Whether every target is met.
    pub fn is_met(&self) -> bool {
        self.failed.is_empty() && self.targets().all(Target::is_met)
    }

    /// What was met and what was not, in a few lines.
    pub fn verdict(&self) -> String {
        let (all, met) = (self.targets().count(), self.targets().filter(|target| target.is_met()).count());
        let mut text = format!("{met} of {all} targets met");
        for missed in self.targets().filter(|target| !target.is_met()) {
            let _ = write!(text, "\n- {missed}");
        }
        for failed in &self.failed {
            let _ = write!(text, "\n- {failed}");
        }
        text
    }

    /// Writes it as Markdown, its pictures beside it.
    pub fn write(&self, file: &Path) -> Result<()> {
        let Page { title, command, how } = self.page;
        let (machine, verdict) = (&self.machine, self.verdict());
        let mut text = format!("# {title}\n\nWritten by `{command}`. {how}\n\n{machine}\n{verdict}\n");
        for section in &self.sections {
            write!(text, "\n{section}").context("write the report")?;
        }
        for (name, picture) in self.sections.iter().filter_map(|section| section.picture.as_ref()) {
            let beside = file.with_file_name(name);
            fs::write(&beside, picture).with_context(|| format!("write {}", beside.display()))?;
        }
        fs::write(file, text).with_context(|| format!("write {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_says_by_how_much_it_is_missed() {
        let missed = Target::new("connect program, hot", Limit::AtMost(550.0), 605.0, " ns");
        assert_eq!(missed.to_string(), "connect program, hot: 605 ns, at most 550 ns: **missed** by 10.0 %");
        let met = Target::new("round trips", Limit::AtLeast(0.99), 0.998, "");
        assert_eq!(met.to_string(), "round trips: 0.998, at least 0.99: met");
        assert!(met.is_met() && !missed.is_met());
    }
}
