//! Writing to the cluster: conditions by server-side apply, Events under names that say what they are.

use super::told::Spoken;
use super::wanted::{Note, Said, has_conditions};
use super::{FIELD_MANAGER, words};
use crate::crd::ACCEPTED;
use crate::model::{Kind, ObjectRef};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Objects in one answer to a list.
const PAGE: u32 = 500;

/// Writes for one agent.
pub struct Writer {
    client: Client,
    node: Arc<str>,
}

impl Writer {
    /// A writer on this node.
    pub fn new(client: Client, node: Arc<str>) -> Self {
        Self { client, node }
    }

    /// Every object that has conditions of ours, as an earlier agent left them.
    pub async fn found(&self) -> Result<BTreeMap<ObjectRef, Spoken>, kube::Error> {
        let mut found = BTreeMap::new();
        for kind in [Kind::Service, Kind::TrafficPolicy, Kind::DestinationRule] {
            let all = Api::<DynamicObject>::all_with(self.client.clone(), &resource(kind));
            let mut page = ListParams::default().limit(PAGE);
            loop {
                let list = match all.list(&page).await {
                    Err(error) if is_status(&error, 404) => break, // the kind is not installed
                    list => list?,
                };
                for object in list.items {
                    let ours = ours(kind, &object);
                    let name = object.metadata.name.as_deref().unwrap_or_default();
                    if !ours.is_empty()
                        && let Some(object) =
                            crate::model::parse::object_ref(kind, object.metadata.namespace.as_deref(), name)
                    {
                        found.insert(object, spoken(ours));
                    }
                }
                match list.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => page = page.continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(found)
    }

    /// Sets the conditions that are ours; those of others stay. An object that is gone has none.
    pub async fn conditions(
        &self,
        object: &ObjectRef,
        generation: Option<i64>,
        said: &[Said],
    ) -> Result<(), kube::Error> {
        let resource = resource(object.kind);
        let api = self.api(object, &resource);
        let Some(current) = api.get_opt(&object.name).await? else { return Ok(()) };
        let before = ours(object.kind, &current);
        let generation = generation.or(current.metadata.generation);
        let ours = said.iter().map(|said| json!(condition(said, generation, &before)));
        // The list has no keys in that definition: who applies it owns it all.
        let others = listed(&current).filter(|other| object.kind == Kind::DestinationRule && !is_ours(other));
        let conditions: Vec<Value> = ours.chain(others.cloned()).collect();
        let status = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"namespace": &*object.namespace, "name": &*object.name, "uid": current.metadata.uid},
            "status": {"conditions": conditions},
        });
        match api.patch_status(&object.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(status)).await {
            // It went, or another took its name, in between: the next report says what holds.
            Err(error) if is_status(&error, 404) || is_status(&error, 409) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Writes an Event. One of that name says the same already: `again` makes a series of it.
    pub async fn event(&self, object: &ObjectRef, note: &Note, again: bool) -> Result<(), kube::Error> {
        let resource = resource(object.kind);
        let Some(current) = self.api(object, &resource).get_opt(&object.name).await? else { return Ok(()) };
        let events = Api::<Event>::namespaced(self.client.clone(), &namespace(object));
        let now = MicroTime(Timestamp::now());
        let event = self.new_event(object, note, &resource, &current, now.clone());
        match events.create(&PostParams::default(), &event).await {
            Err(error) if is_status(&error, 409) && again => {
                let mut event = events.get(&note.name).await?;
                let count = event.series.as_ref().map_or(1, |series| series.count);
                event.series = Some(EventSeries { count: count.saturating_add(1), last_observed_time: now });
                events.replace(&note.name, &PostParams::default(), &event).await.map(drop)
            }
            Err(error) if is_status(&error, 409) => Ok(()),
            result => result.map(drop),
        }
    }

    fn new_event(
        &self,
        object: &ObjectRef,
        note: &Note,
        resource: &ApiResource,
        current: &DynamicObject,
        now: MicroTime,
    ) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(note.name.clone()),
                namespace: Some(namespace(object)),
                ..ObjectMeta::default()
            },
            event_time: Some(now),
            action: Some("Serve".to_owned()),
            reason: Some(note.reason.to_owned()),
            note: Some(note.text.clone()),
            type_: Some("Warning".to_owned()),
            reporting_controller: Some(format!("{FIELD_MANAGER}/agent")),
            reporting_instance: Some(self.node.to_string()),
            regarding: Some(ObjectReference {
                api_version: Some(resource.api_version.clone()),
                kind: Some(resource.kind.clone()),
                namespace: Some(object.namespace.to_string()).filter(|namespace| !namespace.is_empty()),
                name: Some(object.name.to_string()),
                uid: current.metadata.uid.clone(),
                resource_version: current.metadata.resource_version.clone(),
                ..ObjectReference::default()
            }),
            ..Event::default()
        }
    }

    fn api(&self, object: &ObjectRef, resource: &ApiResource) -> Api<DynamicObject> {
        if object.namespace.is_empty() {
            Api::all_with(self.client.clone(), resource)
        } else {
            Api::namespaced_with(self.client.clone(), &object.namespace, resource)
        }
    }
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version, name, plural) = match kind {
        Kind::Service => ("", "v1", "Service", "services"),
        Kind::Node => ("", "v1", "Node", "nodes"),
        Kind::Namespace => ("", "v1", "Namespace", "namespaces"),
        Kind::Pod => ("", "v1", "Pod", "pods"),
        Kind::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
        Kind::TrafficPolicy => ("mesh.dev", "v1alpha1", "TrafficPolicy", "trafficpolicies"),
        Kind::DestinationRule => ("networking.istio.io", "v1beta1", "DestinationRule", "destinationrules"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), plural)
}

