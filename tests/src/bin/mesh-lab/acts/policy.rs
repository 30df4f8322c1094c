//! The lab's own policies: on Services whose owner wrote none, and taken away again.

use super::change::choose;
use crate::lab::Lab;
use anyhow::{Result, ensure};
use mesh_tests::control_plane::Frontend;
use mesh_tests::manifest;
use mesh_tests::object::{Object, ObjectName};
use serde_json::Value;

/// A policy of the lab for an act, which says what is wished of a Service.
pub fn own_policy(act: &str, service: &ObjectName, wishes: Value) -> Result<Object> {
    let name = format!("lab-{act}-{}", service.name);
    Object::new(manifest::policy((&service.namespace, &name), &service.name, wishes), "the lab")
}

/// The frontend that [`choose`] names, if no policy is in force for it.
pub fn ungoverned(lab: &Lab) -> Option<(Frontend, ObjectName)> {
    choose(lab).filter(|(frontend, _)| !is_governed(lab, frontend))
}

/// Takes the lab's own policy away, and waits until it is out of force.
pub fn withdraw(lab: &mut Lab, frontend: &Frontend, policy: &ObjectName) -> Result<()> {
    lab.plane.delete(policy)?;
    lab.watch("the lab's own policy to be gone", |lab| {
        ensure!(!is_governed(lab, frontend), "it is in force");
        Ok(())
    })
}

/// Whether a policy is in force for it: two would be in conflict.
pub fn is_governed(lab: &Lab, frontend: &Frontend) -> bool {
    let asked = lab.world.agent().ask(&["service", "list"]);
    asked.is_ok_and(|services| {
        services.as_array().into_iter().flatten().any(|service| {
            service["namespace"] == frontend.service.namespace.as_str()
                && service["name"] == frontend.service.name.as_str()
                && service["policy"].is_string()
        })
    })
}
