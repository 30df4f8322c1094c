//! How long connections may be idle, and how old they may get.

use std::time::Duration;

/// What the owner of a Service asks for of its TCP connections, in whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lifetime {
    /// How long at most without data in either direction, 1 second or more; `None` for any time.
    pub idle: Option<Duration>,
    /// How long at most from connect(), 1 second or more; `None` for any time.
    pub longest: Option<Duration>,
}
