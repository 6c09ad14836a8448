//! The tasks of a DAG: their names, operators and arguments.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json};
use updraft_core::{Callback, EdgeSpec, GroupSpec, Mapping as TaskMapping, TaskId, TaskKind, TaskSpec};
use updraft_operators::catalog::{
    BadOperator, CLASS_DEFAULTS, Checked, is_class, needs_airflow, too_often, unknown_names,
};

use super::{
    assets,
    dag::Context,
    decorator,
    edges::{self, Dependency, Graph},
    expand,
    field::{self, did_you_mean},
    groups::{self, Group},
    holidays::Beside,
    keys,
    names::{self, Names, Target},
    node::{Entry, Mapping, Node, Place},
    operators::Check,
    problem::Problems,
    settings::Settings,
    variables,
};

/// What a DAG is made of.
#[derive(Default)]
pub(super) struct Parts {
    pub tasks: Vec<TaskSpec>,
    pub edges: Vec<EdgeSpec>,
    pub groups: Vec<GroupSpec>,
    /// Where each task stands.
    pub places: HashMap<TaskId, Place>,
}

/// Reads the tasks and groups of a DAG and what follows what.
pub(super) fn read(
    dag: &Mapping,
    settings: &Settings,
    zone: &str,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Parts {
    let groups = groups::read(dag.get("task_groups"), settings, problems);
    let written = names::entries(dag.get("tasks"), "task_id", "task", problems);
    let groups_of = groups_of(&written, &groups, problems);
    let (names, ids) = name(&written, &groups_of, &groups, problems);
    let macros = dag.get("user_defined_macros").and_then(Node::map);
    let mut reader = Reader {
        check: context.check,
        macros: macros.into_iter().flat_map(|map| &map.entries).map(|entry| &*entry.key).collect(),
        beside: context.beside,
        zone,
        names: &names,
        ids: &ids,
        passed_over: HashMap::new(),
        taken: HashSet::new(),
        needs: Vec::new(),
    };
    let mut parts = Parts::default();
    for (at, entry) in written.iter().enumerate() {
        let settings = groups_of[at].map_or(settings, |group| &groups[group].settings);
        let mut task = reader.task(at, entry, settings, problems);
        task.group = groups_of[at].map(|group| (&*groups[group].id).into());
        parts.places.insert(task.task_id.clone(), entry.key_place);
        parts.tasks.push(task);
    }
    for unused in settings
        .for_operators
        .iter()
        .filter(|entry| !written.is_empty() && !reader.taken.contains(&entry.key))
    {
        let near = did_you_mean(&unused.key, keys::TASK.into_iter());
        problems.warn(unused.key_place, format!("no task takes the default argument `{}`{near}", unused.key));
    }
    let mut dependencies = std::mem::take(&mut reader.needs);
    for (at, entry) in written.iter().enumerate() {
        let node = entry.node.map().and_then(|map| map.get("dependencies"));
        edges::read(Target::Task(at), node, &names, &mut dependencies, problems);
    }
    for (at, group) in groups.iter().enumerate() {
        let node = group.entry.node.map().and_then(|map| map.get("dependencies"));
        edges::read(Target::Group(at), node, &names, &mut dependencies, problems);
    }
    parts.edges = Graph::new(&parts.tasks, &groups_of, &groups).edges(dependencies, problems);
    parts.groups = groups.iter().map(|group| group.spec(&groups)).collect();
    parts
}

/// The innermost group of each task.
fn groups_of(written: &[Entry], groups: &[Group], problems: &mut Problems) -> Vec<Option<usize>> {
    let by_name: HashMap<&str, usize> =
        groups.iter().enumerate().map(|(at, group)| (&*group.entry.key, at)).collect();
    let mut all = Vec::with_capacity(written.len());
    for entry in written {
        let node = entry.node.map().and_then(|map| map.get("task_group_name"));
        all.push(node.and_then(|node| {
            let name = field::text(node, problems).ok().flatten().filter(|name| !name.is_empty())?;
            let found = by_name.get(&*name).copied();
            if found.is_none() {
                let near = did_you_mean(&name, by_name.keys().copied());
                problems.error(node.place, format!("there is no task group `{name}`{near}"));
            }
            found
        }));
    }
    all
}

/// What each name stands for, and the full names of the tasks.
fn name(
    written: &[Entry],
    groups_of: &[Option<usize>],
    groups: &[Group],
    problems: &mut Problems,
) -> (Names, Vec<TaskId>) {
    let mut names = Names::default();
    let mut ids = Vec::with_capacity(written.len());
    let mut seen: HashSet<std::sync::Arc<str>> = groups.iter().map(|group| group.id.clone()).collect();
    for (at, entry) in written.iter().enumerate() {
        let id = groups_of[at].map_or_else(|| entry.key.clone(), |group| groups[group].child_id(&entry.key));
        names::check(&entry.key, "task", true, 250, entry.key_place, problems);
        if !seen.insert(id.clone()) {
            let message = format!("two tasks or task groups are called `{id}`: give one another name");
            problems.error(entry.key_place, message);
        }
        names.add(entry.key.clone(), Target::Task(at));
        names.add(id.clone(), Target::Task(at));
        ids.push((&*id).into());
    }
    for (at, group) in groups.iter().enumerate() {
        names.add(group.entry.key.clone(), Target::Group(at));
        names.add(group.id.clone(), Target::Group(at));
    }
    (names, ids)
}

struct Reader<'a> {
    check: &'a Check,
    /// The DAG's own names for templates.
    macros: Vec<&'a str>,
    beside: &'a Beside<'a>,
    zone: &'a str,
    names: &'a Names,
    ids: &'a [TaskId],
    /// For each operator, the defaults that it does not take.
    passed_over: HashMap<String, HashSet<String>>,
    /// The defaults that some operator took.
    taken: HashSet<std::sync::Arc<str>>,
    /// What follows what because it takes its result as an argument.
    needs: Vec<Dependency>,
}

