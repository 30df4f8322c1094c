//! From a Service and its endpoints to the exact contents of the maps, as data. Pure.

pub mod applied;
pub mod balance;
pub mod compile;
mod desired;
mod diff;
pub mod eligible;
mod endings;
pub mod inbound;
pub mod locality;
mod op;
mod refusal;

pub use applied::Applied;
pub use desired::{BackendKey, DesiredPort, DesiredService};
pub use diff::{Diff, Subject, diff};
pub use endings::{Ended, EndedCounts, Endings};
pub use op::{MapOp, Phase};
pub use refusal::{Refusal, Sizes, Table};
