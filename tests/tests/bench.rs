//! The bench works, at its smallest sizes and whatever its figures are.

use anyhow::{Context, Result, ensure};
use mesh_tests::programs::find;
use std::fs;
use std::process::Command;
use tempfile::TempDir;

/// The parts of the page beside kube-proxy.
const BESIDE: [&str; 5] = [
    "From the start to the last entry",
    "At rest",
    "connect() directly, by mesh, and by kube-proxy",
    "From a change in the API to its effect",
    "A stream of changes",
];

#[test]
fn the_bench_beside_kube_proxy_measures_what_its_page_promises() -> Result<()> {
    page_of(&["--kubernetes"], &BESIDE).map(drop)
}

#[test]
fn the_bench_shows_what_policies_do_as_a_page_and_a_picture() -> Result<()> {
    let sections = [
        "What limits and algorithms add",
        "From a change of a policy's file to its effect",
        "Requests with one slow backend of five",
    ];
    let (page, folder) = page_of(&["--only", "traffic", "--only", "parameter", "--only", "tail"], &sections)?;
    let picture = fs::read_to_string(folder.path().join("performance-tail.svg")).context("the picture")?;
    assert!(page.contains("](performance-tail.svg)") && picture.contains("LeastConnections"), "{page}");
    Ok(())
}

/// The page that the bench writes, with at least a figure in each section, and the folder that it is in.
fn page_of(arguments: &[&str], sections: &[&str]) -> Result<(String, TempDir)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("page.md");
    let mut bench = Command::new(find("mesh-bench")?);
    bench.args(arguments).args(["--quick", "--no-gate", "--output"]).arg(&file);
    let run = bench.output().context("run mesh-bench")?;
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    ensure!(run.status.success(), "{said}");
    let page = fs::read_to_string(&file)?;
    ensure!(!page.contains("not measured"), "{page}\n{said}");
    for title in sections {
        let section = page.split("## ").find(|section| section.starts_with(*title));
        let rows =
            section.with_context(|| format!("no {title}:\n{page}"))?.lines().filter(|line| line.starts_with('|'));
        // Below the titles of the columns and the line under them.
        assert!(rows.count() > 2, "no figure in {title}:\n{page}");
    }
    Ok((page, folder))
}