impl Reader<'_> {
    fn task(&mut self, at: usize, entry: &Entry, settings: &Settings, problems: &mut Problems) -> TaskSpec {
        let empty = Mapping::new(Vec::new());
        let fields = entry.node.map().map_or(&empty, |map| map);
        let mut settings = settings.clone();
        settings.set_callbacks(fields, problems);
        let mut own: Vec<&Entry> = Vec::new();
        for entry in &fields.entries {
            match &*entry.key {
                "operator"
                | "decorator"
                | "task_id"
                | "dependencies"
                | "task_group_name"
                | "parent_group_name"
                | "expand"
                | "expand_kwargs"
                | "partial"
                | "variables_as_arguments" => {}
                key @ ("inlets" | "outlets")
                    if self.takes_assets_of_file(key, entry, &mut settings, problems) => {}
                key if settings.set(key, entry, problems) => {}
                _ => own.push(entry),
            }
        }
        own.extend(partial(fields, &mut settings, problems));
        let decorator = fields.get("decorator").filter(|node| !node.is_null());
        let operator = operator(entry, fields.get("operator"), decorator, problems);
        let class = operator.as_ref().map(|(name, _)| &**name);
        let of = decorator.map_or(expand::Of::Operator(class.unwrap_or_default()), |_| expand::Of::Function);
        let mapping = expand::read(fields, of, self.names, self.ids, problems);
        let defaults = std::mem::take(&mut settings.for_operators);
        let mut spec = settings.finish(entry, problems);
        spec.task_id = self.ids[at].clone();
        let of_variables = match fields.get("variables_as_arguments") {
            Some(node) => variables::arguments(node, class, decorator.is_some(), &own, &defaults, problems),
            None => Vec::new(),
        };
        own.retain(|entry| of_variables.iter().all(|other| other.key != entry.key));
        own.extend(&of_variables);
        self.taken.extend(of_variables.iter().map(|entry| entry.key.clone()));
        let args = match decorator {
            None => plain_arguments(&own, class.unwrap_or_default(), problems),
            Some(_) => {
                let read =
                    decorator::arguments(Target::Task(at), class, &own, self.names, self.ids, problems);
                read.map(|read| {
                    self.needs.extend(read.needs);
                    read.args
                })
            }
        };
        let (Some((operator, place)), Ok(mapping), Ok(args)) = (operator, mapping, args) else {
            return spec;
        };
        if let Some(twice) = mapped_twice(mapping.as_ref(), &own) {
            let message =
                format!("`{twice}` is mapped by `expand`, and is given here as well: keep one of the two");
            problems.error(entry.key_place, message);
            return spec;
        }
        let mapping = match (decorator, mapping) {
            (Some(node), Some(mapping)) => match decorator::mapping(mapping, node, problems) {
                Ok(mapping) => Some(mapping),
                Err(field::Noted) => return spec,
            },
            (_, mapping) => mapping,
        };
        if let Some(warning) = needs_airflow(&operator) {
            problems.warn(place, warning);
        }
        match self.checked(&operator, args, &defaults, mapping.as_ref(), problems) {
            Ok(checked) => {
                let checked = checked.in_zone(self.zone);
                self.warn_of_names(&checked, entry, &own, problems);
                if let Some(warning) = too_often(&checked.args) {
                    let given = own.iter().find(|entry| &*entry.key == "poke_interval");
                    problems.warn(given.map_or(place, |given| given.node.place), warning);
                }
                spec.operator = checked.operator;
                spec.args = checked.args;
                spec.kind = with_callbacks(checked.kind, &spec.callbacks);
            }
            Err(error) => refuse(error, place, entry, &own, problems),
        }
        spec.map = mapping;
        spec
    }

    /// Warns of names in templates that are certain not to be there when the task runs.
    fn warn_of_names(&self, checked: &Checked, task: &Entry, own: &[&Entry], problems: &mut Problems) {
        for (argument, unknown) in unknown_names(&checked.operator, &checked.args, &self.macros) {
            // Of a decorated task, the function's arguments stand beside it.
            let of_function = unknown.field.strip_prefix("op_kwargs.").unwrap_or(argument);
            let is_it = |entry: &&&Entry| {
                *entry.key == *argument || of_function.split(['.', '[']).next() == Some(&*entry.key)
            };
            let place = own.iter().find(is_it).map_or(task.key_place, |entry| entry.node.place);
            problems.warn(place, unknown.to_string());
        }
    }

    /// Whether a task's assets are named in a file of theirs: then they are taken from it.
    fn takes_assets_of_file(
        &self,
        key: &str,
        entry: &Entry,
        settings: &mut Settings,
        problems: &mut Problems,
    ) -> bool {
        let found = assets::of_file(&entry.node, self.beside, problems);
        let slot = if key == "inlets" { &mut settings.spec.inlets } else { &mut settings.spec.outlets };
        match found {
            Ok(None) => return false,
            Ok(Some(all)) => *slot = all,
            Err(field::Noted) => {}
        }
        true
    }

    /// The operator with its own arguments and the defaults that it takes.
    fn checked(
        &mut self,
        operator: &str,
        own: Map<String, Json>,
        defaults: &[Entry],
        mapping: Option<&TaskMapping>,
        problems: &mut Problems,
    ) -> Result<Checked, BadOperator> {
        if defaults.is_empty() {
            return (self.check)(operator, &own, mapping);
        }
        if is_class(operator) {
            return self.offered(operator, own, defaults, mapping, problems);
        }
        let mut args = own.clone();
        let mapped = |key: &str| mapping.is_some_and(|mapping| names_argument(mapping, key));
        let passed_over = self.passed_over.entry(operator.to_owned()).or_default();
        for entry in defaults {
            let wanted =
                !args.contains_key(&*entry.key) && !mapped(&entry.key) && !passed_over.contains(&*entry.key);
            if let (true, Ok(value)) = (wanted, field::argument(&entry.key, &entry.node, operator, problems))
            {
                args.insert(entry.key.to_string(), value);
            }
        }
        loop {
            match (self.check)(operator, &args, mapping) {
                // A default is for those that take it, as in Airflow.
                Err(BadOperator::Arguments { argument: Some(argument), .. })
                    if args.contains_key(&argument) && !own.contains_key(&argument) =>
                {
                    args.remove(&argument);
                    passed_over.insert(argument);
                }
                result => {
                    let given =
                        |entry: &&Entry| args.contains_key(&*entry.key) && !own.contains_key(&*entry.key);
                    self.taken.extend(defaults.iter().filter(given).map(|entry| entry.key.clone()));
                    return result;
                }
            }
        }
    }

    /// A class with the defaults: which of them it takes, only it knows.
    fn offered(
        &mut self,
        operator: &str,
        mut own: Map<String, Json>,
        defaults: &[Entry],
        mapping: Option<&TaskMapping>,
        problems: &mut Problems,
    ) -> Result<Checked, BadOperator> {
        self.taken.extend(defaults.iter().map(|entry| entry.key.clone()));
        let offered = defaults.iter().filter(|entry| !own.contains_key(&*entry.key));
        let offered = offered
            .filter_map(|entry| Some((entry.key.to_string(), field::python(&entry.node, problems).ok()?)));
        let offered: Map<_, _> = offered.collect();
        if !offered.is_empty() {
            own.entry(CLASS_DEFAULTS).or_insert(offered.into());
        }
        (self.check)(operator, &own, mapping)
    }
}

