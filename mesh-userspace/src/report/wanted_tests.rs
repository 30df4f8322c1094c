use super::*;
use std::collections::BTreeMap;

fn object(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef { kind, namespace: "shop".into(), name: name.into() }
}

fn finding(severity: Severity, object: ObjectRef, message: &str) -> Finding {
    Finding {
        severity,
        origin: None,
        object: Some(object),
        field: "spec.x".into(),
        message: message.into(),
        action: "mend it".into(),
    }
}

fn report(findings: Vec<Finding>) -> Report {
    Report { policies: BTreeMap::from([(object(Kind::TrafficPolicy, "p"), Some(3))]), findings }
}

#[test]
fn a_policy_without_fault_is_accepted() {
    let wanted = wanted(&report(Vec::new()));
    let policy = &wanted[&object(Kind::TrafficPolicy, "p")];
    assert_eq!((policy.generation, policy.events.len()), (Some(3), 0));
    let [accepted] = &policy.conditions[..] else { panic!("{policy:?}") };
    assert_eq!((accepted.type_.as_str(), accepted.status, accepted.reason.as_str()), ("Accepted", true, "Accepted"));
}

#[test]
fn the_worst_names_the_reason_and_the_message_has_all() {
    let policy = object(Kind::TrafficPolicy, "p");
    let wanted = wanted(&report(vec![
        finding(Severity::Unresolved, policy.clone(), "no such Service"),
        finding(Severity::Conflict, policy.clone(), "another was first"),
        finding(Severity::Unsupported, policy.clone(), "not served"),
    ]));
    let policy = &wanted[&policy];
    let [accepted, unsupported] = &policy.conditions[..] else { panic!("{policy:?}") };
    assert_eq!((accepted.status, accepted.reason.as_str()), (false, "Conflicted"));
    assert_eq!(accepted.message, "spec.x: another was first; mend it\nspec.x: no such Service; mend it");
    assert_eq!((unsupported.type_.as_str(), unsupported.status), ("Unsupported", true));
    assert_eq!(policy.events.len(), 3, "one for each finding");
}

#[test]
fn conditions_on_foreign_kinds_bear_our_name_and_are_there_only_when_something_is_wrong() {
    let (service, slice) = (object(Kind::Service, "web"), object(Kind::EndpointSlice, "web-1"));
    let wanted = wanted(&report(vec![
        finding(Severity::Refused, service.clone(), "SLOTS is full"),
        finding(Severity::Rejected, slice.clone(), "no port"),
    ]));
    let [refused] = &wanted[&service].conditions[..] else { panic!("{wanted:?}") };
    assert_eq!((refused.type_.as_str(), refused.status), ("mesh.dev/Accepted", false));
    assert_eq!(refused.reason, "NoRoom");
    assert!(wanted[&slice].conditions.is_empty() && wanted[&slice].events.len() == 1, "slices have no conditions");
}

#[test]
fn a_rejected_policys_generation_is_not_the_one_in_force() {
    let policy = object(Kind::TrafficPolicy, "p");
    let wanted = wanted(&report(vec![finding(Severity::Rejected, policy.clone(), "nonsense")]));
    assert_eq!(wanted[&policy].generation, None);
}

#[test]
fn two_agents_name_an_event_alike_and_long_texts_are_cut_between_letters() {
    let service = object(Kind::Service, "web");
    let long = "é".repeat(3000);
    let event = |message: &str| note(&service, &finding(Severity::Conflict, service.clone(), message));
    assert_eq!(event("a").name, event("a").name);
    assert_ne!(event("a").name, event("b").name);
    assert!(event("a").name.starts_with("web.") && event("a").name.len() == 20, "{}", event("a").name);
    let cut = event(&long).text;
    assert!(cut.len() <= LONGEST_NOTE && cut.ends_with("é…"), "{cut}");
}
