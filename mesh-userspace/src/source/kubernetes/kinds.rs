//! What is watched: one stream of events for each kind.

use crate::model::parse::Parser;
use crate::model::{Kind, NodePorts};
use crate::source::object::{self, Item};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use kube::{Api, Client};
use serde_json::Value;
use std::time::Duration;

/// Objects in one page of a list, where the server does not stream lists.
const PAGE: u32 = 500;

/// What happens to the objects of one kind, for ever.
pub(super) type Events = BoxStream<'static, watcher::Result<Event<Received>>>;

/// A kind as the API server has it.
pub(super) struct Watched {
    pub(super) kind: Kind,
    /// Whether the server may not know the kind (its definition is not installed): then there are none.
    pub(super) optional: bool,
    /// Whether the agent goes on without it where it may not read it: another mesh's kind, or what says whom to leave alone.
    pub(super) foreign: bool,
    fields: Option<String>,
    labels: Option<&'static str>,
}

/// An object as it was received: typed where the server vouches for its form, and JSON where it may be of any form, so
/// that one that is wrong is rejected alone.
pub(super) enum Received {
    Service(Box<core::Service>),
    EndpointSlice(Box<discovery::EndpointSlice>),
    Node(Box<core::Node>),
    Namespace(Box<PartialObjectMeta<core::Namespace>>),
    Pod(Box<core::Pod>),
    Any(Box<DynamicObject>),
}

/// Everything that is watched on behalf of `node`.
pub(super) fn all(node: &str, node_ports: NodePorts) -> Vec<Watched> {
    let watched = |kind| Watched { kind, optional: false, foreign: false, fields: None, labels: None };
    vec![
        watched(Kind::Service),
        // Headless Services' endpoints are their clients' business.
        Watched { labels: Some("!service.kubernetes.io/headless"), ..watched(Kind::EndpointSlice) },
        Watched {
            fields: (node_ports != NodePorts::AllNodes).then(|| format!("metadata.name={node}")),
            ..watched(Kind::Node)
        },
        Watched { foreign: true, ..watched(Kind::Namespace) },
        Watched { foreign: true, fields: Some(format!("spec.nodeName={node}")), ..watched(Kind::Pod) },
        Watched { optional: true, ..watched(Kind::TrafficPolicy) },
        Watched { optional: true, foreign: true, ..watched(Kind::DestinationRule) },
    ]
}

impl Watched {
    /// Lists and follows, for ever, waiting after errors. `streaming` asks for the list as a stream (KEP-3157), which
    /// neither side ever holds as a whole.
    pub(super) fn events(&self, client: &Client, streaming: bool) -> Events {
        let mut config = watcher::Config::default().page_size(PAGE);
        if streaming {
            config = config.streaming_lists();
        }
        if let Some(fields) = &self.fields {
            config = config.fields(fields);
        }
        if let Some(labels) = self.labels {
            config = config.labels(labels);
        }
        let client = client.clone();
        match self.kind {
            Kind::Service => stream(Api::all(client), config, |object| Received::Service(Box::new(object))),
            Kind::EndpointSlice => stream(Api::all(client), config, |object| Received::EndpointSlice(Box::new(object))),
            Kind::Node => stream(Api::all(client), config, |object| Received::Node(Box::new(object))),
            Kind::Pod => stream(Api::all(client), config, |object| Received::Pod(Box::new(object))),
            Kind::Namespace => {
                let api = Api::<PartialObjectMeta<core::Namespace>>::all(client);
                stream(api, config, |object| Received::Namespace(Box::new(object)))
            }
            Kind::TrafficPolicy => {
                any(client, config, &GroupVersionKind::gvk("mesh.dev", "v1alpha1", "TrafficPolicy"), "trafficpolicies")
            }
            // Served by every Istio since 1.5; the versions do not differ.
            Kind::DestinationRule => {
                let gvk = GroupVersionKind::gvk("networking.istio.io", "v1beta1", "DestinationRule");
                any(client, config, &gvk, "destinationrules")
            }
        }
    }
}

impl Received {
    /// What it means.
    pub(super) fn read(self, parser: &mut Parser) -> Item {
        match self {
            Self::Service(typed) => object::service(parser, &typed),
            Self::EndpointSlice(typed) => object::endpoint_slice(parser, &typed),
            Self::Node(typed) => object::node(parser, &typed),
            Self::Namespace(partial) => object::namespace(parser, &partial.metadata),
            Self::Pod(typed) => object::pod(parser, &typed),
            Self::Any(any) => {
                let types = any.types.clone().unwrap_or_default();
                let value = serde_json::to_value(&*any).unwrap_or(Value::Null);
                object::read(parser, &types.api_version, &types.kind, value)
            }
        }
    }

    /// Its namespace and name.
    pub(super) fn name(&self) -> (Option<&str>, &str) {
        let metadata = match self {
            Self::Service(typed) => &typed.metadata,
            Self::EndpointSlice(typed) => &typed.metadata,
            Self::Node(typed) => &typed.metadata,
            Self::Namespace(partial) => &partial.metadata,
            Self::Pod(typed) => &typed.metadata,
            Self::Any(any) => &any.metadata,
        };
        (metadata.namespace.as_deref(), metadata.name.as_deref().unwrap_or_default())
    }
}

fn stream<K>(api: Api<K>, config: watcher::Config, wrap: impl Fn(K) -> Received + Send + 'static) -> Events
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let events = watcher::watcher(api, config).backoff(Wait::default());
    events
        .map(move |event| {
            event.map(|event| match event {
                Event::Init => Event::Init,
                Event::InitApply(object) => Event::InitApply(wrap(object)),
                Event::InitDone => Event::InitDone,
                Event::Apply(object) => Event::Apply(wrap(object)),
                Event::Delete(object) => Event::Delete(wrap(object)),
            })
        })
        .boxed()
}

/// How long to wait after errors: as client-go does, doubling with jitter, but from 0.2 to 7.5 seconds. An agent has
/// nobody else to ask, and what it serves grows old meanwhile.
#[derive(Default)]
struct Wait(DefaultBackoff);

impl Iterator for Wait {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|wait| wait / 4)
    }
}

impl Backoff for Wait {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Objects whose form the server does not vouch for, of a resource as its definition names it.
fn any(client: Client, config: watcher::Config, gvk: &GroupVersionKind, plural: &str) -> Events {
    let resource = ApiResource::from_gvk_with_plural(gvk, plural);
    let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
    stream(Api::<DynamicObject>::all_with(client, &resource), config, move |mut object| {
        // The items of a list need not repeat what they are.
        object.types.get_or_insert_with(|| types.clone());
        Received::Any(Box::new(object))
    })
}
