//! The host of a `DestinationRule`: which Services of the cluster it names, as Istio resolves it.

use crate::model::{ServiceKey, Wildcard};

/// What the names of Services end with; Istio's default, and nearly every cluster's.
const DOMAIN: &str = "cluster.local";

/// Whose rules apply to Services of every namespace: Istio's root namespace, by its default name.
pub const ROOT: &str = "istio-system";

/// What a host names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Host {
    /// One Service.
    Service(ServiceKey),
    /// Every Service whose full name ends so.
    Wildcard(Wildcard),
    /// Nothing that mesh serves; what it is, and what to do.
    Nothing(&'static str, String),
}

/// Resolves a host that is written in a rule of this namespace.
pub fn resolve(host: &str, namespace: &str) -> Host {
    if let Some(suffix) = host.strip_prefix('*') {
        return wildcard(suffix, namespace);
    }
    let parts: Vec<&str> = host.split('.').collect();
    let service = match parts[..] {
        [name] => ServiceKey::new(namespace, name),
        [name, of, "svc", ref domain @ ..] if domain.join(".") == DOMAIN => ServiceKey::new(of, name),
        [name, of] | [name, of, "svc"] => {
            let full = format!("{name}.{of}.svc.{DOMAIN}");
            return Host::Nothing(
                "a host with a dot is a full name, and no Service of the cluster has this one",
                format!("write {full} if you mean the Service {of}/{name}"),
            );
        }
        _ => {
            return Host::Nothing(
                "it is no Service of the cluster: mesh does not serve hosts outside",
                format!("write <name>.<namespace>.svc.{DOMAIN}, or keep a proxy for it"),
            );
        }
    };
    // A rule in a client's namespace is for the clients there alone, which mesh does not tell apart.
    if *service.namespace != *namespace && namespace != ROOT {
        return Host::Nothing(
            "the Service is in another namespace, so the rule is for clients in its own namespace only, and what a Service's \
             clients meet does not depend on which of them asks",
            format!("write the rule in the namespace {}", service.namespace),
        );
    }
    Host::Service(service)
}

fn wildcard(suffix: &str, namespace: &str) -> Host {
    let own = (namespace != ROOT).then(|| namespace.into());
    if !suffix.is_empty() && !suffix.starts_with('.') {
        return Host::Nothing("a wildcard stands for whole parts of a name", "write * or *.suffix".to_owned());
    }
    let wildcard = Wildcard { namespace: own, suffix: suffix.into() };
    let example = ServiceKey::new(namespace_of(suffix).unwrap_or(namespace), "any");
    if wildcard.matches(&example) {
        Host::Wildcard(wildcard)
    } else {
        Host::Nothing(
            "it names no Service of the rule's namespace",
            format!("write *.{namespace}.svc.{DOMAIN}, or the rule in the Services' namespace"),
        )
    }
}

/// The namespace in `.namespace.svc.cluster.local`.
fn namespace_of(suffix: &str) -> Option<&str> {
    suffix.strip_suffix(DOMAIN)?.strip_suffix(".svc.")?.strip_prefix('.').filter(|name| !name.is_empty())
}

impl Wildcard {
    /// Whether it names the Service.
    pub fn matches(&self, service: &ServiceKey) -> bool {
        let ours = self.namespace.as_ref().is_none_or(|namespace| *namespace == service.namespace);
        ours && format!("{}.{}.svc.{DOMAIN}", service.name, service.namespace).ends_with(&*self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(namespace: &str, name: &str) -> Host {
        Host::Service(ServiceKey::new(namespace, name))
    }

    #[test]
    fn hosts_are_resolved_as_istio_does() {
        for (host, namespace, expected) in [
            ("reviews", "prod", service("prod", "reviews")),
            ("reviews.prod.svc.cluster.local", "prod", service("prod", "reviews")),
            ("reviews.prod.svc.cluster.local", ROOT, service("prod", "reviews")),
        ] {
            assert_eq!(resolve(host, namespace), expected, "{host} in {namespace}");
        }
    }

    #[test]
    fn what_names_nothing_says_what_to_write() {
        for (host, expected) in [
            ("reviews.prod", "reviews.prod.svc.cluster.local"),
            ("reviews.prod.svc", "reviews.prod.svc.cluster.local"),
            ("reviews.other.svc.cluster.local", "the namespace other"),
            ("api.example.com", "<name>.<namespace>.svc.cluster.local"),
            ("reviews.prod.svc.clusterset.local", "<name>.<namespace>.svc.cluster.local"),
            ("*.example.com", "*.prod.svc.cluster.local"),
            ("*.other.svc.cluster.local", "*.prod.svc.cluster.local"),
            ("*views.prod.svc.cluster.local", "*.suffix"),
        ] {
            let Host::Nothing(why, action) = resolve(host, "prod") else { panic!("{host} names something") };
            assert!(action.contains(expected) && !why.is_empty(), "{host}: {action}");
        }
    }

    #[test]
    fn wildcards_name_the_services_of_their_namespace_and_the_roots_those_of_all() {
        let own = ServiceKey::new("prod", "reviews");
        let other = ServiceKey::new("test", "reviews");
        for (host, namespace, matches) in [
            ("*", "prod", [true, false]),
            ("*.local", "prod", [true, false]),
            ("*.prod.svc.cluster.local", "prod", [true, false]),
            ("*.svc.cluster.local", ROOT, [true, true]),
            ("*.test.svc.cluster.local", ROOT, [false, true]),
        ] {
            let Host::Wildcard(wildcard) = resolve(host, namespace) else { panic!("{host} names nothing") };
            assert_eq!([wildcard.matches(&own), wildcard.matches(&other)], matches, "{host} in {namespace}");
        }
    }
}
