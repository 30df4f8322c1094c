//! A DaemonSet's life under load: in beside kube-proxy, in its place, upgraded, and all the way back (docs/running.md).

use super::kernel::{Pinned, wait_clean};
use super::load::Load;
use super::stage::{Held, Stage};
use super::{report, rights};
use anyhow::{Result, ensure};
use mesh_tests::cluster::Mesh;
use mesh_tests::wait::wait_for;

/// The tag that the rolling update goes to.
const NEXT: &str = "next";

#[test]
fn installing_upgrading_and_removing_fail_no_connection() -> Result<()> {
    let stage = Stage::set()?;
    let (cluster, mesh) = (&stage.cluster, Mesh::of_this_workspace()?);
    let load = Load::start(stage.askers()?);
    // Opened through kube-proxy.
    let mut held = stage.hold()?;

    mesh.install(cluster, false)?;
    // Well before it is needed: containerd tells the kubelet of a new name a moment later, who would look for a registry until then.
    for node in cluster.nodes() {
        let image = concat!("localhost/mesh:", env!("CARGO_PKG_VERSION"));
        node.enter(&["ctr", "--namespace", "k8s.io", "images", "tag", image, &format!("localhost/mesh:{NEXT}")])?;
    }
    load.harmless("installed beside kube-proxy")?;
    stage.serves()?;
    rights::are_exactly(&stage, rights::DEFAULT)?;
    rights::are_no_administrators(&stage)?;
    held.extend(stage.hold()?);

    report::by_one_agent(&stage)?;
    load.harmless("the leader's pod replaced")?;
    rights::missing_are_named(&stage)?;
    load.harmless("an agent without a right, and with it again")?;
    stage.serves()?;

    stage.end_kube_proxy()?;
    mesh.upgrade(cluster, &["proxyReplacement=true"])?;
    load.harmless("in kube-proxy's place")?;
    stage.serves()?;
    stage.resolves()?;
    held.iter().try_for_each(Held::lives)?;

    let before = pinned(&stage)?;
    mesh.upgrade(cluster, &[&format!("image.tag={NEXT}")])?;
    load.harmless("a rolling update to another image")?;
    stage.serves()?;
    for (now, before) in pinned(&stage)?.iter().zip(&before) {
        // The new agent has adopted the maps, and put its own programs behind the links that were there.
        ensure!(now.maps == before.maps && now.links == before.links, "{now:?} where {before:?} was expected");
        ensure!(now.programs.is_disjoint(&before.programs), "{now:?} has programs of {before:?}");
    }
    held.iter().try_for_each(Held::lives)?;

    stage.roll()?;
    load.harmless("a rolling update of the application, mesh alone")?;
    stage.serves()?;
    // Those went with their pods.
    let held = stage.hold()?;

    mesh.upgrade(cluster, &["proxyReplacement=false", "endConnections=false"])?;
    rights::are_exactly(&stage, rights::WITHOUT_ENDING)?;
    stage.serves()?;
    stage.start_kube_proxy()?;
    load.harmless("with fewer rights, and kube-proxy again")?;
    let kernels = pinned(&stage)?;
    mesh.upgrade(cluster, &["remove=true", "maxUnavailable=100%"])?;
    mesh.uninstall(cluster)?;
    load.harmless("removed")?;
    for (node, kernel) in cluster.nodes().iter().zip(&kernels) {
        wait_clean(node)?;
        kernel.wait_gone()?;
    }
    // Its pods go after the objects that own them.
    wait_for("the API to have nothing of the chart any more", || {
        let left = cluster.kubectl().run(&[
            "get",
            "daemonsets,pods,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,secrets",
            "--selector=app.kubernetes.io/name=mesh",
            "--all-namespaces",
            "--output=name",
        ])?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })?;
    cluster.kubectl().delete(&["crd", "trafficpolicies.mesh.dev"])?;
    load.harmless("kube-proxy alone")?;
    held.iter().try_for_each(Held::lives)?;
    load.stop()
}

fn pinned(stage: &Stage) -> Result<Vec<Pinned>> {
    stage.cluster.nodes().iter().map(Pinned::on).collect()
}
