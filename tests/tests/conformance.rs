//! kube-proxy and mesh on one real cluster, and what clients observe of each: docs/conformance.md.

use anyhow::{Context, Result, ensure};
use mesh_tests::conformance::{Bed, Proxy, Seen, cases, run, unexplained, write};
use std::{env, fs};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conformance.md");

#[test]
fn clients_observe_of_mesh_what_they_observe_of_kube_proxy() -> Result<()> {
    let cases = cases::all();
    let bed = Bed::new()?;
    let observe = |proxy| {
        bed.serve_with(proxy)?;
        run(&bed, &cases).with_context(|| format!("with {proxy:?}"))
    };
    let seen = Seen { kube_proxy: observe(Proxy::KubeProxy)?, mesh: observe(Proxy::Mesh)? };
    let page = write(&cases, &seen);
    if env::var_os("UPDATE_CONFORMANCE").is_some() {
        fs::write(PAGE, &page).context("write docs/conformance.md")?;
    }
    let wrong = unexplained(&cases, &seen);
    ensure!(wrong.is_empty(), "differences:\n{}", wrong.join("\n"));
    let committed = fs::read_to_string(PAGE).context("read docs/conformance.md")?;
    let new: Vec<_> = page.lines().filter(|line| !committed.lines().any(|old| old == *line)).collect();
    ensure!(page == committed, "docs/conformance.md does not say what was seen; new are:\n{}", new.join("\n"));
    Ok(())
}
