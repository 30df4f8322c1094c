//! Figures for Prometheus: what `/metrics` shows.
//!
//! ```text
//! the task that owns the state -> figures -> (another task) exposition -> OpenMetrics text
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`family`] | every metric: name, type, unit, labels, help; `docs/metrics.md` is its reference |
//! | [`figures`] | what the owner hands out at a scrape: plain data, read from the maps |
//! | [`exposition`] | the text |
//! | `progress` | how long changes take to get into the maps |
//!
//! Nothing is counted for a scrape alone while clients connect: the programs count anyway.

pub mod exposition;
pub mod family;
pub mod figures;
mod progress;

pub use figures::{Figures, ServiceFigures, services};
pub use progress::Progress;
