//! A document as a whole: which of its entries are DAGs, and the defaults they share.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use updraft_core::{DagId, DagSpec};

use super::{
    Format, Options, Read, Reading,
    dag::{self, Context},
    field::did_you_mean,
    holidays::Beside,
    merge,
    node::{Entry, List, Mapping, Node, Place, Value},
    object,
    problem::{Documents, ImportError, Problems},
    text::Text,
    yaml::{self, Fault, MAX_WEIGHT, Parsed, Unreadable},
};

/// A `defaults.yml` beside or above a DAG file.
#[derive(Clone, Debug)]
pub(super) struct DefaultsFile {
    pub name: Arc<str>,
    pub text: Arc<str>,
}

/// What one reading of a document shares.
struct Reader<'a> {
    options: &'a Options<'a>,
    beside: &'a Beside<'a>,
    documents: Documents<'a>,
    faults: Vec<Fault>,
}

/// Reads a document. `defaults` are the `defaults.yml` around it, the outermost first; by their places, it is the
/// first of the documents, and they are the others.
pub(super) fn read(
    name: Arc<str>,
    text: &str,
    format: Format,
    defaults: &[DefaultsFile],
    beside: &Beside<'_>,
    options: &Options<'_>,
) -> Reading {
    let mut reader = Reader { options, beside, documents: Documents::default(), faults: Vec::new() };
    match reader.parse(name, text, format) {
        Ok(root) => reader.dags(&root, defaults),
        Err(error) => Reading { dags: Vec::new(), errors: vec![*error], named: None },
    }
}

impl<'a> Reader<'a> {
    fn parse(&mut self, name: Arc<str>, text: &'a str, format: Format) -> Result<Node, Box<ImportError>> {
        let (parsed, document) = match format {
            Format::Yaml => {
                let text = Text::new(text, self.options.variable);
                let document = self.documents.add(name, Some(text));
                (yaml::read(self.documents.text(document), document), document)
            }
            Format::Json => {
                let document = self.documents.add(name, None);
                (yaml::read_json(text, document), document)
            }
        };
        match parsed {
            Ok(Parsed { root, faults }) => {
                self.documents.set_root(document, root.clone());
                self.faults.extend(faults);
                Ok(root)
            }
            Err(Unreadable { offset: Some(offset), message }) => {
                let offset = u32::try_from(offset).unwrap_or(u32::MAX);
                Err(Box::new(self.documents.error(Place { document, serial: 0, offset }, None, message)))
            }
            Err(Unreadable { offset: None, message }) => {
                let name = self.documents.name(document).clone();
                Err(Box::new(ImportError::of_file(name, message)))
            }
        }
    }

