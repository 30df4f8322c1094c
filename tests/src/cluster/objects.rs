//! Objects of any kind, put into an API server as `kubectl apply` does, and taken out again.

use super::Api;
use crate::object::Object;
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, GroupVersionKind, TypeMeta};
use kube::discovery::{self, Scope};
use kube::{Client, ResourceExt};

/// Who the fields belong to that tests write.
const MANAGER: &str = "mesh-tests";

impl Api {
    /// Puts each object of a YAML or JSON text in place of what had its name. A `status` is put in place, too; a
    /// namespace that is not there is made.
    pub fn apply(&self, text: &str) -> Result<()> {
        Object::parse_all(text, "the text applied")?.into_iter().try_for_each(|object| self.put(object))
    }

    /// Puts one object in place.
    pub fn put(&self, object: Object) -> Result<()> {
        let client = self.client();
        let name = object.name.to_string();
        self.run(async move {
            let (api, object) = resource(&client, object).await?;
            let parameters = PatchParams::apply(MANAGER).force();
            let patch = Patch::Apply(&object);
            api.patch(&object.name_any(), &parameters, &patch).await?;
            if !object.data["status"].is_null() {
                api.patch_status(&object.name_any(), &parameters, &patch).await?;
            }
            Ok(())
        })
        .with_context(|| format!("apply {name}"))
    }

    /// Takes each object of a text away; one that is not there is taken away already.
    pub fn delete(&self, text: &str) -> Result<()> {
        for object in Object::parse_all(text, "the text deleted")? {
            let client = self.client();
            let name = object.name.to_string();
            self.run(async move {
                let (api, object) = resource(&client, object).await?;
                absent_is_fine(api.delete(&object.name_any(), &DeleteParams::background()).await.map(drop))
            })
            .with_context(|| format!("delete {name}"))?;
        }
        Ok(())
    }

    /// The object as the API server has it now; `None` when it has none of this kind, namespace and name.
    pub fn get(&self, text: &str) -> Result<Option<serde_json::Value>> {
        let object = Object::parse_all(text, "the text asked for")?.into_iter().next().context("an object")?;
        let client = self.client();
        self.run(async move {
            let (api, object) = resource(&client, object).await?;
            let found = api.get_opt(&object.name_any()).await?;
            found.map(|found| serde_json::to_value(found).context("write the object")).transpose()
        })
    }
}

/// Where objects of this one's kind and namespace are.
async fn resource(client: &Client, object: Object) -> Result<(kube::Api<DynamicObject>, DynamicObject)> {
    let namespace = object.name.namespace.clone();
    let object: DynamicObject = object.typed()?;
    let types: &TypeMeta = object.types.as_ref().context("`apiVersion` is missing")?;
    let kind = GroupVersionKind::try_from(types).context("read `apiVersion`")?;
    let (resource, capabilities) = discovery::pinned_kind(client, &kind).await.context("find its kind")?;
    let api = match capabilities.scope {
        Scope::Cluster => kube::Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            ensure_namespace(client, &namespace).await?;
            kube::Api::namespaced_with(client.clone(), &namespace, &resource)
        }
    };
    Ok((api, object))
}

async fn ensure_namespace(client: &Client, name: &str) -> Result<()> {
    let api = kube::Api::<Namespace>::all(client.clone());
    if api.get_opt(name).await?.is_none() {
        let namespace: Namespace = serde_json::from_value(serde_json::json!({"metadata": {"name": name}}))?;
        api.create(&PostParams::default(), &namespace).await.context("make its namespace")?;
    }
    Ok(())
}

fn absent_is_fine(result: kube::Result<()>) -> Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => Ok(other?),
    }
}
