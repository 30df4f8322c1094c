//! Istio's own definition of the kind that mesh reads.

use super::components::Components;
use anyhow::{Context, Result};
use std::fs;

/// Where `cargo xtask components` puts what Istio publishes.
const PUBLISHED: &str = "istio/customresourcedefinitions.gen.yaml";

/// The definition of `DestinationRule` as Istio publishes it, YAML. It serves `v1`, `v1beta1` and `v1alpha3`.
pub fn destination_rules() -> Result<String> {
    let file = Components::find()?.folder().join(PUBLISHED);
    let all = fs::read_to_string(&file);
    let all = all.with_context(|| format!("read {}: cargo xtask components fetches it", file.display()))?;
    // Among two dozen definitions, a megabyte.
    let ours = all.split("\n---").find(|one| one.contains("\n    kind: DestinationRule\n"));
    Ok(ours.with_context(|| format!("no DestinationRule in {}", file.display()))?.to_owned())
}
