//! Tables as kubectl prints them: upper-case headers, three spaces between columns, no borders.

use owo_colors::OwoColorize as _;
use std::fmt::Write as _;

/// What a cell says beside its text. Colours are stripped by the stream when it is no terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Needs attention.
    Warning,
    /// Wrong.
    Bad,
    /// Of less interest.
    Faint,
}

impl Tone {
    /// `text`, coloured.
    pub fn paint(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Good => text.green().to_string(),
            Self::Warning => text.yellow().to_string(),
            Self::Bad => text.red().to_string(),
            Self::Faint => text.dimmed().to_string(),
        }
    }
}

/// A cell of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A cell with a tone.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over numbers and references alike")]
    pub fn toned(text: impl ToString, tone: Tone) -> Self {
        Self { text: text.to_string(), tone }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// A column's title, and whether only `-o wide` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    title: &'static str,
    wide: bool,
    width: usize,
}

impl Column {
    /// A column that is always shown.
    pub const fn new(title: &'static str) -> Self {
        Self { title, wide: false, width: title.len() }
    }

    /// A column that `-o wide` shows.
    pub const fn wide(title: &'static str) -> Self {
        Self { title, wide: true, width: title.len() }
    }

    /// The same, at least so wide: for rows that come one by one.
    pub const fn at_least(self, width: usize) -> Self {
        Self { width, ..self }
    }
}

/// Lines of a table. Widths only grow, so that rows can be appended while a listing is watched.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(usize, &'static str)>,
    widths: Vec<usize>,
    headed: bool,
}

/// Between two columns.
const GAP: usize = 3;

impl Table {
    /// A table of those columns that are to be shown.
    pub fn new(columns: &[Column], wide: bool) -> Self {
        let shown = || columns.iter().enumerate().filter(|(_, column)| wide || !column.wide);
        Self {
            columns: shown().map(|(position, column)| (position, column.title)).collect(),
            widths: shown().map(|(_, column)| column.width).collect(),
            headed: false,
        }
    }

    /// The text of `rows`, the first time with the header above them. A row has a cell for every column, shown or not.
    pub fn render(&mut self, rows: &[Vec<Cell>]) -> String {
        for row in rows {
            for (width, (i, _)) in self.widths.iter_mut().zip(&self.columns) {
                *width = (*width).max(display(&row[*i].text).chars().count());
            }
        }
        let mut text = String::new();
        if !self.headed {
            self.headed = true;
            let titles: Vec<_> = self.columns.iter().map(|(_, title)| (*title, Tone::Plain)).collect();
            self.line(&titles, &mut text);
        }
        for row in rows {
            let cells: Vec<_> = self.columns.iter().map(|(i, _)| (display(&row[*i].text), row[*i].tone)).collect();
            self.line(&cells, &mut text);
        }
        text
    }

    fn line(&self, cells: &[(&str, Tone)], text: &mut String) {
        for (position, (cell, tone)) in cells.iter().enumerate() {
            text.push_str(&tone.paint(cell));
            if position + 1 < cells.len() {
                let padding = self.widths[position].saturating_sub(cell.chars().count()) + GAP;
                let _ = write!(text, "{:padding$}", "");
            }
        }
        text.push('\n');
    }
}

/// A dash for what is empty, so that columns can be counted.
fn display(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::new("NAME"), Column::new("STATE"), Column::wide("WHY"), Column::new("ACTIVE")];

    fn row(name: &str, state: Cell, active: u32) -> Vec<Cell> {
        vec![name.into(), state, "".into(), active.into()]
    }

    #[test]
    fn columns_are_aligned_and_the_header_comes_once() {
        let mut table = Table::new(COLUMNS, false);
        let rows = [row("cart", Cell::toned("served", Tone::Good), 3), row("catalogue", "failed".into(), 12)];
        insta::assert_snapshot!(anstream::adapter::strip_str(&table.render(&rows)), @r"
        NAME        STATE    ACTIVE
        cart        served   3
        catalogue   failed   12
        ");
        insta::assert_snapshot!(table.render(&[row("web", "served".into(), 0)]), @"web         served   0");
    }

    #[test]
    fn wide_shows_every_column_and_a_dash_for_what_is_empty() {
        let mut table = Table::new(COLUMNS, true);
        insta::assert_snapshot!(table.render(&[row("cart", "".into(), 3)]), @r"
        NAME   STATE   WHY   ACTIVE
        cart   -       -     3
        ");
    }
}
