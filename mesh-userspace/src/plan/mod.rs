//! From a Service and its endpoints to the exact contents of the maps, as data. Pure.

pub mod compile;
mod desired;
pub mod eligible;

pub use desired::{BackendKey, DesiredPort, DesiredService};
