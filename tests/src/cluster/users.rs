//! Who may speak to the API server, each by a secret in a file that it reads when it starts.

/// A user by name, with groups. RBAC says what they may do: Kubernetes' own roles name its own programs.
#[derive(Clone, Debug)]
pub struct User {
    name: std::borrow::Cow<'static, str>,
    group: Option<&'static str>,
}

impl User {
    /// May do everything.
    pub const ADMIN: Self = Self { name: std::borrow::Cow::Borrowed("admin"), group: Some("system:masters") };

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user's secret. It guards a cluster that only this machine reaches, for as long as a test runs.
    pub fn token(&self) -> String {
        format!("secret-of-{}", self.name)
    }

    /// The user's line in the API server's file.
    pub(super) fn line(&self) -> String {
        let groups = self.group.map(|group| format!(",{group}")).unwrap_or_default();
        format!("{},{},{}{groups}\n", self.token(), self.name, self.name)
    }
}
