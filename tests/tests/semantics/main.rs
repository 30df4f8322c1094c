//! SEMANTICS.md, by the path of manifests: real processes in pods, the real agent, the real kernel. Each test's name
//! begins with the number that it proves.

mod affinity;
mod endpoints;
mod external;
mod frontends;
mod left_alone;
mod lives;
mod nodes;
mod owner;
mod sockets;