    fn dags(mut self, root: &Node, defaults: &'a [DefaultsFile]) -> Reading {
        let empty = || Mapping::new(Vec::new());
        let not_a_dag_file = || Reading { dags: Vec::new(), errors: Vec::new(), named: Some(Vec::new()) };
        if let Value::Bad(reason) = &root.value {
            let error = self.documents.error(root.place, None, format!("this is {reason}"));
            return Reading { dags: Vec::new(), errors: vec![error], named: None };
        }
        let Some(root) = root.map().filter(|root| is_dag_file(root)) else { return not_a_dag_file() };
        // What is wrong here is wrong with every DAG of the file.
        let mut shared = Problems::default();
        let around = match self.around(defaults, &mut shared) {
            Ok(around) => around,
            Err(error) => return Reading { dags: Vec::new(), errors: vec![*error], named: None },
        };
        let block = root.get("default").filter(|node| !node.is_null()).map(object::resolved);
        let block = match block.as_ref().map(|node| (node, node.map())) {
            None => empty(),
            Some((_, Some(map))) => Mapping::new(map.entries.clone()),
            Some((node, None)) => {
                shared.error(node.place, format!("expected `default` as a mapping, found {}", node.kind()));
                empty()
            }
        };
        let block = with_default_args(&block, &around, &mut shared);
        let outer =
            Mapping::new(around.entries.into_iter().filter(|entry| &*entry.key != "default_args").collect());

        let mut reading = not_a_dag_file();
        let mut named = Vec::new();
        let mut weight = 0u64;
        for entry in &root.entries {
            let mut problems = Problems::default();
            self.take_faults(entry, if &*entry.key == "default" { &mut shared } else { &mut problems });
            if &*entry.key == "default" {
                continue;
            }
            let id = DagId::from(&*entry.key);
            let Some(dag) = self.own(entry, &block, &mut problems) else {
                let (errors, _) = problems.finish(&self.documents, None);
                reading.errors.extend(errors);
                continue;
            };
            named.push(id.clone());
            self.tell_withheld(root, entry, &mut problems);
            let dag = merge::merged(&merge::shallow(&dag, &outer), &block);
            weight = weight.saturating_add(dag.size.weight);
            let spec = if weight > MAX_WEIGHT {
                let message = "the defaults of this file, put into each of its DAGs, come to more than 256 MiB: repeat less";
                problems.error(entry.key_place, message);
                None
            } else {
                let Options { namespace, check, now, .. } = self.options;
                let context = Context { namespace, check: *check, now: *now, beside: self.beside };
                dag::read(entry, &dag, &context, &mut problems)
            };
            let (errors, warnings) = problems.finish(&self.documents, Some(&id));
            reading.errors.extend(errors);
            let position = self.documents.position(entry.key_place);
            reading.dags.extend(spec.map(|spec| Read {
                hash: hash(&spec),
                spec: Arc::new(spec),
                warnings,
                position,
            }));
        }
        if shared.has_errors() {
            reading.dags.clear();
        }
        let (errors, _) = shared.finish(&self.documents, None);
        reading.errors.splice(0..0, errors);
        reading.named = Some(named);
        reading
    }

    /// Puts what was found wrong within an entry among its problems.
    fn take_faults(&mut self, entry: &Entry, problems: &mut Problems) {
        let Place { document, serial, .. } = entry.key_place;
        self.faults.retain(|fault| {
            let within = fault.place.document == document && fault.under == serial;
            if within {
                problems.error(fault.place, fault.message.clone());
            }
            !within
        });
    }

    /// Tells of environment variables that are not put in: in a DAG's own entry, and in what it may share with others.
    fn tell_withheld(&self, root: &Mapping, dag: &Entry, problems: &mut Problems) {
        for (document, offset, name) in self.documents.withheld() {
            let mut serial = 0;
            if document == dag.key_place.document {
                let within =
                    root.entries.iter().rfind(|entry| entry.key_place.offset <= offset).unwrap_or(dag);
                if within.key != dag.key && &*within.key != "default" && !keeps_anchors(&within.key) {
                    continue;
                }
                serial = within.key_place.serial;
            }
            let message = format!(
                "`{name}` of the environment is not put in: by its name it is a secret, which all who see the DAG would \
                 see. Keep it as a variable or a connection, and give it to the task: \
                 `env: {{{name}: \"{{{{ var.value.{name} }}}}\"}}`"
            );
            problems.warn(Place { document, serial, offset }, message);
        }
    }

    /// An entry as a DAG, `None` where it is none.
    fn own(&self, entry: &Entry, block: &Mapping, problems: &mut Problems) -> Option<Arc<Mapping>> {
        let keeps_anchors = keeps_anchors(&entry.key);
        let dag = object::resolved(&entry.node);
        let has_tasks = |map: &Mapping| map.get("tasks").is_some();
        match dag.map() {
            Some(map) if has_tasks(map) || has_tasks(block) && !keeps_anchors => Some(map.clone()),
            _ if keeps_anchors || &*entry.key == "task_groups" => None,
            _ => {
                let near = did_you_mean(&entry.key, ["default"].into_iter());
                let message = format!(
                    "`{}` has no tasks: add them, or call it `x-{}` if it only keeps anchors{near}",
                    entry.key, entry.key
                );
                problems.error(entry.key_place, message);
                None
            }
        }
    }

