//! The file with which a program finds the API server and says who it is.

use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Writes such a file, for the user whose secret `token` is.
pub(super) fn write(path: &Path, server: &str, authority: &Path, token: &str) -> Result<()> {
    let content = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "mesh-tests",
        "clusters": [{"name": "mesh-tests", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "mesh-tests", "context": {"cluster": "mesh-tests", "user": "user"}}],
    });
    fs::write(path, content.to_string()).with_context(|| format!("write {}", path.display()))
}
