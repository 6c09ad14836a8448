//! From text to a [`Node`]: YAML by its parser's events, JSON by serde. What unfolds out of proportion or
//! nests too deep is refused as a whole; a fault within one DAG is noted with its place.
//!
//! The parser is granit-parser: kept up and fuzzed, with byte offsets and nesting limits, and as lenient as
//! PyYAML. It gives scalars unresolved, which YAML 1.1 needs and a serde crate for YAML would not.

mod builder;

use std::sync::Arc;

use granit_parser::{Parser, ScanError, options};

use self::builder::Builder;
use super::node::{Entry, List, Mapping, Node, Place, Value};

/// The largest document, in bytes.
pub(super) const MAX_BYTES: usize = 32 << 20;
/// What a document may weigh with its aliases unfolded. See [`super::node::Size`].
pub(super) const MAX_WEIGHT: u64 = 256 << 20;
/// How deep it may nest. What is kept of it as JSON has to be read again, and readers of JSON stop at 128.
const MAX_DEPTH: u32 = 100;

/// A document that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub root: Node,
    pub faults: Vec<Fault>,
}

/// What can't stay as it is, though the rest of the document can be read: a key that stands twice.
#[derive(Debug)]
pub(super) struct Fault {
    pub place: Place,
    pub message: String,
    /// The key of the root that it lies under, by its number.
    pub under: u32,
}

/// What makes a document unreadable as a whole.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Where in the text, in bytes; `None` where it is the whole text.
    pub offset: Option<usize>,
    pub message: String,
}

fn fail<T>(offset: usize, message: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable { offset: Some(offset), message: message.into() })
}

fn check_size(text: &str) -> Result<(), Unreadable> {
    if text.len() <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("{} bytes are more than the {MAX_BYTES} a DAG file may have: split it", text.len());
    Err(Unreadable { offset: None, message })
}

/// Reads YAML. An empty document is `Null`.
pub(super) fn read(text: &str, document: u16) -> Result<Parsed, Unreadable> {
    check_size(text)?;
    let options = options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH as usize,
        block_nesting_limit: MAX_DEPTH as usize,
    };
    let mut builder = Builder::new(document);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        builder.take(event, &span)?;
    }
    let place = Place { document, serial: 0, offset: 0 };
    let root = builder.root.unwrap_or(Node { place, value: Value::Null });
    Ok(Parsed { root, faults: builder.faults })
}

fn syntax(error: &ScanError) -> Unreadable {
    Unreadable {
        offset: Some(error.marker().byte_offset().unwrap_or_default()),
        message: format!("this is not YAML: {}", error.info()),
    }
}

/// Reads JSON. Its places have no lines.
pub(super) fn read_json(text: &str, document: u16) -> Result<Parsed, Unreadable> {
    check_size(text)?;
    let json = serde_json::from_str(text)
        .map_err(|error| Unreadable { offset: None, message: format!("this is not JSON: {error}") })?;
    let mut serial = 0;
    let root = from_json(json, document, &mut serial);
    if root.size().depth > MAX_DEPTH {
        return Err(Unreadable { offset: None, message: format!("this nests deeper than {MAX_DEPTH}") });
    }
    Ok(Parsed { root, faults: Vec::new() })
}

fn from_json(json: serde_json::Value, document: u16, serial: &mut u32) -> Node {
    let mut place = || {
        *serial += 1;
        Place { document, serial: *serial, offset: 0 }
    };
    let here = place();
    let value = match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => Value::Number(number),
        serde_json::Value::String(text) => Value::Text(text.into()),
        serde_json::Value::Array(items) => {
            let items = items.into_iter().map(|item| from_json(item, document, serial)).collect();
            Value::List(Arc::new(List::new(items)))
        }
        serde_json::Value::Object(pairs) => {
            let mut entries = Vec::with_capacity(pairs.len());
            for (key, value) in pairs {
                *serial += 1;
                let key_place = Place { document, serial: *serial, offset: 0 };
                entries.push(Entry { key: key.into(), key_place, node: from_json(value, document, serial) });
            }
            Value::Map(Arc::new(Mapping::new(entries)))
        }
    };
    Node { place: here, value }
}
