//! From an order to the work it asks for.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use updraft_core::{
    MapIndex, Mapping, ResultArg, TaskId,
    input::{AttemptEnd, Outcome},
    protocol::{Connection, Order, XcomFound, XcomQuery},
    put_arguments,
};

use crate::{
    Host, HostError, Work,
    catalog::{
        BadOperator, Entry,
        argument::{BadArgument, Expression, FromArgument},
        find, known,
    },
    files::Unreadable,
    secrets::{self, mask, mask_text},
    template::{BadTemplate, Renderer},
    work::ResultRule,
};

/// An order, ready to be carried out.
#[derive(Debug)]
pub struct Prepared {
    /// The arguments as rendered, a JSON object, secrets masked (`***`), and long texts cut as Airflow does.
    pub rendered: Value,
    /// What this copy of a mapped task is called, where its task has a template for that; or why it has no name.
    pub name: Option<Result<String, Refused>>,
    /// Texts that must not show anywhere: what was looked up of secret variables and connections.
    pub secrets: Vec<String>,
    /// What to do.
    pub work: Work,
}

/// An order that can't be carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// Its arguments, as rendered, are not what the operator takes.
    #[error(transparent)]
    Operator(#[from] BadOperator),
    /// A template can't be rendered.
    #[error(transparent)]
    Template(#[from] BadTemplate),
    /// What it names is not there: a connection, a file, a result to be mapped over.
    #[error("{0}")]
    Missing(String),
    /// Something could not be looked up.
    #[error("a look-up failed: {0}")]
    Host(#[from] HostError),
    /// What was called for it says how its attempt ends, and why.
    #[error("{1}")]
    Ended(AttemptEnd, String),
}

impl From<Unreadable> for Refused {
    fn from(unreadable: Unreadable) -> Self {
        Self::Missing(unreadable.to_string())
    }
}

impl From<Refused> for Outcome {
    /// The attempt's end where its order is refused: a failure, of which another try may be made, where nothing else is
    /// said.
    fn from(refused: Refused) -> Self {
        let message = Some(refused.to_string());
        let end = match refused {
            Refused::Ended(end, _) => end,
            Refused::Operator(_) | Refused::Template(_) | Refused::Missing(_) | Refused::Host(_) => {
                AttemptEnd::Failed
            }
        };
        Self { message, ..Self::new(end) }
    }
}

/// Prepares an order: looks up what it is mapped over and the results it is passed, renders its templates,
/// reads its arguments. Blocks, since [`Host`] does; to be called where that is allowed.
pub fn prepare(order: &Order, host: &dyn Host) -> Result<Prepared, Refused> {
    let entry = find(&order.operator)?;
    let mut args = order.args.clone();
    let (written, found) = mapped_arguments(order, host)?;
    put_arguments(&mut args, written);
    let written = args.clone();
    let renderer = Renderer::new(order, host)?;
    let ends = entry.ends(&order.args);
    for (name, value) in &mut args {
        if known(entry, name)?.templated {
            *value = renderer.render(name, value, &ends)?;
        }
    }
    // What other tasks left is a value and no template: who writes a result is not who writes the DAG. Airflow
    // renders neither.
    put_arguments(&mut args, found);
    for (name, value) in &mut args {
        known(entry, name)?;
        put_results(value, order, host)?;
    }
    let results = order.task.inputs.iter().map(|task| result_of(order, host, task));
    let results = results.collect::<Result<_, _>>()?;
    let secrets = RefCell::new(renderer.into_secrets());
    let job = Job { order, host, entry, args, written, results, secrets, shown: RefCell::default() };
    if entry.takes_results.is_none() && !job.results.is_empty() {
        let mend = "takes no results: take `pass_result` off the edge before it, or use `ti.xcom_pull`";
        return Err(job.bad((None, mend.into())));
    }
    let work = (entry.plan)(&job)?;
    let name = order.task.map_index_template.as_deref().map(|template| job.name(template));
    let secrets = job.secrets.into_inner();
    let name = name.map(|name| Ok(mask_text(&name?, &secrets).chars().take(LONGEST_NAME).collect()));
    let mut shown = job.args;
    shown.extend(job.shown.into_inner());
    let rendered = mask(&cut(&Value::Object(shown)), &secrets);
    Ok(Prepared { rendered, name, secrets, work })
}

/// Whether an order can be prepared without reading a file or rendering anything. What its operator looks up
/// by itself is not known before.
pub fn is_literal(order: &Order) -> bool {
    let Ok(entry) = find(&order.operator) else { return true };
    let ends = entry.ends(&order.args);
    order.task.mapping.is_none()
        && order.task.map_index_template.is_none()
        && !entry.arguments().any(|argument| argument.expects == Expression::EXPECTS)
        && order.task.inputs.is_empty()
        && order.args.values().all(|value| plain(value, &ends))
}

fn plain(value: &Value, ends: &[&str]) -> bool {
    if ResultArg::in_argument(value).is_some() {
        return false;
    }
    match value {
        Value::String(text) => {
            let names_file = ends.iter().any(|end| text.ends_with(end));
            !names_file && !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
        }
        Value::Array(items) => items.iter().all(|item| plain(item, ends)),
        Value::Object(map) => map.values().all(|value| plain(value, ends)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// An order with its arguments rendered, for the operator to make work of.
pub(crate) struct Job<'a> {
    pub(crate) order: &'a Order,
    pub(crate) host: &'a dyn Host,
    pub(crate) entry: &'static Entry,
    pub(crate) args: Map<String, Value>,
    /// Those that are written down, as they are written.
    pub(crate) written: Map<String, Value>,
    /// The results that edges pass on.
    pub(crate) results: Vec<Value>,
    secrets: RefCell<Vec<String>>,
    shown: RefCell<Map<String, Value>>,
}

impl Job<'_> {
    /// Reads the arguments.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Map<String, Value>) -> Result<T, BadArgument>,
    ) -> Result<T, Refused> {
        read(&self.args).map_err(|bad| self.bad(bad))
    }

    /// Refuses an argument.
    pub(crate) fn bad(&self, bad: BadArgument) -> Refused {
        self.entry.bad(bad).into()
    }

    /// The folder that the DAG's file is in.
    pub(crate) fn folder(&self) -> PathBuf {
        folder(self.order)
    }

    /// Where a file that is read is: a relative path starts at the DAG file's folder or, where there is none, at the
    /// folder for what tasks write.
    pub(crate) fn found(&self, path: impl AsRef<Path>) -> Result<PathBuf, Refused> {
        let beside = self.folder().join(path.as_ref());
        if beside.symlink_metadata().is_ok() {
            return Ok(beside);
        }
        let own = self.written(path)?;
        Ok(if own.symlink_metadata().is_ok() { own } else { beside })
    }

    /// Where a file goes that is written: a relative path starts at the folder for what tasks write.
    pub(crate) fn written(&self, path: impl AsRef<Path>) -> Result<PathBuf, Refused> {
        let own = self.host.files()?.own().map(Path::to_owned);
        Ok(own.unwrap_or_else(|| self.folder()).join(path))
    }

    /// A connection. Its secrets are masked from now on.
    pub(crate) fn connection_if_any(&self, conn_id: &str) -> Result<Option<Connection>, Refused> {
        let connection = self.host.connection(conn_id)?;
        if let Some(connection) = &connection {
            self.secrets.borrow_mut().extend(secrets::of_connection(connection));
        }
        Ok(connection)
    }

    /// Shows this among the arguments as rendered, under this name.
    pub(crate) fn show(&self, name: &str, value: &Value) {
        self.shown.borrow_mut().insert(name.to_owned(), value.clone());
    }

    /// This text is masked from now on.
    pub(crate) fn keep_secret(&self, text: &str) {
        if !text.is_empty() {
            self.secrets.borrow_mut().push(text.to_owned());
        }
    }

    /// Whether a secret that was looked up stands in this text.
    pub(crate) fn has_secret(&self, text: &str) -> bool {
        self.secrets.borrow().iter().any(|secret| text.contains(secret))
    }

    /// Secrets to be handed over. They are masked from now on.
    pub(crate) fn secrets(&self, secrets: BTreeMap<String, String>) -> BTreeMap<String, String> {
        secrets.values().for_each(|text| self.keep_secret(text));
        secrets
    }

    /// Where a result is, if it is kept at all.
    pub(crate) fn result_rule(&self, rule: ResultRule) -> ResultRule {
        if self.order.task.do_xcom_push { rule } else { ResultRule::None }
    }

    /// What a template or an expression comes to that sees these names too. What it looks up is masked from now on.
    pub(crate) fn with_renderer<T>(
        &self,
        names: Map<String, Value>,
        render: impl FnOnce(&Renderer<'_>) -> Result<T, BadTemplate>,
    ) -> Result<T, Refused> {
        let renderer = Renderer::new(self.order, self.host)?.with_names(names);
        let rendered = render(&renderer);
        self.secrets.borrow_mut().extend(renderer.into_secrets());
        Ok(rendered?)
    }

    /// The results that edges pass on, as text: JSON, or a string as it is.
    pub(crate) fn results_as_text(&self) -> Vec<String> {
        self.results.iter().map(as_text).collect()
    }

    /// The attempt in letters, digits and dashes: a part of the names of files that are not whole yet.
    pub(crate) fn mark(&self) -> String {
        self.order.attempt.to_string().replace(|letter: char| !letter.is_alphanumeric(), "-")
    }

    /// When the run began, in microseconds since 1970: it tells the run from one of the same name in another
    /// installation.
    #[cfg(any(feature = "email", feature = "sms"))]
    pub(crate) fn run_began(&self) -> i64 {
        self.order.run.started_at.unwrap_or(self.order.run.run_after).as_microsecond()
    }

    /// What this copy is called: the template sees its arguments as they were rendered, as `task.NAME`. It is rendered
    /// before the attempt begins, so it does not see what a function puts into its context, which Airflow's does; so
    /// one that can't be rendered does not fail the attempt, either.
    fn name(&self, template: &str) -> Result<String, Refused> {
        let mut task = self.args.clone();
        task.insert("task_id".into(), (&*self.order.task.task_id).into());
        let names = [("task".to_owned(), Value::Object(task))].into_iter().collect();
        let template = Value::String(template.to_owned());
        let name =
            self.with_renderer(names, |renderer| renderer.render("map_index_template", &template, &[]));
        name.map(|name| as_text(&name))
    }

    /// What names this task instance's work to others: the same for each try of it, since one before may have been done
    /// after all, and another once it is cleared, which asks for the work to be done again.
    #[cfg(any(feature = "email", feature = "sms"))]
    pub(crate) fn work_id(&self) -> String {
        let updraft_core::TiKey { run, task, map_index } = self.order.attempt.ti;
        let cleared = self.order.task.tries_before;
        format!("{run}.{}.{map_index}.{cleared}.{}", task.0, self.run_began())
    }

    /// The variables that Airflow sets for the programs it starts.
    pub(crate) fn airflow_variables(&self) -> BTreeMap<String, String> {
        airflow_variables(self.order)
    }
}

/// The variables that Airflow sets for the programs it starts.
pub(crate) fn airflow_variables(order: &Order) -> BTreeMap<String, String> {
    let Order { task, run, attempt, .. } = order;
    let date = run.logical_date.map(crate::template::isoformat);
    [
        ("DAG_OWNER", Some(task.owner.clone())),
        ("DAG_ID", Some(run.dag_id.to_string())),
        ("TASK_ID", Some(task.task_id.to_string())),
        ("LOGICAL_DATE", date),
        ("TRY_NUMBER", Some(attempt.try_number.to_string())),
        ("DAG_RUN_ID", Some(run.run_id.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((format!("AIRFLOW_CTX_{name}"), value?)))
    .filter(|(_, value)| !value.is_empty())
    .collect()
}

pub(crate) fn no_connection(conn_id: &str) -> Refused {
    Refused::Missing(format!("there is no connection `{conn_id}`: add it, or name another"))
}

/// The folder that a DAG's file is in.
pub(crate) fn folder(order: &Order) -> PathBuf {
    Path::new(&order.run.source).parent().map(Path::to_owned).unwrap_or_default()
}

/// A string as it is, anything else as JSON.
pub(crate) fn as_text(value: &Value) -> String {
    value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string())
}

/// The results of a task of this run: one value, or a list where it is mapped.
fn result_of(order: &Order, host: &dyn Host, task: &TaskId) -> Result<Value, Refused> {
    Ok(left(host, &return_value(order, task))?.unwrap_or_default())
}

/// What a task left: one value, or a list where it is mapped.
fn left(host: &dyn Host, query: &XcomQuery) -> Result<Option<Value>, Refused> {
    host.xcom(query).map(whole).map_err(Into::into)
}

fn whole(mut found: Vec<XcomFound>) -> Option<Value> {
    match &found[..] {
        [] => None,
        [one] if one.map_index == MapIndex::NONE => Some(found.remove(0).value),
        [..] => Some(found.into_iter().map(|found| found.value).collect()),
    }
}

fn return_value(order: &Order, task: &TaskId) -> XcomQuery {
    XcomQuery {
        attempt: order.attempt,
        dag_id: None,
        run_id: None,
        task_id: task.clone(),
        map_index: None,
        key: "return_value".into(),
        item: None,
    }
}

type Arguments = Map<String, Value>;

/// The arguments of a mapped task's copy: those that are written down, and those that are results.
fn mapped_arguments(order: &Order, host: &dyn Host) -> Result<(Arguments, Arguments), Refused> {
    let Some(mapping) = &order.task.mapping else { return Ok((Map::new(), Map::new())) };
    let index = order.attempt.ti.map_index.0;
    let no_copy = || Refused::Missing(format!("there is no copy {index} of it in what it is mapped over"));
    let at = usize::try_from(index).map_err(|_| no_copy())?;
    let split =
        |chosen: Map<String, Value>| chosen.into_iter().partition(|(name, _)| mapping.is_written(name));
    let lengths = &order.task.result_lengths;
    let mut all = HashMap::new();
    // A server that is older than this program tells no lengths.
    for task in mapping.upstream().into_iter().filter(|task| !lengths.contains_key(*task)) {
        all.insert(task, items(task, host.xcom(&return_value(order, task))?)?);
    }
    let mut length = |task: &TaskId| lengths.get(task).copied().or_else(|| all.get(task).map(Vec::len));
    let mut refused = None;
    let mut item = |task: &TaskId, at: usize| match all.get(task) {
        Some(items) => items.get(at).cloned(),
        None => item(order, host, task, at).unwrap_or_else(|why| {
            refused = Some(why);
            None
        }),
    };
    let chosen = mapping.arguments(at, &mut length, &mut item);
    let no_set = match (&chosen, mapping) {
        (None, Mapping::Kwargs(source)) => source.item(at, &mut length, &mut item),
        _ => None,
    };
    match (refused, no_set) {
        (Some(why), _) => Err(why),
        (None, Some(found)) => Err(Refused::Missing(no_arguments(&found))),
        (None, None) => chosen.map(split).ok_or_else(no_copy),
    }
}

/// Why a copy that `expand_kwargs` makes has no arguments.
fn no_arguments(found: &Value) -> String {
    let mut piece = found.to_string();
    if let Some((end, _)) = piece.char_indices().nth(60) {
        piece.truncate(end);
        piece.push('…');
    }
    let (what, mend) = match found {
        Value::Array(_) => (
            "the list",
            ". Of a mapping, which is no list, copies get its pairs of key and value: leave a list of mappings",
        ),
        Value::String(_) => ("the text", ""),
        Value::Number(_) => ("the number", ""),
        _ => ("", ""),
    };
    let space = if what.is_empty() { "" } else { " " };
    format!(
        "`expand_kwargs` is mapped over a list of mappings from arguments to values; what this copy gets is no mapping: \
         found {what}{space}{piece}{mend}"
    )
}

/// What is at a place of a result that is mapped over.
fn item(order: &Order, host: &dyn Host, task: &TaskId, at: usize) -> Result<Option<Value>, Refused> {
    let mut found = host.xcom(&XcomQuery { item: Some(at), ..return_value(order, task) })?;
    Ok(match &found[..] {
        [] => None,
        [XcomFound { is_item: true, .. }] => Some(found.remove(0).value),
        [..] => items(task, found)?.into_iter().nth(at),
    })
}

/// What there is to map over in a result: a list's values, or an object's pairs of key and value.
fn items(task: &TaskId, found: Vec<XcomFound>) -> Result<Vec<Value>, Refused> {
    match whole(found).unwrap_or_default() {
        Value::Array(items) => Ok(items),
        Value::Object(pairs) => {
            Ok(pairs.into_iter().map(|(key, value)| Value::Array(vec![key.into(), value])).collect())
        }
        other => {
            let what = crate::catalog::argument::found(&other);
            Err(Refused::Missing(format!(
                "can't be mapped over the result of `{task}`: it must be a list or an object; {what}"
            )))
        }
    }
}

/// Puts results of other tasks where an argument names them (Airflow's `XComArg`).
fn put_results(value: &mut Value, order: &Order, host: &dyn Host) -> Result<(), Refused> {
    if let Some(result) = ResultArg::in_argument(value) {
        let of_task = return_value(order, &result.task_id);
        let is_result = of_task.key == result.key;
        let missing = || {
            let (key, task) = (&result.key, &result.task_id);
            Refused::Missing(format!("`{task}` left no `{key}`, which is one of the arguments"))
        };
        // A task that returns nothing returns None.
        *value = match left(host, &XcomQuery { key: result.key.clone(), ..of_task })? {
            None if is_result => Value::Null,
            found => found.ok_or_else(missing)?,
        };
        return Ok(());
    }
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| put_results(item, order, host)),
        Value::Object(map) => map.values_mut().try_for_each(|item| put_results(item, order, host)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// So long is the name of a mapped task's copy at most (as Airflow's column for it has room), in letters.
const LONGEST_NAME: usize = 250;

/// As much of a text as Airflow keeps of a rendered field (`core.max_templated_field_length`).
const LONGEST_RENDERED: usize = 4096;

/// As much of what was rendered as is shown.
pub(crate) fn cut(value: &Value) -> Value {
    match value {
        Value::String(text) => match text.char_indices().nth(LONGEST_RENDERED) {
            Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()).into(),
            None => value.clone(),
        },
        Value::Array(items) => items.iter().map(cut).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), cut(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}
