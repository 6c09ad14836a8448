//! Putting a YAML document together from what its parser tells, one piece after the other.

use std::{collections::HashMap, sync::Arc};

use granit_parser::{Event, ScalarStyle, Span, Tag};

use super::{
    super::{
        node::{Entry, List, Mapping, Node, Place, Value},
        scalar,
    },
    Fault, MAX_DEPTH, MAX_WEIGHT, Unreadable, fail,
};

#[derive(Default)]
pub(super) struct Builder {
    document: u16,
    serial: u32,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    pub root: Option<Node>,
    documents: usize,
    unfolded: u64,
    /// The number of the last key of the root.
    root_key: u32,
    pub faults: Vec<Fault>,
}

/// A list or mapping whose end has not come.
struct Open {
    place: Place,
    anchor: usize,
    kind: Kind,
    /// Set where it can't be read, and why.
    bad: Option<Arc<str>>,
}

enum Kind {
    List(Vec<Node>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<Entry>,
    seen: HashMap<Arc<str>, u32>,
    /// What `<<` brings in; the later counts more.
    merged: Vec<Node>,
    key: Option<Key>,
}

/// A key whose value has not come.
enum Key {
    Name(Arc<str>, Place),
    Merge,
    /// One that can't be; its value is read and dropped.
    Bad,
}

impl Builder {
    pub fn new(document: u16) -> Self {
        Self { document, ..Self::default() }
    }

    /// Takes up what comes next in the document.
    pub fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Unreadable> {
        let offset = span.start.byte_offset().unwrap_or_default();
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return fail(
                        offset,
                        "a DAG file is one document: take this `---` out, or split the file",
                    );
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let place = self.place(offset);
                let value = scalar_value(&text, style == ScalarStyle::Plain, tag.as_deref());
                if self.expects_key() {
                    let merges = text == "<<" && style == ScalarStyle::Plain && tag.is_none();
                    if anchor > 0 {
                        self.anchors.insert(anchor, Node { place, value });
                    }
                    self.key(&text, merges, place);
                } else {
                    self.put(Node { place, value }, anchor);
                }
            }
            Event::SequenceStart(_, anchor, tag) => {
                // A tuple is a list to whoever reads it as JSON.
                let bad = tag.filter(|tag| !is_tag(tag, &["seq", "python/tuple"])).map(|tag| unknown(&tag));
                let place = self.place(offset);
                self.open.push(Open { place, anchor, kind: Kind::List(Vec::new()), bad });
            }
            Event::MappingStart(_, anchor, tag) => {
                let bad = tag.filter(|tag| !is_tag(tag, &["map"])).map(|tag| unknown(&tag));
                let place = self.place(offset);
                self.open.push(Open { place, anchor, kind: Kind::Map(OpenMap::default()), bad });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => self.alias(anchor, offset)?,
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            // Those that come only where they are asked for.
            _ => {}
        }
        Ok(())
    }

