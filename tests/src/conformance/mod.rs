//! What clients in a cluster observe of Services, case by case, so that one proxy's answers lie beside another's.
//!
//! The cases are a table ([`cases`]); each names the number of the semantic that it observes. They run on one real cluster
//! ([`Bed`]), first under kube-proxy, then with mesh in its place, with the same client programs in the same pods. The
//! page docs/conformance.md is written from what was seen.

mod bed;
mod case;
pub mod cases;
mod look;
mod page;
mod pods;
mod proxy;
mod run;

pub use bed::Bed;
pub use case::{Case, Difference, Turn};
pub use page::{Seen, unexplained, write};
pub use proxy::{HEALTH, Proxies, Proxy};
pub use run::run;
