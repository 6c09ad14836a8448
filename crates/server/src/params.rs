//! Whether what a run is given fits its DAG's params: Airflow's `ParamsDict.validate`, JSON Schema draft 7 with its
//! formats. A schema that refers to another document is refused; nothing is fetched.

use std::collections::BTreeMap;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value};
use updraft_core::{DagSpec, Param};

/// A param that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid input for param {name}: {reason}")]
pub struct BadParam {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Refuses what does not fit a DAG or one of its tasks. A param that is not given is what its default says; what is
/// given beside params may be anything.
pub fn check(dag: &DagSpec, given: &Map<String, Value>) -> Result<(), BadParam> {
    check_all(&dag.params, given)?;
    dag.tasks.iter().try_for_each(|task| check_all(&task.params, given))
}

/// Refuses what does not fit these.
pub(crate) fn check_all(
    params: &BTreeMap<String, Param>,
    given: &Map<String, Value>,
) -> Result<(), BadParam> {
    for (name, param) in params {
        check_one(param, given.get(name).unwrap_or(&param.value))
            .map_err(|reason| BadParam { name: name.clone(), reason })?;
    }
    Ok(())
}

/// What is wrong with a param's value, or with its schema.
fn check_one(param: &Param, value: &Value) -> Result<(), String> {
    if param.schema.is_null() {
        return Ok(());
    }
    let validator = validator(param)?;
    let wrong: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    match (wrong.is_empty(), value) {
        (true, _) => Ok(()),
        (false, Value::Null) => Err("No value passed".to_owned()),
        (false, _) => Err(wrong.join("; ")),
    }
}

/// What is wrong with a param's schema.
pub(crate) fn check_schema(param: &Param) -> Result<(), String> {
    if param.schema.is_null() { Ok(()) } else { validator(param).map(drop) }
}

fn validator(param: &Param) -> Result<Validator, String> {
    let options = jsonschema::options().with_draft(Draft::Draft7).should_validate_formats(true);
    options.build(&param.schema).map_err(|error| format!("its JSON Schema is wrong: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn param(value: Value, schema: Value) -> BTreeMap<String, Param> {
        BTreeMap::from([("day".to_owned(), Param { value, schema, ..Param::default() })])
    }

    fn given(value: Value) -> Map<String, Value> {
        Map::from_iter([("day".to_owned(), value), ("beside".to_owned(), json!([1]))])
    }

    #[test]
    fn what_is_given_has_to_fit_and_so_has_the_default_where_nothing_is() {
        let params = param(json!(1), json!({"type": "integer", "minimum": 1}));
        check_all(&params, &given(json!(7))).unwrap();
        check_all(&params, &Map::new()).unwrap();
        let error = check_all(&params, &given(json!("x"))).unwrap_err().to_string();
        assert_eq!(error, "Invalid input for param day: \"x\" is not of type \"integer\"");
        assert!(check_all(&params, &given(json!(0))).is_err());
        let required = param(Value::Null, json!({"type": "string", "format": "date"}));
        let error = check_all(&required, &Map::new()).unwrap_err().to_string();
        assert_eq!(error, "Invalid input for param day: No value passed");
        check_all(&required, &given(json!("2026-02-28"))).unwrap();
        assert!(check_all(&required, &given(json!("2026-02-30"))).is_err(), "no such day");
    }

    #[test]
    fn a_schema_that_is_none_or_is_elsewhere_is_refused() {
        for schema in [
            json!({"type": "whole"}),
            json!({"$ref": "http://127.0.0.1:1/schema"}),
            json!({"$ref": "file:///etc/passwd"}),
        ] {
            let params = param(json!(1), schema);
            assert!(check_schema(&params["day"]).unwrap_err().starts_with("its JSON Schema is wrong"));
        }
    }
}
