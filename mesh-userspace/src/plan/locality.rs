//! Where endpoints are, and in what order a policy would have them.

use super::eligible::Why;
use crate::model::{Balance, Endpoint, Level, Locality, Place};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where each node is, by its name; nodes whose labels say nothing are left out.
pub type Localities = BTreeMap<Arc<str>, Locality>;

/// Where an endpoint is: its zone as its slice has it, the rest by the node that it names.
pub fn place<'a>(endpoint: &'a Endpoint, localities: &'a Localities) -> Place<'a> {
    let node = localities.get(&endpoint.node);
    let of_node = |level: fn(&Locality) -> &Arc<str>| node.map_or("", |node| level(node));
    let zone = if endpoint.zone.is_empty() { of_node(|node| &node.zone) } else { &endpoint.zone };
    Place { node: &endpoint.node, region: of_node(|node| &node.region), zone, subzone: of_node(|node| &node.subzone) }
}

/// How far an endpoint is in a policy's order; the least comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Step {
    /// How many of the preferences it does not have, from the first that it lacks on.
    lacks: usize,
    /// Whether it is in another region than the one to fail over to.
    elsewhere: bool,
}

impl Step {
    /// Of an endpoint at this place.
    pub fn of(balance: &Balance, place: Place<'_>, here: Place<'_>) -> Self {
        let has = balance.prefer.iter().take_while(|preference| preference.holds(place, here)).count();
        let failover = balance.failover.iter().find(|failover| *failover.from == *here.region);
        Self {
            lacks: balance.prefer.len() - has,
            elsewhere: has == 0 && failover.is_some_and(|failover| *failover.to != *place.region),
        }
    }

    /// What endpoints at this step have in common with the node, for people.
    pub fn sentence(self, balance: &Balance, here: Place<'_>) -> String {
        let has = balance.prefer.len() - self.lacks;
        // A sub-zone that the node does not have says nothing.
        let told = |level: Level| level != Level::Subzone || !here.subzone.is_empty();
        let Some(shared) = balance.prefer[..has].iter().rfind(|shared| told(shared.level)) else {
            let failover = balance.failover.iter().find(|failover| *failover.from == *here.region);
            return match failover {
                Some(failover) if !self.elsewhere => format!("in region {}, which this one fails over to", failover.to),
                _ => "in no place that comes first".to_owned(),
            };
        };
        match &shared.value {
            Some(value) => format!("in {} {value}", shared.level.name()),
            None if shared.level == Level::Node => "on this node".to_owned(),
            None => format!("in this node's {}", shared.level.name()),
        }
    }

    /// Why an endpoint at this step takes nothing while a nearer one does.
    pub fn why(self, balance: &Balance) -> Why {
        if self.elsewhere {
            return Why::OtherFailover;
        }
        match balance.prefer.get(balance.prefer.len() - self.lacks).map(|preference| preference.level) {
            Some(Level::Region) => Why::OtherRegion,
            Some(Level::Subzone) => Why::OtherSubzone,
            Some(Level::Node) => Why::FartherNode,
            Some(Level::Zone) | None => Why::OtherZone,
        }
    }
}
