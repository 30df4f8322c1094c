//! Which endpoints take new connections, and why the others do not.
//!
//! The rules are kube-proxy's (`CategorizeEndpoints` in its `pkg/proxy/topology.go`; KEP-1669, KEP-2086, KEP-2433,
//! KEP-3015, KEP-4444). The compiled slots and `mesh explain` both come from here.

use crate::model::{Endpoint, InternalTrafficPolicy, Place};
use std::fmt;

/// By what rule the endpoints of a port were narrowed down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// Every endpoint of the cluster.
    Cluster,
    /// Those on this node only: `internalTrafficPolicy: Local`.
    Local,
    /// Those hinted for this node: every ready endpoint has a node hint, and one names this node.
    SameNode,
    /// Those hinted for this zone: every ready endpoint has a zone hint, and one names this zone.
    SameZone,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Local, Self::SameNode, Self::SameZone];

    /// The stable name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Local => "local",
            Self::SameNode => "same-node",
            Self::SameZone => "same-zone",
        }
    }

    /// The sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Cluster => "all endpoints of the cluster",
            Self::Local => "endpoints on this node only (internalTrafficPolicy: Local)",
            Self::SameNode => "endpoints hinted for this node",
            Self::SameZone => "endpoints hinted for this node's zone",
        }
    }
}

/// Whether an endpoint takes new connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// It does: it is ready.
    Ready,
    /// It does although it terminates: it still serves, and no endpoint in scope is ready.
    ServingTerminating,
    /// It does not.
    Out(Why),
}

/// Why an endpoint takes no new connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// It is not ready, and does not terminate.
    NotReady,
    /// It terminates, and others are ready.
    Terminating,
    /// It terminates and does not serve any more.
    NotServing,
    /// It is on another node, and `internalTrafficPolicy` is Local.
    OtherNode,
    /// Its hints name other nodes.
    HintedForOtherNode,
    /// Its hints name other zones.
    HintedForOtherZone,
    /// The same address and port is listed before.
    Duplicate,
    /// It is in another region than endpoints that the policy prefers.
    OtherRegion,
    /// It is in another zone than endpoints that the policy prefers.
    OtherZone,
    /// It is in another sub-zone than endpoints that the policy prefers.
    OtherSubzone,
    /// It is on another node than endpoints that the policy prefers.
    FartherNode,
    /// It is in another region than the one that the policy fails over to.
    OtherFailover,
    /// The policy gives it weight 0, and others have more.
    NoWeight,
    /// It is in no part of the policy's split.
    NoPart,
}

impl Verdict {
    /// Whether it takes new connections.
    pub const fn is_in(self) -> bool {
        matches!(self, Self::Ready | Self::ServingTerminating)
    }

    /// Whether it takes new connections, or would if nearer ones did not.
    pub const fn is_judged(self) -> bool {
        let farther = matches!(
            self,
            Self::Out(Why::OtherRegion | Why::OtherZone | Why::OtherSubzone | Why::FartherNode | Why::OtherFailover)
        );
        self.is_in() || farther
    }

    /// The stable name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ServingTerminating => "serving-terminating",
            Self::Out(why) => why.name(),
        }
    }

    /// The sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ServingTerminating => "terminating, but it serves and no endpoint is ready",
            Self::Out(why) => why.sentence(),
        }
    }
}

impl Why {
    /// The stable name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotReady => "not-ready",
            Self::Terminating => "terminating",
            Self::NotServing => "not-serving",
            Self::OtherNode => "other-node",
            Self::HintedForOtherNode => "hinted-for-other-node",
            Self::HintedForOtherZone => "hinted-for-other-zone",
            Self::Duplicate => "duplicate",
            Self::OtherRegion => "other-region",
            Self::OtherZone => "other-zone",
            Self::OtherSubzone => "other-subzone",
            Self::FartherNode => "farther-node",
            Self::OtherFailover => "other-failover",
            Self::NoWeight => "no-weight",
            Self::NoPart => "no-part",
        }
    }

    /// The sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotReady => "not ready",
            Self::Terminating => "terminating, and others are ready",
            Self::NotServing => "terminating, and it does not serve any more",
            Self::OtherNode => "on another node, and internalTrafficPolicy is Local",
            Self::HintedForOtherNode => "hinted for other nodes",
            Self::HintedForOtherZone => "hinted for other zones",
            Self::Duplicate => "listed twice",
            Self::OtherRegion => "in another region than endpoints that the policy prefers",
            Self::OtherZone => "in another zone than endpoints that the policy prefers",
            Self::OtherSubzone => "in another sub-zone than endpoints that the policy prefers",
            Self::FartherNode => "on another node than endpoints that the policy prefers",
            Self::OtherFailover => "in another region than the one that the policy fails over to",
            Self::NoWeight => "of weight 0 by the policy",
            Self::NoPart => "in no part of the policy's split",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.sentence())
    }
}

