//! Every case in `tests/oracle/conditions/cases.jsonl`, which the Jinja of Airflow 3.3.2 has answered. What a case holds
//! is said at the top of `generate.py` beside it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use updraft_core::{Condition, TiStateName, jinja};

const CASES: &str = include_str!("../../oracle/conditions/cases.jsonl");

/// What is refused although Airflow has it. Nothing else may be, and nothing may come to anything else.
const REFUSED: &[&str] = &[
    "map: result.éa",
    "list: result | random",
    "number: result ** 100",
    "number: result.real",
    "number: result.bit_length()",
    "float: result.is_integer()",
    "text: result.encode()",
];

#[derive(Deserialize)]
struct Header {
    results: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Case(String, String, String, #[serde(default)] Option<Value>);

#[test]
fn conditions_come_to_what_airflows_jinja_makes_of_them_or_are_refused() {
    let mut lines = CASES.lines();
    let header: Header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let (mut compared, mut wrong, mut refused) = (0, Vec::new(), Vec::new());
    for line in lines {
        let case: Value = serde_json::from_str(line).unwrap();
        let has_value = case.as_array().is_some_and(|parts| parts.len() > 3);
        let Case(name, expression, theirs, value) = serde_json::from_value(case).unwrap();
        let result = &header.results[&name];
        compared += 1;
        let holds = Condition::parse(&*expression)
            .and_then(|condition| condition.holds(Some(result), TiStateName::Success, Some(0)));
        let ours = match &holds {
            Ok(true) => "holds",
            Ok(false) => "does not",
            Err(_) => "fails",
        };
        let shown = format!("{name}: {expression}");
        match (ours, &*theirs) {
            ("fails", "fails") => continue,
            ("fails", _) => refused.push(shown),
            (ours, theirs) if ours != theirs => wrong.push(format!("{shown}: {ours}, not {theirs}")),
            _ if has_value => {
                let text = result.as_str().map_or_else(|| result.to_string(), str::to_owned);
                let names = json!({"result": result, "text": text, "state": "success", "exit_code": 0});
                let names: Map<String, Value> = serde_json::from_value(names).unwrap();
                let ours = jinja::evaluate(&expression, &names, 100_000).unwrap().to_json();
                let theirs = value.unwrap_or_default();
                if ours.as_ref().ok() != Some(&theirs) {
                    wrong.push(format!("{shown}: {:?}, not {theirs}", ours.map_err(|fault| fault.reason)));
                }
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(refused, REFUSED);
    assert!(compared >= 250, "too few cases: {compared}");
}
