//! The command line and the API, as a user and a program meet them: the real binary against a real unix socket, behind
//! which a test's own task owns a canned state.

mod agent;
mod answers;
mod doctor;
mod documentation;
mod errors;
mod http;
mod listing;
mod machine;
mod metrics;
mod planning;
mod probes;
mod serving;
mod watching;
