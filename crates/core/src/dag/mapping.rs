//! Dynamic task mapping: what a mapped task, or a mapped group, exists once for each of.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::TaskId;

/// What a mapped task exists once for each of (Airflow's `expand` and `expand_kwargs`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mapping {
    /// Each combination of one value for each argument; the last argument changes fastest.
    Product(Vec<(String, MapSource)>),
    /// Each value is an object with several arguments (Airflow's `expand_kwargs`).
    Kwargs(MapSource),
}

/// Where the values of a mapped argument come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MapSource {
    /// Written down.
    List(Vec<Value>),
    /// Written down, as keys and values: each value is a pair of both.
    Dict(Map<String, Value>),
    /// The result of a task before it: a list's values, an object's pairs of key and value, or, where that
    /// task is mapped itself, the results of all its copies.
    Result(TaskId),
    /// The first of each, the second of each, and so on (Airflow's `XComArg.zip`).
    Zip {
        /// What is zipped.
        sources: Vec<MapSource>,
        /// Fills up the shorter ones; without it the shortest decides.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fill: Option<Value>,
    },
    /// One after the other (Airflow's `XComArg.concat`).
    Concat(Vec<MapSource>),
}

impl Mapping {
    /// The tasks whose results are mapped over.
    pub fn upstream(&self) -> Vec<&TaskId> {
        let mut found = Vec::new();
        match self {
            Self::Product(sources) => sources.iter().for_each(|(_, source)| source.upstream(&mut found)),
            Self::Kwargs(source) => source.upstream(&mut found),
        }
        found
    }

    /// Whether an argument's values are written down, and no results of tasks.
    pub fn is_written(&self, name: &str) -> bool {
        match self {
            Self::Product(sources) => {
                sources.iter().any(|(known, source)| known == name && source.is_literal())
            }
            Self::Kwargs(source) => source.is_literal(),
        }
    }

    /// How many copies there are, `None` while a result is not there. `length` gives the length of a
    /// task's result.
    pub fn length(&self, length: &mut dyn FnMut(&TaskId) -> Option<usize>) -> Option<usize> {
        match self {
            Self::Product(sources) => {
                let mut all = 1usize;
                for (_, source) in sources {
                    all = all.saturating_mul(source.length(length)?);
                }
                Some(all)
            }
            Self::Kwargs(source) => source.length(length),
        }
    }

    /// The arguments of copy `index`. `item` gives the length of a task's result and its value at a place.
    /// `None` where the results are not there, or there is no such copy.
    pub fn arguments(
        &self,
        index: usize,
        length: &mut dyn FnMut(&TaskId) -> Option<usize>,
        item: &mut dyn FnMut(&TaskId, usize) -> Option<Value>,
    ) -> Option<Map<String, Value>> {
        match self {
            Self::Product(sources) => {
                let mut rest = index;
                let mut chosen = Map::new();
                for (name, source) in sources.iter().rev() {
                    let of = source.length(length)?;
                    if of == 0 {
                        return None;
                    }
                    chosen.insert(name.clone(), source.item(rest % of, length, item)?);
                    rest /= of;
                }
                (rest == 0).then_some(chosen)
            }
            Self::Kwargs(source) => match source.item(index, length, item)? {
                Value::Object(arguments) => Some(arguments),
                _ => None,
            },
        }
    }
}

/// Puts the arguments of a copy among those of its task. A name with a dot is an entry of an argument:
/// `op_kwargs.number`.
pub fn put_arguments(args: &mut Map<String, Value>, chosen: Map<String, Value>) {
    for (name, value) in chosen {
        match name.split_once('.') {
            Some((argument, entry)) => {
                if !args.get(argument).is_some_and(Value::is_object) {
                    args.insert(argument.to_owned(), Value::Object(Map::new()));
                }
                args[argument][entry] = value;
            }
            None => _ = args.insert(name, value),
        }
    }
}

