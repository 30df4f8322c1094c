//! What happens on the cluster, one act after the other.

use super::agents::{backends, cookies, service};
use super::shop;
use super::stage::{Stage, label};
use crate::hold::Hold;
use crate::promises::same;
use anyhow::{Context, Result, ensure};
use mesh_tests::cluster::NAMESPACE;
use std::io::ErrorKind;

/// The limits of lab/shop/payment.yaml.
const LIMIT: usize = 6;

/// All acts.
pub fn play(stage: &mut Stage) -> Result<()> {
    spread(stage)?;
    roll(stage)?;
    limit(stage)?;
    orphan(stage)?;
    upgrade(stage)
}

/// Every Service is reached from both nodes, every backend has its share, and a client sees only the Service.
fn spread(stage: &mut Stage) -> Result<()> {
    stage.screen.act("Traffic: two clients, one on each node, visit every Service");
    let frontends = stage.frontends.clone();
    // What a kubelet calls ready is in the kernel a moment later.
    stage.watch("every frontend to answer", |stage| {
        for client in &stage.clients {
            for frontend in &frontends {
                Hold::open(client, frontend)?.server().with_context(|| frontend.to_string())?;
            }
        }
        Ok(())
    })?;
    stage.traffic.visit(frontends.clone());
    stage.watch_visits(40)?;
    let mut expected = Vec::new();
    for application in ["cart", "catalogue", "dns", "payment", "web"] {
        expected.extend(stage.pods(application)?.into_iter().map(|pod| (format!("shop/{application}"), pod)));
    }
    let reached = stage.watch("every backend to be reached", |stage| {
        let visits = stage.traffic.all();
        let missed: Vec<_> = expected.iter().filter(|(service, pod)| visits.answers(service, pod) == 0).collect();
        ensure!(missed.is_empty(), "nobody reached {missed:?}");
        Ok(())
    });
    stage.note(&format!("each of the {} pods was reached through its Service", expected.len()), reached);
    let visits = stage.traffic.all();
    stage.note(&format!("{} connections, and none failed", visits.answered()), visits.none_failed());
    let shown = frontends.iter().try_for_each(|frontend| {
        let peer = Hold::open(&stage.clients[0], frontend)?.peer()?;
        ensure!(peer == frontend.address, "getpeername of {frontend} is {peer}");
        Ok(())
    });
    stage.note("getpeername shows the Service's address, never the pod's", shown);
    let name = stage.clients[1].resolve("web.shop.svc.cluster.local");
    let expected = vec![stage.frontend("web")?.address.ip()];
    let name = name.map_err(|error| error.to_string()).and_then(|found| same(&found, &expected));
    stage.note("CoreDNS, asked through its own Service, knows web.shop", name);
    Ok(())
}

/// Every pod of a Deployment is replaced.
fn roll(stage: &mut Stage) -> Result<()> {
    stage.screen.act("Every pod of shop/web is replaced: kubectl rollout restart");
    let before = stage.pods("web")?;
    stage.traffic.forget();
    let kubectl = stage.cluster.kubectl();
    kubectl.run(&["rollout", "restart", "--namespace", shop::NAMESPACE, "deployment/web"])?;
    stage.cluster.wait_rollout(shop::NAMESPACE, "deployment/web")?;
    let mut words = vec!["wait", "--for=delete", "--timeout=60s", "--namespace", shop::NAMESPACE];
    let gone: Vec<_> = before.iter().map(|pod| format!("pod/{pod}")).collect();
    words.extend(gone.iter().map(String::as_str));
    stage.cluster.kubectl().run(&words)?;
    let now = stage.pods("web")?;
    let reached = stage.watch("the new pods to be reached", |stage| {
        let visits = stage.traffic.recent();
        let missed: Vec<_> = now.iter().filter(|pod| visits.answers("shop/web", pod) == 0).collect();
        ensure!(missed.is_empty(), "nobody reached {missed:?}");
        Ok(())
    });
    stage.note(&format!("{} take connections", now.join(", ")), reached);
    let visits = stage.traffic.recent();
    stage.note(&format!("{} connections meanwhile, and none failed", visits.answered()), visits.none_failed());
    Ok(())
}

