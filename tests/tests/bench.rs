//! The bench works, at its smallest sizes and whatever its figures are.

use anyhow::{Context, Result, ensure};
use mesh_tests::programs::find;
use std::env;
use std::fs;
use std::process::{self, Command};

/// The parts of the page.
const SECTIONS: [&str; 5] = [
    "From the start to the last entry",
    "At rest",
    "connect() directly, by mesh, and by kube-proxy",
    "From a change in the API to its effect",
    "A stream of changes",
];

#[test]
fn the_bench_beside_kube_proxy_measures_what_its_page_promises() -> Result<()> {
    let file = env::temp_dir().join(format!("mesh-bench-{}.md", process::id()));
    let mut bench = Command::new(find("mesh-bench")?);
    bench.args(["--kubernetes", "--quick", "--no-gate", "--output"]).arg(&file);
    let run = bench.output().context("run mesh-bench")?;
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let page = fs::read_to_string(&file);
    fs::remove_file(&file).ok();
    ensure!(run.status.success(), "{said}");
    let page = page?;
    ensure!(!page.contains("not measured"), "{page}\n{said}");
    for title in SECTIONS {
        let section = page.split("## ").find(|section| section.starts_with(title));
        let rows =
            section.with_context(|| format!("no {title}:\n{page}"))?.lines().filter(|line| line.starts_with('|'));
        // Below the titles of the columns and the line under them.
        assert!(rows.count() > 2, "no figure in {title}:\n{page}");
    }
    Ok(())
}
