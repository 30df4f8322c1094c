//! Container images FROM scratch, written as archives: no registry, no container engine, the same bytes each time.
//!
//! The archive is an OCI image layout with docker's manifest beside it: `ctr images import`, `podman load` and
//! `docker load` take it as it is.
//!
//! | module | holds |
//! |---|---|
//! | [`layer`] | the files |
//! | `archive` | the image around them |

mod archive;
pub mod layer;

pub use layer::File;

use std::fmt;

/// One image of one layer.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Its whole name, as `localhost/mesh:0.1.0`.
    pub name: String,
    /// What it holds.
    pub files: Vec<File>,
    /// What is run, an argument each.
    pub entrypoint: Vec<String>,
    /// Arguments that whoever runs it may replace.
    pub arguments: Vec<String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Labels, as `org.opencontainers.image.version`.
    pub labels: Vec<(String, String)>,
}

/// The hash of a blob; prints as `sha256:…`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digest(String);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(format!("{:x}", sha2::Sha256::digest(bytes)))
    }

    /// The hash alone, in hexadecimal.
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// An image as an archive.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The tar.
    pub bytes: Vec<u8>,
    /// The digest of the image's manifest: what `NAME@sha256:…` names.
    pub digest: Digest,
}
