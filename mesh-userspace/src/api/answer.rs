//! The owner's answers, built from what it owns.

use super::Query;
use crate::agent::engine::Engine;

/// Answers one question.
pub fn answer(engine: &Engine, query: Query) {
    match query {
        Query::Alive(reply) => drop(reply.send(())),
        Query::Events(reply) => drop(reply.send(engine.feed())),
        _ => {}
    }
}