/// By what rule the endpoints of one port are narrowed down.
pub fn scope<'a>(
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
    policy: InternalTrafficPolicy,
    here: Place<'_>,
) -> Scope {
    if policy == InternalTrafficPolicy::Local {
        return Scope::Local;
    }
    // Only ready endpoints have a say, and every one must have a hint of the kind: hints that are half written, as while
    // the control plane rolls them out, would overload the few that have one.
    let (mut all_node, mut any_node, mut all_zone, mut any_zone) = (true, false, true, false);
    for endpoint in endpoints.into_iter().filter(|endpoint| endpoint.ready) {
        let hints = endpoint.hints.as_deref();
        all_node &= hints.is_some_and(|hints| !hints.nodes.is_empty());
        all_zone &= hints.is_some_and(|hints| !hints.zones.is_empty());
        any_node |= is_hinted_for_node(endpoint, here);
        any_zone |= is_hinted_for_zone(endpoint, here);
    }
    if all_node && any_node {
        Scope::SameNode
    } else if all_zone && any_zone {
        Scope::SameZone
    } else {
        Scope::Cluster
    }
}

/// Whether each endpoint of one port takes new connections. Duplicates must have been removed.
pub fn verdicts(endpoints: &[&Endpoint], scope: Scope, here: Place<'_>) -> Vec<Verdict> {
    // KEP-1669: per scope, terminating endpoints that serve stand in when none is ready. (Hints are only followed when
    // an endpoint that they name is ready, so no fallback is needed there.)
    let any_ready = endpoints.iter().any(|endpoint| endpoint.ready && out_of_scope(endpoint, scope, here).is_none());
    endpoints
        .iter()
        .map(|endpoint| {
            if let Some(why) = out_of_scope(endpoint, scope, here) {
                Verdict::Out(why)
            } else if endpoint.ready {
                Verdict::Ready
            } else if !endpoint.terminating {
                Verdict::Out(Why::NotReady)
            } else if !endpoint.serving {
                Verdict::Out(Why::NotServing)
            } else if any_ready {
                Verdict::Out(Why::Terminating)
            } else {
                Verdict::ServingTerminating
            }
        })
        .collect()
}

fn out_of_scope(endpoint: &Endpoint, scope: Scope, here: Place<'_>) -> Option<Why> {
    let (inside, why) = match scope {
        Scope::Cluster => return None,
        Scope::Local => (!here.node.is_empty() && *endpoint.node == *here.node, Why::OtherNode),
        // A hint for traffic says nothing of an endpoint that takes none.
        Scope::SameNode | Scope::SameZone if !endpoint.ready => return None,
        Scope::SameNode => (is_hinted_for_node(endpoint, here), Why::HintedForOtherNode),
        Scope::SameZone => (is_hinted_for_zone(endpoint, here), Why::HintedForOtherZone),
    };
    (!inside).then_some(why)
}

fn is_hinted_for_node(endpoint: &Endpoint, here: Place<'_>) -> bool {
    !here.node.is_empty()
        && endpoint.hints.as_ref().is_some_and(|hints| hints.nodes.iter().any(|node| **node == *here.node))
}

fn is_hinted_for_zone(endpoint: &Endpoint, here: Place<'_>) -> bool {
    !here.zone.is_empty()
        && endpoint.hints.as_ref().is_some_and(|hints| hints.zones.iter().any(|zone| **zone == *here.zone))
}

#[cfg(test)]
#[path = "eligible_tests.rs"]
mod tests;