/// The name of a task's operator, which its decorator may stand for, and where that is written.
fn operator(
    task: &Entry,
    operator: Option<&Node>,
    decorator: Option<&Node>,
    problems: &mut Problems,
) -> Option<(String, Place)> {
    match (operator, decorator) {
        (Some(_), Some(decorator)) => {
            problems
                .error(decorator.place, "a task has an `operator` or a `decorator`: take one of the two out");
            None
        }
        (Some(node), None) => field::text(node, problems).ok().flatten().map(|name| (name, node.place)),
        (None, Some(node)) => {
            decorator::operator(node, problems).map(|operator| (operator.to_owned(), node.place))
        }
        (None, None) => {
            let message = "this task has no `operator`: write, for example, `operator: BashOperator`. (A list of \
                           tasks is not merged with that of `default`; mappings of tasks are.)";
            problems.error(task.key_place, message);
            None
        }
    }
}

/// The arguments under `partial`, which are those of the task itself.
fn partial<'a>(fields: &'a Mapping, settings: &mut Settings, problems: &mut Problems) -> Vec<&'a Entry> {
    let Some(node) = fields.get("partial").filter(|node| !node.is_null()) else { return Vec::new() };
    if fields.get("expand").or_else(|| fields.get("expand_kwargs")).is_none_or(Node::is_null) {
        let message = "`partial` is for a task with `expand`: write these arguments at the task itself";
        problems.error(node.place, message);
    }
    let Some(map) = node.map() else {
        problems.error(node.place, format!("expected `partial` as a mapping, found {}", node.kind()));
        return Vec::new();
    };
    settings.set_callbacks(map, problems);
    let mut own = Vec::new();
    for entry in &map.entries {
        if fields.get(&entry.key).is_some() {
            let message = format!("`{}` is given at the task as well: keep one of the two", entry.key);
            problems.error(entry.key_place, message);
        } else if !settings.set(&entry.key, entry, problems) {
            own.push(entry);
        }
    }
    own
}

