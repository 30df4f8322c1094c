//! What a developer types: `cargo xtask setup`, `build-ebpf`, `lab`, `test`, `bench`.

mod components;
mod ebpf;
mod image;
mod launch;
mod lint;
mod process;
mod remap;
mod setup;
mod tally;
mod test;
mod toolchain;
mod workspace;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// What a developer of mesh types.
///
/// A fresh machine needs nothing but Rust, a C linker and root: `lab` and `test` set up what they need.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Find what this machine lacks, and install it
    ///
    /// System packages through apt-get, bpf-linker through cargo, and the sources of core (rust-src) of exactly rustc's
    /// version: from rustup, from the archive that `MESH_RUST_SRC_ARCHIVE` names (machines without a network), or from
    /// Debian. Without rust-src the committed object serves; in CI (CI=true) that is an error.
    Setup {
        /// Only report; fail when something is missing
        #[arg(long)]
        check: bool,
    },
    /// Build the programs for the kernel, and print each with its type and size
    ///
    /// Updates the committed object, mesh-userspace/programs/mesh.bpf.o, which mesh embeds. Always optimised: the
    /// verifier refuses anything else. The same object with DWARF is left in target/ebpf.
    BuildEbpf {
        /// Build from nothing, and with exactly the locked versions: for an object to be released
        #[arg(long)]
        release: bool,
        /// Fail when the committed object is not byte for byte what the source gives; change nothing
        #[arg(long)]
        check: bool,
    },
    /// Build Kubernetes' own programs from Go modules: kubelet, kube-apiserver, etcd, containerd, CoreDNS and the rest
    ///
    /// Istio's definitions of its kinds are fetched with them. tests/components pins each module. They go to
    /// target/components, and are built again only when a go.mod or go.sum changes. About fifteen minutes on two cores the
    /// first time. Where there is no Go 1.21 or later, it is installed with apt-get; the Go that a go.mod asks for comes as
    /// a module.
    Components,
    /// Formatting, and clippy with every warning an error, the programs included
    Lint,
    /// Build, and run every test and every check; the totals are on the last line
    ///
    /// Needs root: the end-to-end tests make network namespaces and attach programs to cgroups of their own. In CI
    /// (CI=true) the programs are built from nothing, and the committed object must be byte for byte the same.
    Test(test::Options),
    /// Build, and bring up a small online shop on this machine, drive traffic through it, and say what happens
    ///
    /// `cargo xtask lab --help` teaches the rest; `cargo xtask lab down` removes every trace.
    #[command(disable_help_flag = true)]
    Lab {
        /// Arguments of the lab
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Build the container image, without a registry or a container engine
    ///
    /// One static binary FROM scratch, as an archive: the same bytes from every folder, for one compiler and one C library.
    Image(image::Options),
    /// Build, and run a real Kubernetes cluster on this machine: up, down, status, kubectl, helm, enter
    ///
    /// Kubernetes' own programs, nodes with kubelet and containerd included, in namespaces of their own. Who serves its
    /// Services is yours to say: kube-proxy, mesh, both or nobody. `cargo xtask cluster --help` teaches the rest.
    #[command(disable_help_flag = true)]
    Cluster {
        /// Arguments of the cluster
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Build optimised, and measure connections to a Service against connections to the pod; or, with --kubernetes, the
    /// agent beside kube-proxy, both fed by a real API server
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the measurements
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<ExitCode> {
    match verb {
        Verb::Setup { check } => {
            setup::run(if *check { setup::Mode::Check } else { setup::Mode::Install })?;
        }
        Verb::BuildEbpf { release, check } => {
            let Some(toolchain) = setup::run(setup::Mode::Needed)? else { bail!("the programs cannot be built here") };
            let then = if *check { ebpf::Then::Compare } else { ebpf::Then::Update };
            ebpf::run(&toolchain, *release, then)?;
        }
        Verb::Components => components::packages().and_then(|()| components::ensure())?,
        Verb::Lint => lint::verdict(lint::run(setup::run(setup::Mode::Needed)?.as_ref()))?,
        Verb::Test(options) => return test::run(options),
        Verb::Image(options) => image::run(options)?,
        Verb::Lab { arguments } => match launch::run(launch::LAB, arguments)? {},
        Verb::Cluster { arguments } => match launch::run(launch::CLUSTER, arguments)? {},
        Verb::Bench { arguments } => match launch::run(launch::BENCH, arguments)? {},
    }
    Ok(ExitCode::SUCCESS)
}
