//! One case: what is there, what client programs do, and what of it is observed.

use super::Bed;
use anyhow::Result;
use serde_json::Value;

/// A row of the table.
#[derive(Debug)]
pub struct Case {
    /// The number of the semantic.
    pub number: u8,
    /// What a client may rely on.
    pub name: &'static str,
    /// What the client programs do, in the order of the observation's words.
    pub does: &'static str,
    /// The objects that are there before. They are applied anew before each proxy's turn.
    pub manifests: fn(&Bed) -> Vec<Value>,
    /// Does it, and says what was seen: without times, counts or addresses that another run would not see.
    pub observe: fn(&Bed) -> Result<String>,
    /// When it runs.
    pub turn: Turn,
    /// Why the answers may differ.
    pub difference: Option<Difference>,
}

/// When a case runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Beside others.
    Together,
    /// By itself, after the others: it does something to the proxy, or measures under load.
    Alone,
}

/// Why mesh answers something else than kube-proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Difference {
    /// Its answer is the better one, for this reason.
    Better(&'static str),
    /// It does not serve this yet; what it does instead.
    NotYet(&'static str),
}

impl Case {
    /// A case that both answer alike, and that runs beside others.
    pub const fn new(
        number: u8,
        name: &'static str,
        does: &'static str,
        manifests: fn(&Bed) -> Vec<Value>,
        observe: fn(&Bed) -> Result<String>,
    ) -> Self {
        Self { number, name, does, manifests, observe, turn: Turn::Together, difference: None }
    }

    /// By itself, after the others.
    #[must_use]
    pub const fn alone(mut self) -> Self {
        self.turn = Turn::Alone;
        self
    }

    /// mesh answers otherwise, and better.
    #[must_use]
    pub const fn better(mut self, reason: &'static str) -> Self {
        self.difference = Some(Difference::Better(reason));
        self
    }

    /// mesh does not serve this yet.
    #[must_use]
    pub const fn not_yet(mut self, instead: &'static str) -> Self {
        self.difference = Some(Difference::NotYet(instead));
        self
    }
}
