//! Where nodes are, and what a policy says of places: Istio's localities.

use std::sync::Arc;

/// A region, a zone in it and a sub-zone in that. Of a node: its labels, each empty when absent. In a policy: what it names,
/// each empty for any.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Locality {
    /// Label `topology.kubernetes.io/region`.
    pub region: Arc<str>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Arc<str>,
    /// Label `topology.istio.io/subzone`.
    pub subzone: Arc<str>,
}

impl Locality {
    /// A zone, in whatever region.
    pub fn of_zone(zone: Arc<str>) -> Self {
        Self { zone, ..Self::default() }
    }

    /// Whether it names nothing: all places.
    pub fn is_everywhere(&self) -> bool {
        [&self.region, &self.zone, &self.subzone].iter().all(|level| level.is_empty())
    }

    /// Whether somebody is in this place. Kubernetes' zones have names of their own in whatever region, so a zone is told by
    /// its name where the region is not known.
    pub fn holds(&self, place: Place<'_>) -> bool {
        let in_region = *self.region == *place.region || place.region.is_empty() && !self.zone.is_empty();
        (self.region.is_empty() || in_region)
            && (self.zone.is_empty() || *self.zone == *place.zone)
            && (self.subzone.is_empty() || *self.subzone == *place.subzone)
    }

    /// As Istio writes it.
    pub fn written(&self) -> String {
        let any = |level: &Arc<str>| if level.is_empty() { "*".to_owned() } else { level.to_string() };
        match (&*self.region, &*self.zone, &*self.subzone) {
            ("", "", "") => "*".to_owned(),
            (region, "", "") => format!("{region}/*"),
            (_, zone, "") => format!("{}/{zone}/*", any(&self.region)),
            (.., subzone) => format!("{}/{}/{subzone}", any(&self.region), any(&self.zone)),
        }
    }
}

/// Where a node (the agent's own: `here`) or an endpoint is, as far as it is known: what is empty is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place<'a> {
    /// The node.
    pub node: &'a str,
    /// The region.
    pub region: &'a str,
    /// The zone.
    pub zone: &'a str,
    /// The sub-zone.
    pub subzone: &'a str,
}

impl<'a> Place<'a> {
    /// On the node of this name, of which no more is known.
    pub const fn on(node: &'a str) -> Self {
        Self { node, region: "", zone: "", subzone: "" }
    }

    /// Whether both are in one region: by its name, or by the zone where one of the regions is not known.
    fn shares_region(self, other: Place<'_>) -> bool {
        if self.region.is_empty() || other.region.is_empty() {
            return !self.zone.is_empty() && self.zone == other.zone;
        }
        self.region == other.region
    }
}

/// By what endpoints are near or far.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Level {
    /// The region.
    Region,
    /// The zone.
    Zone,
    /// The sub-zone.
    Subzone,
    /// The node.
    Node,
}

impl Level {
    /// Every level, the widest first.
    pub const ALL: [Self; 4] = [Self::Region, Self::Zone, Self::Subzone, Self::Node];

    /// The label of nodes that says it. The last one is the node's name, as Istio has it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Region => "topology.kubernetes.io/region",
            Self::Zone => "topology.kubernetes.io/zone",
            Self::Subzone => "topology.istio.io/subzone",
            Self::Node => "kubernetes.io/hostname",
        }
    }

    /// The word for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::Zone => "zone",
            Self::Subzone => "sub-zone",
            Self::Node => "node",
        }
    }
}

/// One step of an order in which endpoints come first: those that have this in common with the node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Preference {
    /// What.
    pub level: Level,
    /// This one, in place of the node's own; `None` for the node's own.
    pub value: Option<Arc<str>>,
}

impl Preference {
    /// By the node's own.
    pub const fn own(level: Level) -> Self {
        Self { level, value: None }
    }

    /// Whether a place has it.
    pub fn holds(&self, place: Place<'_>, here: Place<'_>) -> bool {
        let value = self.value.as_deref();
        match self.level {
            Level::Region if value.is_none() => place.shares_region(here),
            Level::Region => value == Some(place.region),
            Level::Zone => !place.zone.is_empty() && place.zone == value.unwrap_or(here.zone),
            // Most nodes have none: then a zone is one sub-zone.
            Level::Subzone => place.subzone == value.unwrap_or(here.subzone),
            Level::Node => !place.node.is_empty() && place.node == value.unwrap_or(here.node),
        }
    }
}

/// To which other region a region's clients go first.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Failover {
    /// The clients' region.
    pub from: Arc<str>,
    /// Where they go when their own region has nothing.
    pub to: Arc<str>,
}
