//! `docs/policies.md` shows the tables as they are.

use super::fields::{DESTINATION, Fate, Field, PORT, RULE, TRAFFIC};
use crate::crd;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};
use std::fmt::Write as _;

const PAGE: &str = "../docs/policies.md";

#[test]
fn the_page_is_up_to_date() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let now = between(&between(&page, "traffic policy", &traffic_policy()), "destination rule", &destination_rule());
    if std::env::var_os("UPDATE_PAGE").is_some() {
        std::fs::write(PAGE, &now).unwrap();
    }
    assert!(page == now, "run this test with UPDATE_PAGE=1, and look at what changed in docs/policies.md");
}

fn between(page: &str, name: &str, table: &str) -> String {
    let begin = format!("<!-- {name} -->\n");
    let (before, rest) = page.split_once(&begin).expect("the page has the place");
    let (_, after) = rest.split_once("<!-- end -->").expect("the place ends");
    format!("{before}{begin}{table}<!-- end -->{after}")
}

fn destination_rule() -> String {
    let mut table = "| field | | |\n|---|---|---|\n".to_owned();
    for (part, fields) in [
        ("", RULE),
        ("trafficPolicy.", TRAFFIC),
        ("trafficPolicy.", DESTINATION),
        ("trafficPolicy.portLevelSettings[].", PORT),
    ] {
        for field in fields {
            row(&mut table, part, field);
        }
    }
    let _ =
        writeln!(table, "| `trafficPolicy.portLevelSettings[].`* | | all other fields of `trafficPolicy`, as there |");
    table
}

fn row(table: &mut String, part: &str, field: &Field) {
    let path = format!("`{part}{}`", field.path);
    match field.fate {
        Fate::Object => {}
        Fate::Values(values) => {
            for (value, fate) in values {
                cells(table, &format!("{path}: `{value}`"), *fate);
            }
        }
        fate => cells(table, &path, fate),
    }
}

fn cells(table: &mut String, what: &str, fate: Fate) {
    let _ = match fate {
        Fate::Honoured(how) => writeln!(table, "| {what} | honoured | {how} |"),
        Fate::Unsupported(why, action) => writeln!(table, "| {what} | not served | {why}; {action} |"),
        Fate::Object | Fate::Values(_) => Ok(()),
    };
}

fn traffic_policy() -> String {
    fn rows(table: &mut String, path: &str, schema: &JSONSchemaProps) {
        for (name, inner) in schema.properties.iter().flatten() {
            let path = format!("{path}.{name}");
            let said = inner.description.as_deref().unwrap_or_default().replace('\n', " ");
            match &inner.items {
                Some(JSONSchemaPropsOrArray::Schema(item)) => {
                    let _ = writeln!(table, "| `{path}` | {said} |");
                    rows(table, &format!("{path}[]"), item);
                }
                _ if inner.properties.is_some() => rows(table, &path, inner),
                _ => {
                    let values =
                        inner.enum_.iter().flatten().map(|value| format!("`{}`", value.0.as_str().unwrap_or("")));
                    let values: Vec<String> = values.filter(|value| value != "``").collect();
                    let values = if values.is_empty() { String::new() } else { format!(" {}.", values.join(", ")) };
                    let _ = writeln!(table, "| `{path}` | {said}{values} |");
                }
            }
        }
    }
    let mut table = "| field | |\n|---|---|\n".to_owned();
    let definition = crd::traffic_policies();
    let schema = definition.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    if let Some(spec) = schema.and_then(|schema| schema.properties.as_ref()?.get("spec")) {
        rows(&mut table, "spec", spec);
    }
    table
}
