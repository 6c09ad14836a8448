//! Assets as DAG files write them: URIs, Airflow's `Asset`, conditions as objects, as `__and__` and `__or__`, and
//! as dag-factory's text.

use std::collections::HashMap;

use serde_json::Value as Json;
use updraft_core::{Asset, AssetCondition};

use super::{
    field::{self, Noted},
    holidays::Beside,
    node::{Node, Object, Value, shortened},
    problem::Problems,
    yaml::{self, Parsed},
};

/// A schedule by assets, and the timetable by which the DAG runs besides.
pub(super) struct ByAssets<'a> {
    pub condition: AssetCondition,
    pub timetable: Option<&'a Node>,
}

/// The part of a class's name that counts: Airflow has had its assets in several modules, as datasets at first.
fn class(object: &Object) -> &str {
    object.class.rsplit('.').next().unwrap_or_default()
}

/// Reads a schedule by assets; `None` where it is of another kind.
pub(super) fn schedule<'a>(
    node: &'a Node,
    is_time: impl Fn(&Node) -> bool,
    beside: &Beside<'_>,
    problems: &mut Problems,
) -> Result<Option<ByAssets<'a>>, Noted> {
    let only = |condition| Ok(Some(ByAssets { condition, timetable: None }));
    match &node.value {
        Value::List(list) => {
            // dag-factory passes over blank texts too.
            let items: Vec<&Node> = list.items.iter().filter(|item| !item.is_blank()).collect();
            match items.iter().filter(|item| is_time(item)).count() {
                _ if items.is_empty() => Ok(None),
                0 => only(AssetCondition::All(conditions(items, problems)?)),
                times if times == items.len() => Ok(None),
                _ => Err(note(
                    node,
                    "times and assets are mixed in this list: write `assets:` and `timetable:` below `schedule`",
                    problems,
                )),
            }
        }
        Value::Map(map) => {
            let Some(written) = map.get("datasets").or_else(|| map.get("assets")) else { return Ok(None) };
            let known = |key: &str| matches!(key, "datasets" | "assets" | "timetable" | "file");
            if let Some(unknown) = map.entries.iter().find(|entry| !known(&entry.key)) {
                let message = format!(
                    "a schedule by assets has `assets`, `timetable` and `file`, and no `{}`",
                    unknown.key
                );
                problems.error(unknown.key_place, message);
                return Err(Noted);
            }
            let timetable = map.get("timetable").filter(|node| !node.is_null());
            let condition = match &written.value {
                Value::Text(text) => expression(text, written, problems)?,
                _ => condition(written, problems)?,
            };
            let condition = match map.get("file").filter(|node| !node.is_null()) {
                Some(file) => named(condition, &uris(file, beside, problems)?, written, problems)?,
                None => condition,
            };
            Ok(Some(ByAssets { condition, timetable }))
        }
        Value::Object(object) => match class(object) {
            "AssetOrTimeSchedule" | "DatasetOrTimeSchedule" => or_time(object, node, problems).map(Some),
            "Asset" | "Dataset" | "AssetAny" | "DatasetAny" | "AssetAll" | "DatasetAll" | "AssetAlias"
            | "DatasetAlias" | "__and__" | "__or__" => only(condition(node, problems)?),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn or_time<'a>(object: &'a Object, node: &'a Node, problems: &mut Problems) -> Result<ByAssets<'a>, Noted> {
    let get = |key: &str| object.keywords.get(key);
    let (Some(timetable), Some(assets)) = (get("timetable"), get("assets").or_else(|| get("datasets")))
    else {
        return Err(note(node, "this needs `timetable` and `assets`", problems));
    };
    Ok(ByAssets { condition: condition(assets, problems)?, timetable: Some(timetable) })
}

fn note(node: &Node, message: impl Into<String>, problems: &mut Problems) -> Noted {
    problems.error(node.place, message);
    Noted
}

fn conditions<'a>(
    nodes: impl IntoIterator<Item = &'a Node>,
    problems: &mut Problems,
) -> Result<Vec<AssetCondition>, Noted> {
    let all: Vec<_> = nodes.into_iter().map(|node| condition(node, problems)).collect();
    all.into_iter().collect()
}

fn condition(node: &Node, problems: &mut Problems) -> Result<AssetCondition, Noted> {
    let object = match &node.value {
        // Airflow takes a list for all of its assets.
        Value::List(list) if !list.items.is_empty() => {
            return Ok(AssetCondition::All(conditions(&list.items, problems)?));
        }
        Value::Object(object) => object,
        _ => return Ok(AssetCondition::Asset(asset(node, problems)?)),
    };
    let parts = |problems: &mut Problems| match object.arguments.as_slice() {
        [] => Err(note(node, "a condition on no assets is never fulfilled: name some", problems)),
        parts => conditions(parts, problems),
    };
    match class(object) {
        "AssetAny" | "DatasetAny" | "__or__" => Ok(AssetCondition::Any(parts(problems)?)),
        "AssetAll" | "DatasetAll" | "__and__" => Ok(AssetCondition::All(parts(problems)?)),
        _ => Ok(AssetCondition::Asset(asset(node, problems)?)),
    }
}

/// The inlets or outlets of a task.
pub(super) fn list(node: &Node, problems: &mut Problems) -> Result<Vec<Asset>, Noted> {
    match &node.value {
        Value::Null => Ok(Vec::new()),
        Value::List(list) => {
            let mut all = Vec::with_capacity(list.items.len());
            for item in &list.items {
                match &item.value {
                    Value::Object(object) if matches!(class(object), "AssetAlias" | "DatasetAlias") => {
                        problems.warn(
                            item.place,
                            "an alias has no effect here: only Python says what it stands for, while it runs",
                        );
                    }
                    _ => all.push(asset(item, problems)?),
                }
            }
            Ok(all)
        }
        Value::Map(map) if map.get("file").is_some() => {
            Err(note(node, "assets by the names of a file are written at the task itself", problems))
        }
        _ => Ok(vec![asset(node, problems)?]),
    }
}

/// The inlets or outlets of a task by the names that a file beside the document gives them; `None` where there is no
/// such file.
pub(super) fn of_file(
    node: &Node,
    beside: &Beside<'_>,
    problems: &mut Problems,
) -> Result<Option<Vec<Asset>>, Noted> {
    let Some((map, file)) = node.map().and_then(|map| Some((map, map.get("file")?))) else { return Ok(None) };
    let Some(names) = map.get("datasets").or_else(|| map.get("assets")) else {
        return Err(note(node, "beside `file` stands `datasets`: which of its assets", problems));
    };
    let uris = uris(file, beside, problems)?;
    let texts = field::texts(names, problems)?.unwrap_or_default();
    let all: Result<Vec<Asset>, Noted> =
        texts.iter().map(|name| one_of(&uris, name, names, problems)).collect();
    all.map(Some)
}

/// dag-factory's files of assets: a list `datasets`, each with `name` and `uri`.
fn uris(file: &Node, beside: &Beside<'_>, problems: &mut Problems) -> Result<HashMap<String, Asset>, Noted> {
    let name = field::text(file, problems)?.unwrap_or_default();
    let shown = shortened(&name);
    let text = match beside.text(file.place.document, &name) {
        Ok(text) => text,
        Err(reason) => return Err(note(file, format!("the file of assets `{shown}` {reason}"), problems)),
    };
    // Its places are in no document of this reading: whatever is wrong is told where it is named.
    let Ok(Parsed { root, .. }) = yaml::read(&text, file.place.document) else {
        return Err(note(file, format!("the file of assets `{shown}` is no YAML"), problems));
    };
    let list =
        root.map().and_then(|map| map.get("datasets").or_else(|| map.get("assets"))).and_then(Node::list);
    let Some(list) = list else {
        return Err(note(file, format!("the file of assets `{shown}` has no list `datasets`"), problems));
    };
    let mut all = HashMap::new();
    for item in list {
        let text = |key: &str| item.map().and_then(|map| map.get(key)).and_then(Node::text);
        if let (Some(name), Some(text)) = (text("name"), text("uri")) {
            let asset = Asset { name: Some(name.to_string()), ..Asset::new(uri(text, file, problems)?) };
            all.insert(name.to_string(), asset);
        }
    }
    Ok(all)
}

fn one_of(
    uris: &HashMap<String, Asset>,
    name: &str,
    node: &Node,
    problems: &mut Problems,
) -> Result<Asset, Noted> {
    match uris.get(name) {
        Some(asset) => Ok(asset.clone()),
        None => {
            let near = field::did_you_mean(name, uris.keys().map(String::as_str));
            Err(note(node, format!("the file of assets has no `{name}`{near}"), problems))
        }
    }
}

/// The condition with the assets that its names stand for.
fn named(
    condition: AssetCondition,
    uris: &HashMap<String, Asset>,
    node: &Node,
    problems: &mut Problems,
) -> Result<AssetCondition, Noted> {
    let mut all = |parts: Vec<AssetCondition>| -> Result<Vec<AssetCondition>, Noted> {
        parts.into_iter().map(|part| named(part, uris, node, problems)).collect()
    };
    Ok(match condition {
        AssetCondition::All(parts) => AssetCondition::All(all(parts)?),
        AssetCondition::Any(parts) => AssetCondition::Any(all(parts)?),
        AssetCondition::Asset(asset) => AssetCondition::Asset(one_of(uris, &asset.uri, node, problems)?),
    })
}

fn asset(node: &Node, problems: &mut Problems) -> Result<Asset, Noted> {
    match &node.value {
        Value::Text(text) => Ok(Asset::new(uri(text, node, problems)?)),
        Value::Object(object) => match class(object) {
            "Asset" => of_object(object, &["name", "uri"], node, problems),
            "Dataset" => of_object(object, &["uri", "extra"], node, problems),
            "AssetAlias" | "DatasetAlias" => Err(note(
                node,
                "only Python says what an alias stands for, while it runs: name the asset itself",
                problems,
            )),
            other => Err(note(node, format!("expected an asset, found `{other}`"), problems)),
        },
        _ => {
            let message =
                format!("expected the URI of an asset, or an `airflow.sdk.Asset`, found {}", node.kind());
            Err(note(node, message, problems))
        }
    }
}

fn of_object(
    object: &Object,
    by_place: &[&str],
    node: &Node,
    problems: &mut Problems,
) -> Result<Asset, Noted> {
    if object.arguments.len() > by_place.len() {
        return Err(note(node, format!("`{}` has too many arguments", object.class), problems));
    }
    let mut given: Vec<(&str, &Node)> = by_place.iter().copied().zip(&object.arguments).collect();
    given.extend(object.keywords.entries.iter().map(|entry| (&*entry.key, &entry.node)));
    let (mut uri_of, mut name, mut asset) = (None, None, Asset::new(""));
    for (key, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
        match key {
            "uri" => uri_of = field::text(value, problems)?,
            "name" => name = field::text(value, problems)?,
            "group" => asset.group = field::text(value, problems)?,
            "extra" => match field::json(value, problems)? {
                Json::Object(extra) => asset.extra = extra,
                _ => return Err(note(value, "expected a mapping", problems)),
            },
            "watchers" => {
                let mend = "assets are not watched: a sensor in a DAG can look, or tell of it by the API";
                return Err(note(value, mend, problems));
            }
            other => return Err(note(value, format!("an asset has no `{other}`"), problems)),
        }
    }
    // Airflow: each stands for the other where only one is given.
    let Some(known_by) = uri_of.clone().or_else(|| name.clone()) else {
        return Err(note(node, "an asset needs its `uri`, or a `name`", problems));
    };
    asset.uri = uri(&known_by, node, problems)?.as_str().into();
    asset.name = name.filter(|_| uri_of.is_some());
    Ok(asset)
}

fn uri(text: &str, node: &Node, problems: &mut Problems) -> Result<String, Noted> {
    let uri = text.trim();
    // As many as Airflow's database takes.
    if uri.is_empty() || uri.len() > 1500 || uri.chars().any(char::is_control) {
        return Err(note(
            node,
            "an asset's URI has 1 to 1500 letters, and all of them in one line",
            problems,
        ));
    }
    Ok(uri.to_owned())
}

/// dag-factory's conditions as text: `(s3://a & s3://b) | c`. `&` binds more than `|`.
fn expression(text: &str, node: &Node, problems: &mut Problems) -> Result<AssetCondition, Noted> {
    let mut tokens = tokens(text);
    tokens.reverse();
    let parsed = any(&mut tokens, 0);
    match (parsed, tokens.last()) {
        (Some(condition), None) => {
            for asset in condition.assets() {
                uri(&asset.uri, node, problems)?;
            }
            Ok(condition)
        }
        (_, token) => {
            let near = token.map_or_else(|| "at its end".to_owned(), |token| format!("at `{token}`"));
            Err(note(node, format!("this is no condition {near}: write such as `(a & b) | c`"), problems))
        }
    }
}

fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let is_sign = |c: char| matches!(c, '(' | ')' | '&' | '|');
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match is_sign(first) {
            true => first.len_utf8(),
            false => rest.find(|c: char| is_sign(c) || c.is_whitespace()).unwrap_or(rest.len()),
        };
        tokens.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    tokens
}

