//! From a Service and its endpoints to the exact contents of the maps, as data. Pure.

mod desired;

pub use desired::{BackendKey, DesiredPort, DesiredService};