    /// What the `defaults.yml` files say together, the inner over the outer, their tags added up.
    fn around(
        &mut self,
        files: &'a [DefaultsFile],
        problems: &mut Problems,
    ) -> Result<Mapping, Box<ImportError>> {
        let mut all = Mapping::new(Vec::new());
        for file in files {
            let root = object::resolved(&self.parse(file.name.clone(), &file.text, Format::Yaml)?);
            if root.is_null() {
                continue;
            }
            let Some(map) = root.map() else {
                problems.error(root.place, format!("expected a mapping of defaults, found {}", root.kind()));
                continue;
            };
            self.faults.retain(|fault| {
                let here = fault.place.document == root.place.document;
                if here {
                    problems.error(fault.place, fault.message.clone());
                }
                !here
            });
            all = over(map, &all);
        }
        Ok(all)
    }
}

/// Whether an entry is where anchors are kept; Docker Compose has made these names a custom.
fn keeps_anchors(key: &str) -> bool {
    key.starts_with("x-") || key.starts_with('.')
}

/// Whether a document's root is that of a DAG file: one of its entries has tasks.
fn is_dag_file(root: &Mapping) -> bool {
    root.entries.iter().any(|entry| entry.node.map().is_some_and(|map| map.get("tasks").is_some()))
}

/// One `defaults.yml` over another: key by key, so too within `default_args`; tags are added up.
fn over(inner: &Mapping, outer: &Mapping) -> Mapping {
    let mut merged = merge::shallow(inner, outer);
    for entry in &mut merged.entries {
        let Some(other) = outer.get(&entry.key) else { continue };
        let Some(own) = inner.get(&entry.key) else { continue };
        if let ("default_args", Some(own), Some(other)) = (&*entry.key, own.map(), other.map()) {
            entry.node.value = Value::Map(Arc::new(merge::shallow(own, other)));
        } else if let ("tags", Some(own), Some(other)) = (&*entry.key, own.list(), other.list()) {
            let mut tags: Vec<Node> = other.iter().chain(own).cloned().collect();
            tags.sort_by(|a, b| a.text().cmp(&b.text()));
            tags.dedup_by(|a, b| a.text().is_some() && a.text() == b.text());
            entry.node.value = Value::List(Arc::new(List::new(tags)));
        }
    }
    merged
}

/// The `default` block with the `default_args` of the files around beneath its own.
fn with_default_args(block: &Mapping, around: &Mapping, problems: &mut Problems) -> Mapping {
    let Some(outer) = around.entry("default_args").filter(|entry| !entry.node.is_null()) else {
        return Mapping::new(block.entries.clone());
    };
    let Some(outer_args) = outer.node.map() else {
        let message = format!("default_args is a mapping, and this is {}", outer.node.kind());
        problems.error(outer.node.place, message);
        return Mapping::new(block.entries.clone());
    };
    let mut entries = block.entries.clone();
    match entries.iter_mut().find(|entry| &*entry.key == "default_args") {
        None => entries.push(outer.clone()),
        Some(own) => {
            if let Some(args) = own.node.map() {
                own.node.value = Value::Map(Arc::new(merge::shallow(args, outer_args)));
            }
        }
    }
    Mapping::new(entries)
}

/// SHA-256 of the spec as JSON with all keys sorted, in hexadecimal: equal specs have equal hashes, in
/// whatever order an operator's arguments were written.
pub(super) fn hash(spec: &DagSpec) -> String {
    let mut hasher = Sha256::new();
    match serde_json::to_value(spec) {
        Ok(value) => canonical(&value, &mut hasher),
        // A spec is made of what JSON has. Were it not, the error would be as good a name as any.
        Err(error) => hasher.update(error.to_string()),
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(value: &serde_json::Value, hasher: &mut Sha256) {
    match value {
        serde_json::Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_unstable_by_key(|(key, _)| *key);
            for (at, (key, value)) in pairs.into_iter().enumerate() {
                hasher.update(if at == 0 { "{" } else { "," });
                hasher.update(serde_json::Value::from(key.as_str()).to_string());
                hasher.update(":");
                canonical(value, hasher);
            }
            hasher.update(if map.is_empty() { "{}" } else { "}" });
        }
        serde_json::Value::Array(items) => {
            hasher.update("[");
            for (at, value) in items.iter().enumerate() {
                hasher.update(if at == 0 { "" } else { "," });
                canonical(value, hasher);
            }
            hasher.update("]");
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => hasher.update(value.to_string()),
    }
}
