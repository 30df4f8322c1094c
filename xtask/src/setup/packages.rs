//! What the system's package manager must have installed.

use super::Item;
use crate::process;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// How to see that a package is there, whoever installed it and whatever the distribution calls it.
enum Sign {
    Program(&'static str),
    File(&'static str),
}

/// A package by its Debian name.
pub struct Package {
    name: &'static str,
    sign: Sign,
    why: &'static str,
}

/// For everything.
pub const PACKAGES: [Package; 7] = [
    Package { name: "gcc", sign: Sign::Program("cc"), why: "links Rust programs, compiles the C client of the tests" },
    Package { name: "libc6-dev", sign: Sign::File("/usr/include/stdio.h"), why: "the headers of the same" },
    Package {
        name: "ca-certificates",
        sign: Sign::File("/etc/ssl/certs/ca-certificates.crt"),
        why: "cargo and curl over https",
    },
    Package { name: "xz-utils", sign: Sign::Program("xz"), why: "unpacks an archive of rust-src" },
    Package { name: "iproute2", sign: Sign::Program("ip"), why: "network namespaces in the lab and the tests" },
    Package { name: "curl", sign: Sign::Program("curl"), why: "a client of the tests" },
    Package { name: "python3", sign: Sign::Program("python3"), why: "a client of the tests" },
];

/// For Kubernetes on this machine.
pub const CLUSTER: [Package; 3] = [
    Package { name: "nftables", sign: Sign::Program("nft"), why: "kube-proxy writes its rules with it" },
    Package { name: "pkg-config", sign: Sign::Program("pkg-config"), why: "tells runc where libseccomp is" },
    Package { name: "libseccomp-dev", sign: Sign::File("/usr/include/seccomp.h"), why: "linked into runc" },
];

/// The packages of a list that are not there.
pub fn missing(wanted: &'static [Package]) -> Vec<&'static Package> {
    wanted.iter().filter(|package| !package.is_there()).collect()
}

impl Package {
    fn is_there(&self) -> bool {
        match self.sign {
            Sign::Program(name) => process::find(name).is_some(),
            Sign::File(path) => Path::new(path).exists(),
        }
    }
}

/// A list of them, as one item.
pub(super) fn item(name: &str, wanted: &'static [Package]) -> Item {
    let names = |packages: &mut dyn Iterator<Item = &Package>| packages.map(|p| p.name).collect::<Vec<_>>().join(", ");
    let missing = missing(wanted);
    Item {
        name: name.to_owned(),
        state: if missing.is_empty() { Ok(names(&mut wanted.iter())) } else { Err(names(&mut missing.into_iter())) },
    }
}

/// Installs them with apt-get, or says what to install by hand.
pub fn install(wanted: &'static [Package], missing: &[&Package]) -> Result<()> {
    for Package { name, why, .. } in missing {
        println!("setup: {name} is missing ({why})");
    }
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    let by_hand = names.join(" ");
    if process::find("apt-get").is_none() {
        bail!("there is no apt-get here; install what Debian calls: {by_hand}");
    }
    if !process::is_root() {
        bail!("not root; run as root: apt-get update && apt-get install {by_hand}");
    }
    println!("setup: installing {by_hand} with apt-get");
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    process::run(apt().arg("update"))?;
    process::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(&names))?;
    match self::missing(wanted).as_slice() {
        [] => Ok(()),
        still => bail!("apt-get has installed {by_hand}, but {} is still not to be found", still[0].name),
    }
}
