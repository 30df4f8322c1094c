//! The Go modules, and how each is built.

use std::fmt::{self, Display, Formatter};

/// A Go module of `tests/components`, whose `tool` lines say what it builds; or one that requires a module for a file of it.
#[derive(Debug)]
pub struct Module {
    /// Its folder there.
    pub name: &'static str,
    /// What it builds.
    pub programs: &'static [&'static str],
    /// A file that another module publishes: that module, and the file's path in it. Then nothing is built.
    pub published: Option<(&'static str, &'static str)>,
    /// The folder that they go to, below `target/components`.
    pub place: &'static str,
    /// Whether C is linked, statically: runc and libseccomp. All others are pure Go.
    pub c: bool,
    /// Go's build tags.
    pub tags: &'static str,
    /// Further flags of Go's linker: versions that a program has from nowhere else.
    pub linker: &'static str,
    /// A program that Go names after its folder, and its real name.
    pub renamed: Option<(&'static str, &'static str)>,
}

const PLAIN: Module =
    Module { name: "", programs: &[], published: None, place: "bin", c: false, tags: "", linker: "", renamed: None };

/// All of them, the longest first.
pub const MODULES: [Module; 7] = [
    Module {
        name: "kubernetes",
        programs: &[
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-proxy",
            "kube-scheduler",
            "kubectl",
            "kubelet",
        ],
        linker: "-X k8s.io/component-base/version.gitVersion=v1.37.2",
        renamed: Some(("server", "etcd")),
        ..PLAIN
    },
    Module {
        name: "containerd",
        programs: &["containerd", "containerd-shim-runc-v2", "ctr"],
        tags: "no_btrfs no_zfs no_devmapper",
        linker: "-X github.com/containerd/containerd/v2/version.Version=v2.4.2",
        ..PLAIN
    },
    Module { name: "coredns", programs: &["coredns"], ..PLAIN },
    Module { name: "helm", programs: &["helm"], ..PLAIN },
    Module { name: "cni", programs: &["bridge", "host-local", "loopback", "portmap"], place: "cni/bin", ..PLAIN },
    Module { name: "runc", programs: &["runc"], c: true, tags: "seccomp netgo osusergo", ..PLAIN },
    Module {
        name: "istio",
        published: Some(("istio.io/api", "kubernetes/customresourcedefinitions.gen.yaml")),
        place: "istio",
        ..PLAIN
    },
];

impl Module {
    /// The names of all that comes out, programs or a file.
    pub fn products(&self) -> impl Iterator<Item = &'static str> {
        let file = self.published.and_then(|(_, path)| path.rsplit('/').next());
        self.programs.iter().copied().chain(file)
    }

    /// The arguments of `go` that build it into a folder, which is added behind.
    pub fn arguments(&self) -> Vec<String> {
        let outside = if self.c { " -extldflags -static" } else { "" };
        let linker = format!("-s -w {}{outside}", self.linker);
        ["build", "-mod=readonly", "-trimpath", "-tags", self.tags, "-ldflags", linker.trim()].map(str::to_owned).into()
    }
}

impl Display for Module {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.name, self.products().collect::<Vec<_>>().join(", "))
    }
}
