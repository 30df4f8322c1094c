//! Who may speak to the API server, each by a secret in a file that it reads when it starts.

use std::borrow::Cow;

/// A user by name, with a group. RBAC says what they may do: Kubernetes' own roles name its own programs.
#[derive(Clone, Debug)]
pub struct User {
    name: Cow<'static, str>,
    group: Option<&'static str>,
}

impl User {
    /// May do everything.
    pub const ADMIN: Self = Self::program("admin", Some("system:masters"));
    /// kube-controller-manager.
    pub const CONTROLLERS: Self = Self::program("system:kube-controller-manager", None);
    /// kube-scheduler.
    pub const SCHEDULER: Self = Self::program("system:kube-scheduler", None);
    /// kube-proxy.
    pub const KUBE_PROXY: Self = Self::program("system:kube-proxy", None);

    const fn program(name: &'static str, group: Option<&'static str>) -> Self {
        Self { name: Cow::Borrowed(name), group }
    }

    /// The kubelet of a node.
    pub fn node(name: &str) -> Self {
        Self { name: format!("system:node:{name}").into(), group: Some("system:nodes") }
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user's secret. It guards a cluster that only this machine reaches, for as long as a test runs.
    pub fn token(&self) -> String {
        format!("secret-of-{}", self.name.replace(':', "-"))
    }

    /// The user's line in the API server's file.
    pub(super) fn line(&self) -> String {
        let groups = self.group.map(|group| format!(",{group}")).unwrap_or_default();
        format!("{},{},{}{groups}\n", self.token(), self.name, self.name)
    }
}