impl MapSource {
    fn upstream<'a>(&'a self, found: &mut Vec<&'a TaskId>) {
        match self {
            Self::List(_) | Self::Dict(_) => {}
            Self::Result(task) => {
                if !found.contains(&task) {
                    found.push(task);
                }
            }
            Self::Zip { sources, .. } | Self::Concat(sources) => {
                sources.iter().for_each(|source| source.upstream(found));
            }
        }
    }

    fn length(&self, length: &mut dyn FnMut(&TaskId) -> Option<usize>) -> Option<usize> {
        match self {
            Self::List(values) => Some(values.len()),
            Self::Dict(pairs) => Some(pairs.len()),
            Self::Result(task) => length(task),
            Self::Zip { sources, fill } => {
                let lengths: Option<Vec<usize>> =
                    sources.iter().map(|source| source.length(length)).collect();
                let lengths = lengths?.into_iter();
                Some(if fill.is_some() { lengths.max() } else { lengths.min() }.unwrap_or(0))
            }
            Self::Concat(sources) => {
                let mut all = 0usize;
                for source in sources {
                    all = all.saturating_add(source.length(length)?);
                }
                Some(all)
            }
        }
    }

    /// The value at a place; `None` where the results are not there, or there is no such place.
    pub fn item(
        &self,
        index: usize,
        length: &mut dyn FnMut(&TaskId) -> Option<usize>,
        item: &mut dyn FnMut(&TaskId, usize) -> Option<Value>,
    ) -> Option<Value> {
        match self {
            Self::List(values) => values.get(index).cloned(),
            Self::Dict(pairs) => {
                let (key, value) = pairs.iter().nth(index)?;
                Some(Value::Array(vec![Value::String(key.clone()), value.clone()]))
            }
            Self::Result(task) => item(task, index),
            Self::Zip { sources, fill } => {
                let mut tuple = Vec::with_capacity(sources.len());
                for source in sources {
                    tuple.push(if index < source.length(length)? {
                        source.item(index, length, item)?
                    } else {
                        fill.clone()?
                    });
                }
                Some(Value::Array(tuple))
            }
            Self::Concat(sources) => {
                let mut rest = index;
                for source in sources {
                    let of = source.length(length)?;
                    if rest < of {
                        return source.item(rest, length, item);
                    }
                    rest -= of;
                }
                None
            }
        }
    }

    /// Whether everything it takes is written down.
    pub fn is_literal(&self) -> bool {
        match self {
            Self::List(_) | Self::Dict(_) => true,
            Self::Result(_) => false,
            Self::Zip { sources, .. } | Self::Concat(sources) => sources.iter().all(Self::is_literal),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arguments(mapping: &Mapping) -> Vec<Value> {
        let results = json!({"numbers": [1, 2, 3]});
        let mut length = |task: &TaskId| results[&**task].as_array().map(Vec::len);
        let all = mapping.length(&mut length).unwrap();
        (0..all)
            .map(|index| {
                let mut item = |task: &TaskId, at: usize| results[&**task].get(at).cloned();
                Value::Object(mapping.arguments(index, &mut length, &mut item).unwrap())
            })
            .collect()
    }

    #[test]
    fn in_a_product_the_last_argument_changes_fastest() {
        let mapping = Mapping::Product(vec![
            ("a".into(), MapSource::List(vec![json!(1), json!(2)])),
            ("b".into(), MapSource::List(vec![json!("x"), json!("y")])),
        ]);
        assert_eq!(
            arguments(&mapping),
            [
                json!({"a": 1, "b": "x"}),
                json!({"a": 1, "b": "y"}),
                json!({"a": 2, "b": "x"}),
                json!({"a": 2, "b": "y"})
            ]
        );
    }

    #[test]
    fn a_zip_ends_with_its_shortest_unless_it_is_filled() {
        let sources = vec![MapSource::Result("numbers".into()), MapSource::List(vec![json!("x")])];
        let zip =
            |fill| Mapping::Product(vec![("p".into(), MapSource::Zip { sources: sources.clone(), fill })]);
        assert_eq!(arguments(&zip(None)), [json!({"p": [1, "x"]})]);
        assert_eq!(arguments(&zip(Some(json!(0))))[2], json!({"p": [3, 0]}));
    }

    #[test]
    fn objects_give_several_arguments_and_concat_one_list_after_the_other() {
        let source = MapSource::Concat(vec![
            MapSource::List(vec![json!({"n": 0})]),
            MapSource::List(vec![json!({"n": 1, "m": 2})]),
        ]);
        assert_eq!(arguments(&Mapping::Kwargs(source)), [json!({"n": 0}), json!({"n": 1, "m": 2})]);
    }
}
