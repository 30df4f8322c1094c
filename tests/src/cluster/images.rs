//! The images that every node starts with: made here, from programs that are here.

use super::components::Components;
use crate::programs;
use anyhow::{Context, Result, ensure};
use mesh_image::{File, Image};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/pause:1";

/// The clients and servers of the tests: `/mesh-client`, `/mesh-echo`.
pub const PROGRAMS: &str = "localhost/mesh-tests:1";

/// The cluster's DNS.
pub(super) const COREDNS: &str = "localhost/coredns:1";

/// What the chart asks for unless told otherwise.
const MESH: &str = concat!("localhost/mesh:", env!("CARGO_PKG_VERSION"));

/// Writes the archives into a folder, and says where they are.
pub(super) fn write(components: &Components, folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let node = programs::find("mesh-node")?;
    let pause = image(PAUSE, &[&node], &["/mesh-node", "pause"])?;
    let own = [programs::find("mesh-client")?, programs::find("mesh-echo")?];
    let own = image(PROGRAMS, &[&own[0], &own[1]], &["/mesh-echo"])?;
    let coredns = image(COREDNS, &[&components.program("coredns")?], &["/coredns"])?;
    let images = [("pause", pause), ("mesh-tests", own), ("coredns", coredns)];
    let written = images.into_iter().map(|(name, image)| {
        let path = folder.join(format!("{name}.tar"));
        let archive = image.archive().with_context(|| format!("make the image {name}"))?;
        fs::write(&path, archive.bytes).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    });
    written.collect()
}

/// Writes an archive of the `mesh` that the tests run: the entrypoint of `cargo xtask image`'s, around a binary that is there
/// already, and the libraries that it loads.
pub(super) fn write_mesh(archive: &Path) -> Result<()> {
    let image = image(MESH, &[&programs::find("mesh")?], &["/mesh"])?.archive().context("make the image of mesh")?;
    fs::write(archive, image.bytes).with_context(|| format!("write {}", archive.display()))
}

/// An image of programs, each at `/<its name>`, with the libraries that they load at the paths that they have here.
fn image(name: &str, programs: &[&Path], entrypoint: &[&str]) -> Result<Image> {
    let mut files = BTreeMap::new();
    for program in programs {
        let name = program.file_name().context("a program has a name")?.to_string_lossy().into_owned();
        files.insert(name, (*program).to_owned());
        for library in libraries(program)? {
            files.insert(library.trim_start_matches('/').to_owned(), library.into());
        }
    }
    let files = files.into_iter().map(|(path, source)| {
        let content = fs::read(&source).with_context(|| format!("read {}", source.display()))?;
        Ok(File::program(path, content))
    });
    Ok(Image {
        name: name.to_owned(),
        files: files.collect::<Result<_>>()?,
        entrypoint: entrypoint.iter().map(ToString::to_string).collect(),
        environment: vec![("PATH".to_owned(), "/".to_owned())],
        ..Image::default()
    })
}

/// What the dynamic linker loads for a program, itself included. None for a static one.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output().context("run ldd")?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if complained.contains("not a dynamic executable") {
        return Ok(Vec::new());
    }
    ensure!(output.status.success() && !said.contains("not found"), "ldd {}: {said}{complained}", program.display());
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`, and one without a file.
    let words = said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(str::to_owned).collect())
}