/// What the engine would do itself, a worker does where there is somebody to call at its end.
fn with_callbacks(kind: TaskKind, callbacks: &[Callback]) -> TaskKind {
    let is_of_success = callbacks.iter().any(|callback| callback.on.is_of_success());
    match kind {
        TaskKind::Empty if is_of_success => TaskKind::Run,
        TaskKind::Wait(_) if is_of_success => TaskKind::Watch,
        TaskKind::Empty | TaskKind::Wait(_) | TaskKind::Run | TaskKind::Watch => kind,
    }
}

fn names_argument(mapping: &TaskMapping, key: &str) -> bool {
    match mapping {
        TaskMapping::Product(sources) => sources.iter().any(|(name, _)| name == key),
        TaskMapping::Kwargs(_) => false,
    }
}

fn mapped_twice<'a>(mapping: Option<&TaskMapping>, own: &[&'a Entry]) -> Option<&'a str> {
    let mut keys = own.iter().map(|entry| &*entry.key);
    keys.find(|key| mapping.is_some_and(|mapping| names_argument(mapping, key)))
}

/// The arguments of an operator, as they are written.
fn plain_arguments(
    own: &[&Entry],
    operator: &str,
    problems: &mut Problems,
) -> Result<Map<String, Json>, field::Noted> {
    let mut args = Map::new();
    let mut all_are_read = true;
    for entry in own {
        match field::argument(&entry.key, &entry.node, operator, problems) {
            Ok(value) => _ = args.insert(entry.key.to_string(), value),
            Err(field::Noted) => all_are_read = false,
        }
    }
    if all_are_read { Ok(args) } else { Err(field::Noted) }
}

fn refuse(error: BadOperator, operator: Place, task: &Entry, own: &[&Entry], problems: &mut Problems) {
    let place = match &error {
        BadOperator::Unknown { .. } => operator,
        BadOperator::Arguments { argument, .. } => own
            .iter()
            .find(|entry| argument.as_deref() == Some(&entry.key))
            .map_or(task.key_place, |entry| entry.key_place),
    };
    let near = match &error {
        BadOperator::Arguments { argument: Some(argument), .. } => {
            did_you_mean(argument, keys::TASK.into_iter())
        }
        BadOperator::Arguments { argument: None, .. } | BadOperator::Unknown { .. } => String::new(),
    };
    problems.error(place, format!("{error}{near}"));
}