/// The limit of `shop/payment` bites exactly, on each node by itself.
fn limit(stage: &mut Stage) -> Result<()> {
    stage.screen.act(&format!("shop/payment takes {LIMIT} connections at once from each node, and not one more"));
    let payment = stage.frontend("payment")?;
    let others = stage.frontends.iter().filter(|frontend| frontend.service != payment.service).cloned().collect();
    stage.traffic.visit(others);
    let mut held = Vec::new();
    for number in [1_u8, 2] {
        let client = &stage.clients[usize::from(number) - 1];
        let open = |count: usize| (0..count).map(|_| Hold::open(client, &payment)).collect::<Vec<_>>();
        let (opened, refused): (Vec<_>, Vec<_>) = open(LIMIT + 3).into_iter().partition(Result::is_ok);
        let kinds: Vec<_> = refused.into_iter().filter_map(Result::err).map(|error| error.kind()).collect();
        let seen = (opened.len(), kinds);
        held.extend(opened.into_iter().flatten());
        let wanted = (LIMIT, vec![ErrorKind::ConnectionRefused; 3]);
        stage.note(
            &format!("node-{number}: {LIMIT} of {} are open, 3 refused at once", LIMIT + 3),
            same(&seen, &wanted),
        );
        let node = stage.cluster.node(number);
        let counted = service(&stage.cluster, node, &payment.service)?.active;
        let each = backends(&stage.cluster, node)?;
        let most = each.iter().filter(|one| one.service.name == "payment").map(|one| one.active).max();
        let within = most.is_some_and(|most| most <= 4);
        stage.note(
            &format!("its agent counts {LIMIT}, at most 4 to a pod"),
            same(&(counted, within), &(LIMIT as u64, true)),
        );
    }
    drop(held);
    stage.traffic.visit(stage.frontends.clone());
    Ok(())
}

/// An agent is killed; traffic goes on, and the next one adopts what is there.
fn orphan(stage: &mut Stage) -> Result<()> {
    stage.screen.act("The agent of node-1 is killed; traffic goes on, and the kubelet starts another");
    let frontends = stage.frontends.clone();
    let frontends = frontends.iter().filter(|frontend| frontend.service.name != "payment");
    let held = frontends.map(|frontend| Hold::open(&stage.clients[0], frontend)).collect::<Result<Vec<_>, _>>()?;
    let answered = held.iter().map(Hold::server).collect::<Result<Vec<_>, _>>()?;
    let number = restarts(stage)?;
    let before = {
        let _silence = stage.traffic.pause();
        cookies(&stage.cluster, stage.cluster.node(1), &stage.frontends)?
    };
    stage.traffic.forget();
    stage.cluster.node(1).enter(&["sh", "-c", KILL])?;
    stage.watch_visits(40)?;
    stage.watch("another agent to be ready", |stage| {
        ensure!(restarts(stage)? > number, "it has not been started again");
        stage.cluster.kubectl().run(&["rollout", "status", "--namespace", NAMESPACE, "daemonset/mesh", "--timeout=1s"])
    })?;
    let visits = stage.traffic.recent();
    stage.note(&format!("{} connections meanwhile, and none failed", visits.answered()), visits.none_failed());
    let after = {
        let _silence = stage.traffic.pause();
        cookies(&stage.cluster, stage.cluster.node(1), &stage.frontends)?
    };
    stage.note(&format!("the same {} sockets are counted, by their cookies", before.len()), same(&after, &before));
    let still: Result<Vec<_>, _> = held.iter().map(Hold::server).collect();
    let still = still.map_err(|error| error.to_string()).and_then(|still| same(&still, &answered));
    stage.note(&format!("the {} connections that were open still answer, each from its pod", held.len()), still);
    Ok(())
}

/// A process of mesh, by its program: the node's numbers are its own.
const KILL: &str = "for p in /proc/[0-9]*; do [ \"$(readlink $p/exe)\" = /mesh ] && kill -9 ${p#/proc/}; done; true";

/// How often the agent of node-1 has been started again.
fn restarts(stage: &Stage) -> Result<u64> {
    let words = ["pods", "--namespace", NAMESPACE, "--field-selector", "spec.nodeName=node-1"];
    let pods = stage.cluster.kubectl().get(&words)?;
    let count = &pods["items"][0]["status"]["containerStatuses"][0]["restartCount"];
    count.as_u64().with_context(|| format!("no pod of mesh on node-1: {pods}"))
}

/// The DaemonSet is replaced, node after node.
fn upgrade(stage: &mut Stage) -> Result<()> {
    stage.screen.act("mesh itself is replaced on every node: kubectl rollout restart");
    stage.traffic.forget();
    stage.cluster.kubectl().run(&["rollout", "restart", "--namespace", NAMESPACE, "daemonset/mesh"])?;
    stage.cluster.wait_rollout(NAMESPACE, "daemonset/mesh")?;
    stage.watch_visits(20)?;
    let visits = stage.traffic.recent();
    stage.note(&format!("{} connections meanwhile, and none failed", visits.answered()), visits.none_failed());
    let web = stage.frontend("web")?;
    let served = stage.watch("both agents to count", |stage| {
        for node in stage.cluster.nodes() {
            let opened = service(&stage.cluster, node, &web.service)?.opened;
            ensure!(opened > 0, "{} has counted no connection to {}", node.name(), label(&web.service));
        }
        Ok(())
    });
    stage.note("both agents count what goes through their nodes", served);
    Ok(())
}
