//! The image around its layer: an OCI image layout, and docker's manifest for engines that look for that.

use super::layer::{append, layer};
use super::{Archive, Digest, Image};
use serde_json::{Value, json};
use std::io;
use tar::{Builder, EntryType};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// No moment is part of an image: the same files give the same bytes.
const CREATED: &str = "1970-01-01T00:00:00Z";

struct Blob {
    digest: Digest,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), bytes }
    }

    fn json(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest.hex())
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest.to_string(), "size": self.bytes.len()})
    }
}

impl Image {
    /// Writes the archive. Fails for a path that no tar can hold.
    pub fn archive(&self) -> io::Result<Archive> {
        let layer = Blob::new(layer(&self.files)?);
        let config = Blob::json(&self.config(&layer.digest));
        let manifest = Blob::json(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG),
            "layers": [layer.descriptor(LAYER)],
        }));
        let mut entry = manifest.descriptor(MANIFEST);
        entry["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": self.name.rsplit(':').next(),
        });
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        let docker = json!([{"Config": config.path(), "RepoTags": [self.name], "Layers": [layer.path()]}]);

        let mut tar = Builder::new(Vec::new());
        let mut file = |path: &str, bytes: &[u8]| append(&mut tar, path, EntryType::Regular, 0o644, bytes);
        file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        file("index.json", index.to_string().as_bytes())?;
        file("manifest.json", docker.to_string().as_bytes())?;
        for blob in [&config, &manifest, &layer] {
            file(&blob.path(), &blob.bytes)?;
        }
        Ok(Archive { bytes: tar.into_inner()?, digest: manifest.digest })
    }

    fn config(&self, layer: &Digest) -> Value {
        let environment: Vec<_> = self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let labels: serde_json::Map<_, _> =
            self.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        json!({
            "architecture": "amd64",
            "os": "linux",
            "created": CREATED,
            "config": {
                "Entrypoint": self.entrypoint,
                "Cmd": self.arguments,
                "Env": environment,
                "WorkingDir": "/",
                "Labels": labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.to_string()]},
            "history": [{"created": CREATED, "created_by": "mesh-image"}],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::File;
    use std::collections::BTreeMap;
    use std::io::Read;

    fn image(files: Vec<File>) -> Image {
        Image { name: "localhost/app:1".into(), files, entrypoint: vec!["/bin/app".into()], ..Image::default() }
    }

    fn files() -> [File; 2] {
        [File::program("bin/app", b"program".to_vec()), File::data("etc/app/app.conf", b"conf".to_vec())]
    }

    /// Every entry of a tar by its path, with mode, owner and time.
    fn entries(tar: &[u8]) -> BTreeMap<String, (Vec<u8>, u32, u64)> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            let (mode, time) = (header.mode().unwrap(), header.mtime().unwrap());
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, (content, mode, time))
        });
        entries.collect()
    }

    #[test]
    fn the_order_of_files_and_the_time_do_not_matter() {
        let [a, b] = files();
        let (one, other) = (image(vec![a.clone(), b.clone()]).archive().unwrap(), image(vec![b, a]).archive().unwrap());
        assert_eq!((&one.bytes, &one.digest), (&other.bytes, &other.digest));
        let changed = image(vec![File::program("bin/app", b"another".to_vec())]).archive().unwrap();
        assert_ne!(one.digest, changed.digest);
    }

    #[test]
    fn every_digest_is_that_of_its_blob_and_leads_to_the_files() {
        let archive = image(files().to_vec()).archive().unwrap();
        let parts = entries(&archive.bytes);
        for (path, (content, ..)) in parts.iter().filter(|(path, _)| path.starts_with("blobs/")) {
            assert_eq!(path, &format!("blobs/sha256/{}", Digest::of(content).hex()));
        }
        let json = |path: &str| serde_json::from_slice::<Value>(&parts[path].0).unwrap();
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let path = format!("blobs/sha256/{digest}");
            assert_eq!(parts[&path].0.len() as u64, descriptor["size"].as_u64().unwrap());
            path
        };
        let entry = &json("index.json")["manifests"][0];
        assert_eq!(entry["digest"], archive.digest.to_string());
        let manifest = json(&blob(entry));
        let layer = blob(&manifest["layers"][0]);
        let config = json(&blob(&manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"][0], "/bin/app");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let docker = &json("manifest.json")[0];
        assert_eq!((&docker["RepoTags"][0], &docker["Layers"][0]), (&"localhost/app:1".into(), &layer.clone().into()));
        let inside = entries(&parts[&layer].0);
        let paths: Vec<_> = inside.keys().map(String::as_str).collect();
        assert_eq!(paths, ["bin/", "bin/app", "etc/", "etc/app/", "etc/app/app.conf"]);
        assert_eq!(inside["bin/app"], (b"program".to_vec(), 0o755, 0));
        assert_eq!(inside["etc/app/app.conf"], (b"conf".to_vec(), 0o644, 0));
    }
}
