//! A Node.

use super::names::Names;
use super::report::Report;
use super::{Parsed, metadata};
use crate::model::{Finding, Kind, Node};
use k8s_openapi::api::core::v1 as core;

pub(super) fn parse(names: &mut Names, object: &core::Node) -> Result<Parsed<Node>, Vec<Finding>> {
    let object_ref = metadata::named(names, Kind::Node, &object.metadata)?;
    let zone = names.share_option(metadata::label(&object.metadata, "topology.kubernetes.io/zone"));
    let name = object_ref.name.clone();
    Report::new(object_ref).finish(Node { name, zone })
}
