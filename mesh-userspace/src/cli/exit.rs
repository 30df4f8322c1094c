//! What the exit code says.

use crate::api::client::ClientError;
use owo_colors::OwoColorize as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It failed.
    Failed = 1,
    /// The arguments are not understood.
    Usage = 2,
    /// The agent does not answer.
    Unreachable = 3,
    /// There is no such thing.
    NotFound = 4,
    /// It was found out, and something needs attention.
    Attention = 5,
    /// There are changes, and the exit code was to say so.
    Changes = 6,
}

/// For `--help`.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  it failed; the message says why
  2  the arguments are not understood
  3  no agent answers on the socket
  4  there is no such thing
  5  it was found out, and something needs attention (status, doctor, plan)
  6  there are changes (plan --detailed-exitcode)";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An argument that clap lets pass and that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// A usage error: what is wrong, and what to write instead.
pub fn usage(message: String) -> anyhow::Error {
    Usage(message).into()
}

/// Says on stderr what failed and, in one line, why; its exit code.
pub fn report(error: &anyhow::Error) -> Exit {
    if broken_pipe(error) {
        return Exit::Ok; // the reader has seen enough: `mesh service list | head`
    }
    let _ = writeln!(anstream::stderr(), "{} {error:#}", "error:".red().bold());
    if error.is::<Usage>() {
        return Exit::Usage;
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Unreachable { .. }) => Exit::Unreachable,
        Some(ClientError::NotFound(_)) => Exit::NotFound,
        _ => Exit::Failed,
    }
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
