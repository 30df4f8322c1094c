//! What real control planes and nodes go through, under client load: no connection to a healthy backend fails, and
//! afterwards the maps mean what a fresh agent's would, entry by entry.

mod agents;
mod disk;
mod scene;
mod server;
