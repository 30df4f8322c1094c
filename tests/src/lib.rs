//! The world that end-to-end tests and the lab share.
