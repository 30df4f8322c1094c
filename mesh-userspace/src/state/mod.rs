//! The cluster as far as the agent knows it, owned by one task: Services joined with their slices and policies.
//!
//! Changes go in, the keys of the Services that they touch come out: work follows what changed, not what there is.

mod addresses;
mod cluster;
mod entry;
mod externals;
mod findings;
mod health_checks;
mod localities;
mod nodes;
mod pods;
mod policies;
mod services;
mod sources;
mod view;

pub use cluster::ClusterState;
pub use health_checks::HealthChecks;
pub use sources::{Source, Sources};
pub use view::{PolicyInForce, PolicyView, ServiceDetail};
