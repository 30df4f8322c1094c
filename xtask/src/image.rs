//! `cargo xtask image`: the container image of mesh, without a registry or a container engine.

use crate::toolchain::Rustc;
use crate::{process, remap, workspace};
use anyhow::{Context, Result, bail, ensure};
use mesh_image::{Archive, File, Image};
use std::fs;
use std::path::{Path, PathBuf};

/// glibc's own target: musl's standard library is not everywhere to be had, and a static glibc resolves names, too.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What the chart asks for by default.
const NAME: &str = concat!("localhost/mesh:", env!("CARGO_PKG_VERSION"));

/// How the image is made.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where the archive goes; `docker load`, `podman load` and `ctr images import` take it
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The image's name
    #[arg(long, value_name = "NAME:TAG", default_value = NAME)]
    pub name: String,
    /// Build it from another folder, too, and fail when it is not byte for byte the same
    #[arg(long)]
    pub check: bool,
}

/// Builds the binary and writes the archive.
pub fn run(options: &Options) -> Result<()> {
    let rustc = Rustc::find()?;
    let binary = build(&rustc, &workspace::root())?;
    let size = binary.len();
    let Archive { bytes, digest } = image(options.name.clone(), binary).archive()?;
    let output = options.output.clone().unwrap_or_else(|| workspace::target().join("image/mesh.tar"));
    write(&output, &bytes)?;
    println!("image: {} ({} MB of it mesh)", output.display(), size / 1_000_000);
    println!("image: {}@{digest}", options.name);
    if options.check {
        let folder = elsewhere();
        copy(&workspace::root(), &folder)?;
        let again = build(&rustc, &folder)?;
        let found = image(options.name.clone(), again).archive()?.digest;
        ensure!(found == digest, "built from {} its digest is {found}", folder.display());
        println!("image: the same from {}", folder.display());
    }
    Ok(())
}

/// The image around the binary. It holds nothing else: no shell, no certificates, no users.
fn image(name: String, binary: Vec<u8>) -> Image {
    let label = |key: &str, value: &str| (format!("org.opencontainers.image.{key}"), value.to_owned());
    Image {
        name,
        files: vec![File::program("mesh", binary)],
        entrypoint: vec!["/mesh".to_owned()],
        arguments: vec!["--help".to_owned()],
        environment: vec![("PATH".to_owned(), "/".to_owned())],
        labels: vec![
            label("title", "mesh"),
            label("description", "A service mesh for Kubernetes in the Linux kernel"),
            label("licenses", "Apache-2.0"),
            label("version", env!("CARGO_PKG_VERSION")),
        ],
    }
}

/// Builds `mesh` from the workspace in `root` as one static binary, with the versions of the lock file.
fn build(rustc: &Rustc, root: &Path) -> Result<Vec<u8>> {
    let folder = workspace::target().join("image");
    let mut flags = remap::flags(rustc)?;
    // The same flags for both folders, or every library would be built again.
    flags.push(format!("--remap-path-prefix={}=.", elsewhere().display()));
    flags.push("-Ctarget-feature=+crt-static".to_owned());
    // A build id is a hash of everything, debug information that is stripped included.
    flags.push("-Clink-arg=-Wl,--build-id=none".to_owned());
    process::run(
        process::cargo()
            .current_dir(root)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .args(["build", "--package", "mesh-userspace", "--bin", "mesh", "--profile", "image", "--locked"])
            .args(["--target", TARGET, "--target-dir"])
            .arg(&folder),
    )?;
    let binary = folder.join(TARGET).join("image/mesh");
    let bytes = fs::read(&binary).with_context(|| format!("read {}", binary.display()))?;
    if let Some(private) = remap::private_path(&bytes, rustc) {
        bail!("{} holds a path of this machine, {private}: remap it in xtask/src/remap.rs", binary.display());
    }
    Ok(bytes)
}

/// Another folder for the sources, with a name of another length.
fn elsewhere() -> PathBuf {
    workspace::target().join("image/the-same-sources-elsewhere")
}

/// Copies the sources to where an earlier copy may be.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("remove {}", to.display()))?;
    }
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(to.join(&folder)).with_context(|| format!("make {}", to.join(&folder).display()))?;
        for entry in fs::read_dir(from.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let built = folder.as_os_str().is_empty() && (entry.file_name() == "target" || entry.file_name() == ".git");
            if entry.file_type()?.is_dir() && !built {
                folders.push(path);
            } else if entry.file_type()?.is_file() {
                fs::copy(entry.path(), to.join(&path)).with_context(|| format!("copy {}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
