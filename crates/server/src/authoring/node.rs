//! A document as it was read: values with their places. Whatever wrote it, YAML or JSON, what follows
//! reads this.

use std::{collections::HashMap, sync::Arc};

use jiff::{
    SignedDuration,
    civil::{Date, DateTime},
    tz::Offset,
};
use serde_json::Number;

/// Where a value or a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The document, by its place in [`super::problem::Documents`].
    pub document: u16,
    /// The how-many-th key or value of the document it is: what tells a mapping from its first key.
    pub serial: u32,
    /// Where in the document's text, in bytes.
    pub offset: u32,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// A value. What is repeated by an alias or a default is shared.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Date(Date),
    DateTime(DateTime, Option<Offset>),
    Text(Arc<str>),
    List(Arc<List>),
    Map(Arc<Mapping>),
    /// A Python `timedelta`.
    Duration(SignedDuration),
    /// Another Python object.
    Object(Arc<Object>),
    /// A scalar that can't be what it looks like, and why.
    Bad(Arc<str>),
}

/// The values of a list.
#[derive(Debug)]
pub(super) struct List {
    pub items: Vec<Node>,
    pub size: Size,
}

/// Keys and values, in the order in which they stand.
#[derive(Debug)]
pub(super) struct Mapping {
    pub entries: Vec<Entry>,
    index: Option<HashMap<Arc<str>, usize>>,
    pub size: Size,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: Arc<str>,
    pub key_place: Place,
    pub node: Node,
}

/// A mapping with `__type__`: a Python object.
#[derive(Debug)]
pub(super) struct Object {
    /// The dotted path of its class.
    pub class: Arc<str>,
    /// Its arguments by place (`__args__`).
    pub arguments: Vec<Node>,
    /// Its arguments by name.
    pub keywords: Mapping,
}

/// How much a value is, aliases unfolded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Roughly the bytes it takes.
    pub weight: u64,
    /// How deep it is nested.
    pub depth: u32,
}

impl Size {
    const LIST: u64 = 32;
    const MAP: u64 = 128;
    const SCALAR: u64 = 16;

    fn around<'a>(own: u64, nodes: impl Iterator<Item = &'a Node>) -> Self {
        nodes.fold(Self { weight: own, depth: 1 }, |all, node| {
            let size = node.size();
            Self {
                weight: all.weight.saturating_add(size.weight),
                depth: all.depth.max(size.depth.saturating_add(1)),
            }
        })
    }
}

impl Node {
    pub fn size(&self) -> Size {
        match &self.value {
            Value::List(list) => list.size,
            Value::Map(map) => map.size,
            Value::Object(object) => object.keywords.size,
            Value::Text(text) => Size { weight: Size::SCALAR + text.len() as u64, depth: 0 },
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Date(_)
            | Value::DateTime(..)
            | Value::Duration(_)
            | Value::Bad(_) => Size { weight: Size::SCALAR, depth: 0 },
        }
    }

    pub fn map(&self) -> Option<&Arc<Mapping>> {
        if let Value::Map(map) = &self.value { Some(map) } else { None }
    }

    pub fn list(&self) -> Option<&[Node]> {
        if let Value::List(list) = &self.value { Some(&list.items) } else { None }
    }

    pub fn text(&self) -> Option<&Arc<str>> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Whether it is nothing, or a text that says nothing.
    pub fn is_blank(&self) -> bool {
        self.is_null() || self.text().is_some_and(|text| text.trim().is_empty())
    }

    /// What it is, for people: `a list`, `the number 3`.
    pub fn kind(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(value) => format!("the boolean `{value}`"),
            Value::Number(number) => format!("the number {number}"),
            Value::Date(date) => format!("the date {date}"),
            Value::DateTime(time, _) => format!("the time {time}"),
            Value::Text(text) => format!("the text `{}`", shortened(text)),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
            Value::Duration(_) => "a timedelta".into(),
            Value::Object(object) => format!("a Python object of the class `{}`", object.class),
            Value::Bad(reason) => reason.to_string(),
        }
    }
}

/// The beginning of a text, for a message.
pub(super) fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.len() < text.len() => format!("{line}…"),
        None => line.into(),
    }
}

impl List {
    pub fn new(items: Vec<Node>) -> Self {
        let size = Size::around(Size::LIST, items.iter());
        Self { items, size }
    }
}

impl Mapping {
    /// Keys may not repeat.
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut size = Size::around(Size::MAP, entries.iter().map(|entry| &entry.node));
        for entry in &entries {
            size.weight = size.weight.saturating_add(Size::SCALAR + entry.key.len() as u64);
        }
        let index = (entries.len() > 16)
            .then(|| entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect());
        Self { entries, index, size }
    }

    pub fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.entries.iter().position(|entry| &*entry.key == key),
        }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.position(key).map(|at| &self.entries[at])
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }
}
