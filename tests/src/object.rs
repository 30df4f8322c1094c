//! Kubernetes objects as they stand in files, before anybody knows their kind.

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::fs;
use std::path::Path;

/// An object by kind, namespace and name; prints as `Service shop/web`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectName {
    /// The kind.
    pub kind: String,
    /// The namespace; `default` when none is written.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectName {
    /// An object in the namespace `default`.
    pub fn new(kind: &str, name: &str) -> Self {
        Self::namespaced(kind, "default", name)
    }

    /// An object in a namespace.
    pub fn namespaced(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object of any kind.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// Which it is.
    pub name: ObjectName,
    /// All of it.
    pub value: Value,
    /// Where it was read, for messages.
    pub origin: String,
}

impl Object {
    /// The objects of a file, or of all `.yaml`, `.yml` and `.json` files in a directory tree, in the order of names.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        if !path.is_dir() {
            let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            return Self::parse_all(&text, &path.display().to_string());
        }
        let entries = fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let is_manifest = |path: &Path| {
            path.is_dir() || path.extension().is_some_and(|e| ["yaml", "yml", "json"].iter().any(|known| e == *known))
        };
        let read = paths.iter().filter(|path| is_manifest(path)).map(|path| Self::read(path));
        Ok(read.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// The objects of a text: YAML of several documents, `List` kinds, JSON.
    pub fn parse_all(text: &str, origin: &str) -> Result<Vec<Self>> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| anyhow!("{origin}: {error}"))?;
        let mut objects = Vec::new();
        for (number, document) in documents.into_iter().enumerate().filter(|(_, document)| !document.is_null()) {
            let origin = format!("{origin}: document {}", number + 1);
            let kind = document["kind"].as_str().unwrap_or_default();
            match (kind.ends_with("List"), &document["items"]) {
                (true, Value::Array(items)) => {
                    for item in items {
                        objects.push(Self::new(item.clone(), &origin)?);
                    }
                }
                _ => objects.push(Self::new(document, &origin)?),
            }
        }
        Ok(objects)
    }

    /// An object from its value.
    pub fn new(value: Value, origin: &str) -> Result<Self> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        let Some(kind) = text(&value["kind"]) else { bail!("{origin}: `kind` is missing") };
        let metadata = &value["metadata"];
        let Some(name) = text(&metadata["name"]) else { bail!("{origin}: {kind}: `metadata.name` is missing") };
        let namespace = text(&metadata["namespace"]).unwrap_or_else(|| "default".to_owned());
        Ok(Self { name: ObjectName { kind, namespace, name }, value, origin: origin.to_owned() })
    }

    /// The object as its Kubernetes type; an error names the file, the object and the field.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T> {
        serde_path_to_error::deserialize(&self.value)
            .map_err(|error| self.wrong(&error.path().to_string(), &error.inner().to_string()))
    }

    /// An error about a field of this object.
    pub fn wrong(&self, field: &str, message: &str) -> anyhow::Error {
        anyhow!("{}: {}: `{field}`: {message}", self.origin, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;

    #[test]
    fn documents_and_lists_become_objects() {
        let text = "kind: Service\nmetadata: {name: web, namespace: shop}\n---\n---\n\
                    kind: List\nitems:\n- {kind: Node, metadata: {name: node-1}}\n";
        let names: Vec<_> = Object::parse_all(text, "t").unwrap().iter().map(|o| o.name.to_string()).collect();
        assert_eq!(names, ["Service shop/web", "Node default/node-1"]);
    }

    #[test]
    fn errors_name_file_object_and_field() {
        let text = "kind: Deployment\nmetadata: {name: web}\nspec: {replicas: three, selector: {}, template: {}}\n";
        let object = Object::parse_all(text, "shop.yaml").unwrap().remove(0);
        let error = object.typed::<Deployment>().unwrap_err().to_string();
        assert!(error.starts_with("shop.yaml: document 1: Deployment default/web: `spec.replicas`: "), "{error}");

        let error = Object::parse_all("kind: Service\n", "web.yaml").unwrap_err().to_string();
        assert_eq!(error, "web.yaml: document 1: Service: `metadata.name` is missing");
        let error = Object::parse_all("kind: [", "web.yaml").unwrap_err().to_string();
        assert!(error.starts_with("web.yaml: "), "{error}");
    }
}
