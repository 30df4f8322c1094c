//! The agent's manifest directory: one file an object, each change one rename.

use crate::object::{Object, ObjectName};
use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A manifest directory.
#[derive(Debug)]
pub struct Manifests {
    directory: PathBuf,
    written: AtomicU32,
}

impl Manifests {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, written: AtomicU32::new(0) }
    }

    /// Its path.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Puts each object of a YAML or JSON text into a file of its own, in place of what had its kind, namespace and name.
    pub fn apply(&self, text: &str) -> Result<()> {
        Object::parse_all(text, "the text applied")?.iter().try_for_each(|object| self.put(object))
    }

    /// Puts one object in place.
    pub fn put(&self, object: &Object) -> Result<()> {
        let yaml = serde_saphyr::to_string(&object.value).with_context(|| format!("write {} as YAML", object.name))?;
        self.write(&file_of(&object.name), &yaml)
    }

    /// Takes an object away; one that is not there is taken away already.
    pub fn delete(&self, name: &ObjectName) -> Result<()> {
        self.remove(&file_of(name))
    }

    /// Writes a file whose text is nobody's business here, so it may be broken.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        // Beside the directory, not in it: a reader sees the rename and nothing before.
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let draft = self.directory.with_file_name(format!(".draft-{number}"));
        fs::write(&draft, text).with_context(|| format!("write {}", draft.display()))?;
        let path = self.directory.join(file);
        fs::rename(&draft, &path).with_context(|| format!("put {} in place", path.display()))
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) -> Result<()> {
        match fs::remove_file(self.directory.join(file)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| format!("remove {file}")),
            _ => Ok(()),
        }
    }
}

fn file_of(name: &ObjectName) -> String {
    format!("{}.{}.{}.yaml", name.kind, name.namespace, name.name).to_lowercase()
}
