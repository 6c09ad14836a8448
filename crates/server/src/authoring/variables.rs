//! dag-factory's `variables_as_arguments`: arguments of a task that Airflow's variables have the values of.
//!
//! dag-factory looks a variable up while it reads the file; where there is none, the argument stays as it is written.
//! Here a template of the argument says the same, so that the value is that of when the task runs, and files are read
//! without a look at anybody's variables. A template that is the value is rendered as well, as there.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use updraft_operators::catalog;

use super::{
    decorator::is_of_operator,
    field::did_you_mean,
    keys,
    node::{Entry, Node, Value},
    problem::Problems,
};

/// The arguments that variables have the values of. `own` are those that the task has besides, and `defaults` those that
/// it may come to have: what stands there is for where there is no variable.
pub(super) fn arguments(
    node: &Node,
    operator: Option<&str>,
    is_decorated: bool,
    own: &[&Entry],
    defaults: &[Entry],
    problems: &mut Problems,
) -> Vec<Entry> {
    if node.is_null() {
        return Vec::new();
    }
    let Some(items) = node.list() else {
        let expected = "a list of `{variable: NAME, attribute: ARGUMENT}`";
        problems.error(node.place, format!("expected {expected}, found {}", node.kind()));
        return Vec::new();
    };
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        let Some((variable, attribute)) = pair(item, problems) else { continue };
        let (Some(name), Some(argument)) = (variable.text(), attribute.text()) else { continue };
        let of_function = is_decorated && !is_of_operator(operator, argument);
        if !of_function && !takes_template(operator, attribute, argument, problems) {
            continue;
        }
        let is_it = |entry: &&Entry| entry.key == *argument && !entry.node.is_null();
        let default = || defaults.iter().filter(|_| !of_function).find(is_it);
        let written = own.iter().copied().find(is_it).or_else(default);
        if let Some(result) = written.filter(|entry| of_function && is_result(&entry.node)) {
            let mend = "can't stand in for a variable: write text, or take one of the two out";
            problems.error(result.node.place, format!("the result of a task {mend}"));
            continue;
        }
        let Some(template) = template(name, operator, argument, written, problems) else { continue };
        let node = Node { place: variable.place, value: Value::Text(template.into()) };
        all.push(Entry { key: argument.clone(), key_place: attribute.place, node });
    }
    all
}

/// The name of the variable and that of the argument.
fn pair<'a>(item: &'a Node, problems: &mut Problems) -> Option<(&'a Node, &'a Node)> {
    const KEYS: [&str; 2] = ["variable", "attribute"];
    let map = item.map();
    let unknown = map.and_then(|map| map.entries.iter().find(|entry| !KEYS.contains(&&*entry.key)));
    if let Some(unknown) = unknown {
        let near = did_you_mean(&unknown.key, KEYS.into_iter());
        problems.error(unknown.key_place, format!("there is no `{}` here{near}", unknown.key));
        return None;
    }
    let text = |key| map.and_then(|map| map.get(key)).filter(|node| node.text().is_some());
    let found = text("variable").zip(text("attribute"));
    if found.is_none() {
        problems
            .error(item.place, "expected `variable`, the name of one, and `attribute`, that of an argument");
    }
    found
}

/// Whether a function's argument is `+task`.
fn is_result(node: &Node) -> bool {
    node.text().is_some_and(|text| text.starts_with('+'))
}

/// Whether templates in this argument are rendered, as far as that is known.
fn takes_template(operator: Option<&str>, at: &Node, argument: &Arc<str>, problems: &mut Problems) -> bool {
    let setting = keys::TASK.contains(&&**argument) || keys::of_task(argument).is_some();
    let known = operator.and_then(|operator| catalog::argument(operator, argument));
    if operator.is_some_and(catalog::is_class) && !setting {
        let message = format!(
            "a variable's value is put in only where the class has `{argument}` in its template_fields"
        );
        problems.warn(at.place, message);
        return true;
    }
    // What the operator does not have, it refuses itself.
    if setting || known.is_some_and(|known| !known.templated) {
        let mend = "a variable's value is put in when the task runs, and this is read before: write it here";
        problems.error(at.place, format!("`{argument}` takes no template: {mend}"));
        return false;
    }
    true
}

/// The template for a variable's value, or what is written where there is none.
fn template(
    variable: &str,
    operator: Option<&str>,
    argument: &str,
    written: Option<&Entry>,
    problems: &mut Problems,
) -> Option<String> {
    let name = Json::from(variable);
    let Some(written) = written else {
        return Some(format!("{{{{ var.value.get({name}) | as_template }}}}"));
    };
    let Some(text) = written.node.text() else {
        let message = format!(
            "`{argument}` is {} where there is no variable `{variable}`, and only text can stand in for one: put it in \
             quotes, or take it out",
            written.node.kind()
        );
        problems.error(written.node.place, message);
        return None;
    };
    let args = Map::from_iter([(argument.to_owned(), Json::from(text.trim_start_matches('/')))]);
    let files = operator.map(|operator| catalog::files(operator, &args)).unwrap_or_default();
    let otherwise = if files.iter().any(|file| file.template) {
        format!("{{% include {} %}}", Json::from(&**text))
    } else {
        // As Jinja leaves it at the end of a template.
        text.strip_suffix('\n').unwrap_or(text).to_owned()
    };
    let get = format!("var.value.get({name}, none)");
    Some(format!("{{% if {get} is none %}}{otherwise}{{% else %}}{{{{ {get} | as_template }}}}{{% endif %}}"))
}
