//! Cases that have a story.