/// Parentheses are nested no deeper than this.
const DEEPEST: u32 = 64;

fn any(tokens: &mut Vec<&str>, depth: u32) -> Option<AssetCondition> {
    let mut parts = vec![all(tokens, depth)?];
    while tokens.pop_if(|token| *token == "|").is_some() {
        parts.push(all(tokens, depth)?);
    }
    one_or(parts, AssetCondition::Any)
}

fn all(tokens: &mut Vec<&str>, depth: u32) -> Option<AssetCondition> {
    let mut parts = vec![one(tokens, depth)?];
    while tokens.pop_if(|token| *token == "&").is_some() {
        parts.push(one(tokens, depth)?);
    }
    one_or(parts, AssetCondition::All)
}

fn one(tokens: &mut Vec<&str>, depth: u32) -> Option<AssetCondition> {
    if tokens.pop_if(|token| *token == "(").is_some() {
        let inner = if depth < DEEPEST { any(tokens, depth + 1)? } else { return None };
        tokens.pop_if(|token| *token == ")")?;
        return Some(inner);
    }
    let name = tokens.pop_if(|token| !matches!(*token, ")" | "&" | "|"))?;
    Some(AssetCondition::Asset(Asset::new(name)))
}

fn one_or(
    mut parts: Vec<AssetCondition>,
    of: fn(Vec<AssetCondition>) -> AssetCondition,
) -> Option<AssetCondition> {
    if parts.len() == 1 { parts.pop() } else { Some(of(parts)) }
}
