use super::*;

const FILE: &str = "../deploy/chart/mesh/crds/trafficpolicies.yaml";

#[test]
fn the_charts_file_is_up_to_date() {
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    let now = yaml().unwrap();
    assert!(written == now, "run `cargo run -p mesh-userspace -- crd >deploy/chart/mesh/crds/trafficpolicies.yaml`");
}

#[test]
fn every_field_says_what_it_is() {
    fn check(path: &str, schema: &api::JSONSchemaProps) {
        for (name, inner) in schema.properties.iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(inner.description.as_deref().is_some_and(|text| text.ends_with('.')), "{path} has no sentence");
            check(&path, inner);
        }
        if let Some(api::JSONSchemaPropsOrArray::Schema(inner)) = &schema.items {
            check(&format!("{path}[]"), inner);
        }
    }
    let crd = traffic_policies();
    let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    let spec = &schema.properties.as_ref().unwrap()["spec"];
    check("spec", spec);
    assert!(spec.properties.as_ref().unwrap().contains_key("limits"));
}

#[test]
fn what_is_not_asked_for_is_not_written() {
    let nothing = serde_json::to_value(crate::model::parse::TrafficPolicySpec::default()).unwrap();
    assert_eq!(nothing, serde_json::json!({"targetRefs": []}), "each optional field is skipped when it is absent");
}
