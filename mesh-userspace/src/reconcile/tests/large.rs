//! At the size of a large cluster.
