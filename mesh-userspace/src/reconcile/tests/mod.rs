//! Whatever fails and whenever the agent is killed: no reader is led astray, and retries end where they should.

mod adoption;
mod audits;
mod capacity;
mod convergence;
mod faulty;
mod harness;
mod large;
mod reader;
mod small;
mod specific;
mod world;
