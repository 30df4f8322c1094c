//! What can go wrong with a map.

use crate::plan::Table;
use std::io;

/// A map operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The hash takes no more elements.
    #[error("{0} is full")]
    Full(Table),
    /// The key is there already.
    #[error("{0} has the key already")]
    Exists(Table),
    /// An index beyond the array's end: a bug, or tables of another size.
    #[error("{map}[{index}] is beyond the end")]
    OutOfRange {
        /// The map's name.
        map: &'static str,
        /// The index.
        index: u64,
    },
    /// The map is not what this build expects.
    #[error("{map}: {what} is {found}, expected {expected}")]
    Shape {
        /// The map's name.
        map: &'static str,
        /// The property.
        what: &'static str,
        /// As the kernel says.
        found: u32,
        /// As this build has it.
        expected: u32,
    },
    /// The system call failed.
    #[error("{action} {map}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The map's name.
        map: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// A batch that did not go through.
#[derive(Debug, thiserror::Error)]
#[error("after {done} elements")]
pub struct Stopped {
    /// How many elements went in before.
    pub done: usize,
    /// Why the next did not.
    #[source]
    pub error: MapError,
}
