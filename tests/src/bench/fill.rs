//! From desired Services in memory to filled maps.

use crate::Effort;
use crate::interrupt;
use crate::mesh::Mesh;
use crate::report::{Limit, Section, Target};
use crate::services;
use crate::spread::Spread;
use anyhow::{Context, Result};
use mesh_common::address::Protocol;
use mesh_tests::world::World;

/// Endpoints of each Service.
pub const ENDPOINTS: u32 = 10;

/// Each round into maps that are freshly made.
pub fn measure(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "From Services in memory to filled maps",
        "All Services handed to the reconciler at once and brought into empty maps of the kernel's, each round into new \
         maps. Every endpoint is a backend of its own.",
        &["Services", "endpoints", "ms"],
    );
    let world = World::named("mesh-bench")?;
    let count = effort.pick(200, 10_000);
    let mut rounds = Vec::new();
    for round in 0..effort.pick(2, 9) {
        interrupt::check()?;
        let mut mesh = Mesh::load(&world.home().pins().join(format!("round-{round}")))?;
        let desired = |n| {
            let endpoints = (0..ENDPOINTS).map(|e| services::endpoint(n, e, ENDPOINTS));
            services::desired(n, Protocol::Tcp, endpoints)
        };
        rounds.push(mesh.fill((0..count).map(desired).collect())?.as_secs_f64() * 1000.0);
    }
    let spread = Spread::of(rounds).context("no round")?;
    section.row(vec![count.to_string(), (count * ENDPOINTS).to_string(), format!("{spread:.1}")]);
    let what = format!("{count} Services with {} endpoints, from memory to filled maps", count * ENDPOINTS);
    section.target(Target::new(what, Limit::AtMost(500.0), spread.median, " ms"));
    Ok(section)
}
