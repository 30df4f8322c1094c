//! The client process's side: what it is told on stdin it does, line by line.

use super::protocol::{Failure, Reply, Request};
use super::sockets::Sockets;
use anyhow::{Context, Result};
use std::io::{self, BufRead, Write};

/// Obeys a test until the end of stdin.
pub fn obey() -> Result<()> {
    let mut sockets = Sockets::default();
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line?).context("read a request")?;
        let answer: Result<Reply, Failure> =
            sockets.obey(request).map_err(|error| Failure { errno: error.raw_os_error(), message: error.to_string() });
        writeln!(stdout, "{}", serde_json::to_string(&answer)?)?;
    }
    Ok(())
}
