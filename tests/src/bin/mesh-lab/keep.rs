//! What to try in a lab that stays up.

use crate::lab::Lab;
use anyhow::Result;
use mesh_tests::echo::Transport;
use mesh_tests::programs;

/// Prints commands that work as they stand.
pub fn hints(lab: &mut Lab) -> Result<()> {
    let mesh = programs::find("mesh")?;
    let (mesh, agent, manifests) = (mesh.display(), lab.world.agent(), lab.world.manifests().directory());
    let frontends = lab.frontends();
    let tcp = frontends.iter().find(|frontend| frontend.transport == Transport::Tcp);
    let mut lines = vec![
        format!("export MESH_SOCKET={}", agent.socket().display()),
        format!("{mesh} status"),
        format!("{mesh} service list -w"),
        format!("{mesh} backend list"),
    ];
    if let Some(frontend) = tcp {
        lines.push(format!("{mesh} service show {}/{}", frontend.service.namespace, frontend.service.name));
        lines.push(format!("{mesh} explain {frontend}"));
        lines.push(format!("cargo xtask lab exec client-1 -- curl http://{}", frontend.address));
    }
    lines.push("cargo xtask lab exec client-1 -- bash".to_owned());
    lines.push(format!("ls {}   # edit, add or remove one: it is in the kernel at once", manifests.display()));
    lines.push(format!("kill -9 {}   # the agent; connections go on", agent.id()?));
    lines.push("cargo xtask lab down".to_owned());
    lab.screen.act("It stays up. To try:");
    for line in lines {
        lab.screen.say(&format!("  {line}"));
    }
    Ok(())
}
