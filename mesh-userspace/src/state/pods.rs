//! Pods of this node whose connections are left alone: by their own word, or by their namespace's (SEMANTICS 32).

use super::ClusterState;
use crate::model::{Namespace, ObjectRef, Pod};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// This node's pods, and the namespaces that speak for theirs.
#[derive(Debug, Default)]
pub(super) struct Pods {
    here: HashMap<ObjectRef, Pod>,
    /// Namespaces whose pods are left alone.
    namespaces: HashSet<Arc<str>>,
    changed: bool,
    /// Whether what [`ClusterState::sources`] says may have changed.
    pub(super) sources_changed: bool,
}

impl ClusterState {
    pub(super) fn put_pod(&mut self, pod: Pod) {
        let name = pod.object();
        if *pod.node != *self.node_name || pod.ended || pod.cgroup.is_empty() {
            self.take_pod(&name);
        } else if self.pods.here.get(&name) != Some(&pod) {
            self.pods.changed = true;
            self.pods.sources_changed = true;
            self.pods.here.insert(name, pod);
        }
    }

    pub(super) fn take_pod(&mut self, name: &ObjectRef) {
        let was_here = self.pods.here.remove(name).is_some();
        self.pods.changed |= was_here;
        self.pods.sources_changed |= was_here;
    }

    pub(super) fn put_namespace(&mut self, namespace: Namespace) {
        self.pods.changed |= if namespace.left_alone {
            self.pods.namespaces.insert(namespace.name)
        } else {
            self.pods.namespaces.remove(&namespace.name)
        };
    }

    pub(super) fn take_namespace(&mut self, name: &str) {
        self.pods.changed |= self.pods.namespaces.remove(name);
    }

    /// The pods that are left alone, by what their cgroups are named after, if that may have changed since the last call;
    /// never before [`Self::is_synced`].
    pub fn take_left_alone(&mut self) -> Option<BTreeMap<Arc<str>, ObjectRef>> {
        if !self.is_synced() || !std::mem::take(&mut self.pods.changed) {
            return None;
        }
        let is_left = |pod: &&Pod| pod.left_alone.unwrap_or_else(|| self.pods.namespaces.contains(&pod.namespace));
        Some(self.pods.here.values().filter(is_left).map(|pod| (pod.cgroup.clone(), pod.object())).collect())
    }

    /// This node's pods that run: what their cgroups are named after, and their addresses.
    pub(super) fn pods_here(&self) -> impl Iterator<Item = &Pod> {
        self.pods.here.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Object};
    use crate::source::Change;

    fn put(state: &mut ClusterState, object: Object) {
        state.apply(Change::Upsert { object, origin: None });
    }

    fn pod(name: &str, node: &str, left_alone: Option<bool>) -> Object {
        let (namespace, cgroup) = ("shop".into(), format!("uid-{name}").into());
        Object::Pod(Pod {
            namespace,
            name: name.into(),
            node: node.into(),
            cgroup,
            addresses: vec![],
            left_alone,
            ended: false,
        })
    }

    fn namespace(left_alone: bool) -> Object {
        Object::Namespace(Namespace { name: "shop".into(), left_alone })
    }

    fn left(state: &mut ClusterState) -> Option<Vec<String>> {
        Some(state.take_left_alone()?.keys().map(ToString::to_string).collect())
    }

    #[test]
    fn s32_a_pods_own_word_comes_before_its_namespaces() {
        let mut state = ClusterState::new("node-1", 1);
        put(&mut state, pod("a", "node-1", Some(true)));
        put(&mut state, pod("b", "node-1", None));
        put(&mut state, pod("c", "node-1", Some(false)));
        put(&mut state, pod("d", "node-2", Some(true)));
        assert_eq!(left(&mut state), None, "not before everything is known");
        state.apply(Change::Synced);
        assert_eq!(left(&mut state), Some(vec!["uid-a".to_owned()]));
        assert_eq!(left(&mut state), None, "nothing has changed");
        put(&mut state, namespace(true));
        assert_eq!(left(&mut state), Some(vec!["uid-a".to_owned(), "uid-b".to_owned()]));
        put(&mut state, namespace(true));
        assert_eq!(left(&mut state), None);
        state.apply(Change::Remove(ObjectRef { kind: Kind::Pod, namespace: "shop".into(), name: "a".into() }));
        state.apply(Change::Remove(ObjectRef { kind: Kind::Namespace, namespace: "".into(), name: "shop".into() }));
        assert_eq!(left(&mut state), Some(vec![]));
        let Object::Pod(ended) = pod("b", "node-1", Some(true)) else { unreachable!("it is a pod") };
        put(&mut state, Object::Pod(Pod { ended: true, ..ended }));
        assert_eq!(left(&mut state), Some(vec![]));
    }
}
