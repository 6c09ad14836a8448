//! Answers compared with the shapes of Airflow's (`shapes.json`, written by `shapes.py`).

use std::sync::LazyLock;

use serde_json::Value;

static SHAPES: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("shapes.json")).unwrap());

/// Fails where a value does not have this shape: a field missing, one too many, or of another type.
#[track_caller]
pub fn check(shape: &str, value: &Value) {
    let faults = faults(shape, value, shape);
    assert!(faults.is_empty(), "not as Airflow answers: {faults:#?}\n{value:#}");
}

fn faults(shape: &str, value: &Value, path: &str) -> Vec<String> {
    let known = &SHAPES[shape];
    assert!(!known.is_null(), "there is no shape {shape}");
    let Some(fields) = known["fields"].as_object() else {
        return kinds_faults(known["kinds"].as_array().unwrap(), value, path);
    };
    let Some(object) = value.as_object() else { return vec![format!("{path} is no object")] };
    let mut found = Vec::new();
    for (name, field) in fields {
        match object.get(name) {
            Some(value) => {
                let kinds = field["kinds"].as_array().unwrap();
                found.extend(kinds_faults(kinds, value, &format!("{path}.{name}")));
            }
            None if field["required"] == true => found.push(format!("{path}.{name} is missing")),
            None => {}
        }
    }
    if known["others"] == false {
        found.extend(
            object
                .keys()
                .filter(|name| !fields.contains_key(*name))
                .map(|name| format!("{path}.{name} is none of Airflow's")),
        );
    }
    found
}

/// What is wrong where a value is of none of these kinds.
fn kinds_faults(kinds: &[Value], value: &Value, path: &str) -> Vec<String> {
    let mut closest: Option<Vec<String>> = None;
    for kind in kinds {
        let faults = kind_faults(kind, value, path);
        if closest.as_ref().is_none_or(|closest| faults.len() < closest.len()) {
            closest = Some(faults);
        }
    }
    closest.unwrap_or_default()
}

fn kind_faults(kind: &Value, value: &Value, path: &str) -> Vec<String> {
    let fits = |fits: bool| if fits { Vec::new() } else { vec![format!("{path} is {value}, not {kind}")] };
    if let Some(each) = kind.get("each") {
        let Some(items) = value.as_array() else { return fits(false) };
        let each = each.as_array().unwrap();
        let item = |(at, item)| kinds_faults(each, item, &format!("{path}[{at}]"));
        return items.iter().enumerate().flat_map(item).collect();
    }
    if let Some(words) = kind.get("one of") {
        return fits(words.as_array().unwrap().contains(value));
    }
    match kind.as_str().unwrap() {
        "any" => Vec::new(),
        "null" => fits(value.is_null()),
        "string" => fits(value.is_string()),
        "boolean" => fits(value.is_boolean()),
        "integer" => fits(value.is_i64() || value.is_u64()),
        "number" => fits(value.is_number()),
        "object" => fits(value.is_object()),
        "date-time" => fits(value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok())),
        "duration" => fits(value.as_str().is_some_and(|text| text.parse::<jiff::SignedDuration>().is_ok())),
        "uuid" => fits(value.as_str().is_some_and(|text| text.len() == 36 && text.matches('-').count() == 4)),
        shape => faults(shape, value, path),
    }
}

#[test]
fn a_missing_field_and_one_too_many_are_found() {
    let pool = serde_json::json!({"name": 1, "slot": 2});
    let found = faults("PoolResponse", &pool, "pool");
    assert!(found.contains(&"pool.slots is missing".to_owned()), "{found:?}");
    assert!(found.contains(&"pool.slot is none of Airflow's".to_owned()), "{found:?}");
    assert!(found.iter().any(|fault| fault.starts_with("pool.name is 1")), "{found:?}");
}
