//! What the lab says: lines that stay, and on a terminal a table below them that is drawn again and again.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";
/// How often the table is drawn.
const REDRAW: Duration = Duration::from_millis(250);

/// Standard output. In a pipe nothing moves and nothing is coloured.
#[derive(Debug)]
pub struct Screen {
    terminal: bool,
    colour: bool,
    table: Vec<String>,
    drawn: Instant,
}

impl Screen {
    /// Standard output as it is.
    pub fn new() -> Self {
        let terminal = io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { terminal, colour, table: Vec::new(), drawn: Instant::now() }
    }

    /// Whether somebody watches.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether it is time to draw a live table again.
    pub fn wants_table(&self) -> bool {
        self.terminal && self.drawn.elapsed() >= REDRAW
    }

    /// Announces the next act.
    pub fn act(&mut self, title: &str) {
        self.say("");
        self.say(&self.coloured(BOLD, &format!("== {title}")));
    }

    /// A promise that was kept.
    pub fn good(&mut self, text: &str) {
        self.say(&format!("  {} {text}", self.coloured(GREEN, "ok")));
    }

    /// A promise that was broken.
    pub fn bad(&mut self, text: &str) {
        self.say(&format!("  {} {text}", self.coloured(RED, "BROKEN")));
    }

    /// A line that stays.
    pub fn say(&mut self, text: &str) {
        let table = std::mem::take(&mut self.table);
        put(&table.iter().fold(erase(table.len()) + text + "\n", |out, line| out + line + "\n"));
        self.table = table;
    }

    /// Draws the live table in place of the last one.
    pub fn draw(&mut self, lines: &[String]) {
        // A table that is taller or wider than the terminal could not be erased again.
        let (rows, columns) = terminal_size();
        let fitting = lines.iter().take(rows.saturating_sub(2)).map(|line| line.chars().take(columns).collect());
        let lines: Vec<String> = fitting.collect();
        put(&lines.iter().fold(erase(self.table.len()), |out, line| out + line + "\n"));
        self.table = lines;
        self.drawn = Instant::now();
    }

    /// Prints a table that stays.
    pub fn print(&mut self, lines: Vec<String>) {
        put(&erase(self.table.len()));
        self.table.clear();
        for line in lines {
            self.say(&line);
        }
    }

    fn coloured(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }
}

/// Up so many lines, and clear to the end of the screen.
fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") }
}

fn put(text: &str) {
    let mut stdout = io::stdout().lock();
    // A reader that has gone (`| head`) ends nothing: the lab still takes everything down.
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).ok();
}

/// Rows and columns; those of the smallest usual terminal where the kernel does not know.
fn terminal_size() -> (usize, usize) {
    let mut size = nix::libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes a `winsize` to a valid place for one.
    let answered = unsafe { nix::libc::ioctl(nix::libc::STDOUT_FILENO, nix::libc::TIOCGWINSZ, &raw mut size) };
    let known = answered == 0 && size.ws_row > 0 && size.ws_col > 0;
    if known { (usize::from(size.ws_row), usize::from(size.ws_col)) } else { (24, 80) }
}
