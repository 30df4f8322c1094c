//! Whatever fails and whenever the agent is killed: no reader is led astray, and retries end where they should.

mod adoption;
mod convergence;
mod faulty;
mod harness;
mod large;
mod reader;
mod specific;
mod world;
