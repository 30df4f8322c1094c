//! The lab as its user sees it: what it prints, how it ends, what it leaves.

use anyhow::{Context, Result, ensure};
use mesh_tests::programs::find;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn lab(arguments: &[&str]) -> Result<Output> {
    Command::new(find("mesh-lab")?).args(arguments).output().context("run mesh-lab")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_shop_keeps_its_promises_stays_up_and_is_taken_down() -> Result<()> {
    let run = lab(&["--keep"])?;
    let (said, complained) = (text(&run.stdout), text(&run.stderr));
    let home = said.split("MESH_SOCKET=").nth(1).and_then(|rest| rest.split("/mesh.sock").next());
    let home = Path::new(home.with_context(|| format!("no lab stays up:\n{said}{complained}"))?);
    let name = home.file_name().context("the lab's name")?.to_string_lossy().into_owned();

    let page = lab(&["exec", "--lab", &name, "client-1", "--", "curl", "-s", "http://10.96.0.20/still-there"]);
    let down = lab(&["down", "--lab", &name])?;
    ensure!(down.status.success(), "{}", text(&down.stderr));
    assert!(run.status.success(), "{said}{complained}");
    assert!(!said.contains('\x1b'), "a pipe is no terminal");
    for act in [
        "Traffic",
        "goes, one comes",
        "and not one more",
        "is a canary of",
        "is killed",
        "adopts",
        "promises were kept",
    ] {
        assert!(said.contains(act), "{act} is missing:\n{said}");
    }
    let page = text(&page?.stdout);
    assert!(page.starts_with("cart-") && page.ends_with("/still-there\n"), "{page}");

    assert!(!home.exists());
    for place in ["/proc/mounts", "/proc/self/mountinfo"] {
        assert!(!fs::read_to_string(place)?.contains(&name), "{place} still has {name}");
    }
    assert!(!Path::new("/sys/fs/bpf").join(&name).exists());
    assert!(!mesh_tests::world::Cgroup::mount_point()?.join(&name).exists());
    Ok(())
}

#[test]
fn the_shop_keeps_its_promises_on_a_real_cluster_too() -> Result<()> {
    let run = lab(&["--cluster"])?;
    let said = text(&run.stdout);
    assert!(run.status.success(), "{said}{}", text(&run.stderr));
    for act in
        ["of two nodes comes up", "rollout restart", "not one more", "is killed", "mesh itself", "promises were kept"]
    {
        assert!(said.contains(act), "{act} is missing:\n{said}");
    }
    Ok(())
}

#[test]
fn somebody_elses_application_is_served_on_the_same_path() -> Result<()> {
    let run = lab(&["--manifests", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/applications/polls.yaml")])?;
    let said = text(&run.stdout);
    assert!(run.status.success(), "{said}{}", text(&run.stderr));
    for part in
        ["polls/api", "polls/db", "the lab sets one of 5", "has no pod: refused at once", "spec.loadBalancerIPs"]
    {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_named_by_file_object_and_field() -> Result<()> {
    let run = lab(&["--manifests", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/applications/wrong.yaml")])?;
    assert_eq!(run.status.code(), Some(2));
    let complained = text(&run.stderr);
    let expected =
        "wrong.yaml: document 2: Service default/web: `spec.ports[0].port`: 70000 is no port; use 1 to 65535";
    assert!(complained.contains(expected), "{complained}");
    Ok(())
}