    fn place(&mut self, offset: usize) -> Place {
        self.serial += 1;
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        Place { document: self.document, serial: self.serial, offset }
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { kind: Kind::Map(OpenMap { key: None, .. }), .. }))
    }

    fn alias(&mut self, anchor: usize, offset: usize) -> Result<(), Unreadable> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return fail(offset, "an alias within what it stands for has no end: take it out");
        };
        self.unfolded = self.unfolded.saturating_add(node.size().weight);
        if self.unfolded > MAX_WEIGHT {
            let message = "the aliases of this document unfold to more than 256 MiB: repeat less";
            return fail(offset, message);
        }
        if let (true, Value::Text(text)) = (self.expects_key(), &node.value) {
            let place = self.place(offset);
            self.key(&text.clone(), false, place);
        } else {
            self.put(node, 0);
        }
        Ok(())
    }

    /// A key. It is its text, whatever its text would mean as a value: `on` is "on".
    fn key(&mut self, text: &str, merges: bool, place: Place) {
        let in_root = self.open.len() == 1;
        let Some(Open { kind: Kind::Map(map), .. }) = self.open.last_mut() else { return };
        if merges {
            map.key = Some(Key::Merge);
            return;
        }
        let name: Arc<str> = text.into();
        match map.seen.get(&name).copied() {
            None => {
                map.seen.insert(name.clone(), place.serial);
                map.key = Some(Key::Name(name, place));
                if in_root {
                    self.root_key = place.serial;
                }
            }
            Some(first) => {
                map.key = Some(Key::Bad);
                let under = if in_root { first } else { self.root_key };
                let message = format!("the key `{name}` stands here twice: keep one of the two");
                // Its way is that of the first, which alone is in the tree.
                self.faults.push(Fault { place: Place { serial: first, ..place }, message, under });
            }
        }
    }

    fn close(&mut self) -> Result<(), Unreadable> {
        let Some(Open { place, anchor, kind, bad }) = self.open.pop() else { return Ok(()) };
        let value = match (bad, kind) {
            (Some(bad), _) => Value::Bad(bad),
            (None, Kind::List(items)) => Value::List(Arc::new(List::new(items))),
            (None, Kind::Map(map)) => {
                Value::Map(Arc::new(Mapping::new(with_merged(map.merged, map.entries))))
            }
        };
        let node = Node { place, value };
        if node.size().depth > MAX_DEPTH {
            return fail(place.offset as usize, format!("this nests deeper than {MAX_DEPTH}"));
        }
        self.put(node, anchor);
        Ok(())
    }

    /// Puts a value where it belongs.
    fn put(&mut self, node: Node, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        let map = match &mut open.kind {
            Kind::List(items) => {
                items.push(node);
                return;
            }
            Kind::Map(map) => map,
        };
        // The way to such a fault is that of the mapping in which it lies.
        let around = Place { serial: open.place.serial, ..node.place };
        let under = self.root_key;
        match map.key.take() {
            Some(Key::Name(key, key_place)) => map.entries.push(Entry { key, key_place, node }),
            Some(Key::Bad) => {}
            Some(Key::Merge) => match mappings(&node) {
                Some(nodes) => map.merged.extend(nodes),
                None => {
                    let message = format!("`<<` brings in mappings, and this is {}", node.kind());
                    self.faults.push(Fault { place: around, message, under });
                }
            },
            None => {
                let reason = format!(
                    "a mapping with {} as a key: if it is a template (`{{{{ … }}}}`), put it in quotes",
                    node.kind()
                );
                open.bad.get_or_insert(reason.into());
                map.key = Some(Key::Bad);
            }
        }
    }
}

fn is_tag(tag: &Tag, names: &[&str]) -> bool {
    tag.suffix_in_namespace("tag:yaml.org,2002:").is_some_and(|name| names.contains(&&*name))
}

fn unknown(tag: &Tag) -> Arc<str> {
    let tag = tag.original();
    let mend = match tag.trim_start_matches('!') {
        "join" => "write `__join__:` with a list",
        "and" => "write `__and__:` with a list",
        "or" => "write `__or__:` with a list",
        name if name.starts_with("python/name:") => "write the function's dotted path as text",
        "set" => "write a list",
        _ => "write the value without it",
    };
    format!("the tag `{tag}`, which is not read here: {mend}").into()
}

fn scalar_value(text: &str, plain: bool, tag: Option<&Tag>) -> Value {
    match tag {
        None if plain => scalar::plain(text),
        None => Value::Text(text.into()),
        Some(tag) if tag.original() == "!" => Value::Text(text.into()),
        Some(tag) => {
            let name = tag.suffix_in_namespace("tag:yaml.org,2002:");
            let value = name.and_then(|name| scalar::tagged(&name, text));
            value.unwrap_or_else(|| Value::Bad(unknown(tag)))
        }
    }
}

/// The mappings that a `<<` brings in, the ones that count more later; the first of a list counts most.
fn mappings(node: &Node) -> Option<Vec<Node>> {
    if node.map().is_some() {
        return Some(vec![node.clone()]);
    }
    let items = node.list()?;
    items.iter().all(|item| item.map().is_some()).then(|| items.iter().rev().cloned().collect())
}

/// A mapping's own entries over those that `<<` brings in.
fn with_merged(merged: Vec<Node>, own: Vec<Entry>) -> Vec<Entry> {
    if merged.is_empty() {
        return own;
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut index: HashMap<Arc<str>, usize> = HashMap::new();
    let brought = merged.iter().filter_map(Node::map).flat_map(|map| &map.entries);
    for entry in brought.chain(&own) {
        match index.get(&entry.key) {
            Some(at) => entries[*at] = entry.clone(),
            None => {
                index.insert(entry.key.clone(), entries.len());
                entries.push(entry.clone());
            }
        }
    }
    entries
}