/// Events of objects without a namespace are in `default`.
fn namespace(object: &ObjectRef) -> String {
    if object.namespace.is_empty() { "default".to_owned() } else { object.namespace.to_string() }
}

/// The conditions on an object that are ours to set.
fn ours(kind: Kind, object: &DynamicObject) -> Vec<Condition> {
    if !has_conditions(kind) {
        return Vec::new();
    }
    let mut ours: Vec<Condition> =
        listed(object).filter_map(|value| serde_json::from_value(value.clone()).ok()).collect();
    ours.retain(|condition| match kind {
        Kind::TrafficPolicy => [ACCEPTED, "Unsupported"].contains(&condition.type_.as_str()),
        _ => condition.type_.starts_with(FIELD_MANAGER),
    });
    ours.sort_by(|a, b| a.type_.cmp(&b.type_));
    ours
}

fn listed(object: &DynamicObject) -> impl Iterator<Item = &Value> {
    object.data.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

/// Whether a condition on a kind that is not ours is ours.
fn is_ours(condition: &Value) -> bool {
    condition["type"].as_str().is_some_and(|type_| type_.starts_with(FIELD_MANAGER))
}

fn spoken(conditions: Vec<Condition>) -> Spoken {
    let generation = conditions.iter().filter_map(|condition| condition.observed_generation).min();
    let said = conditions.into_iter().map(|condition| Said {
        status: condition.status == "True",
        type_: condition.type_,
        reason: condition.reason,
        message: condition.message,
    });
    Spoken { generation, conditions: said.collect(), ..Spoken::default() }
}

fn condition(said: &Said, generation: Option<i64>, before: &[Condition]) -> Condition {
    let status = if said.status { "True" } else { "False" };
    let same = before.iter().find(|before| before.type_ == said.type_ && before.status == status);
    Condition {
        type_: said.type_.clone(),
        status: status.to_owned(),
        reason: said.reason.clone(),
        message: said.message.clone(),
        observed_generation: generation,
        last_transition_time: same.map_or_else(|| Time(Timestamp::now()), |same| same.last_transition_time.clone()),
    }
}

fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// An error in words.
pub fn why(error: kube::Error) -> String {
    words(Some(error))
}
