//! The page of operators and what they take, from the catalog.

use std::{fmt::Write as _, path::PathBuf};

use updraft_operators::catalog::{self, Argument, Entry};

use super::{MADE, cell, keep, pages};

const ABOUT: &str = "
# Operators and their parameters

Every operator, under its class name in Airflow, with the short names by which a DAG file may call it, and its own
parameters, and where in this book it has an example. A parameter in **bold** must be given. Templates are rendered where the last column says so. What all tasks
can have (`retries`, `pool`, `trigger_rule` and others) is on the page of [keys](keys.md#tasks).
";

const OF_SENSORS: &str = "
## Every sensor

A sensor looks again and again until what it waits for is there. Between two looks it holds no process and no slot; only
`BashSensor` and `PythonSensor`, which look by a process, hold theirs. These are parameters of each of them:
";

#[test]
fn the_page_of_operators_is_up_to_date() {
    let shared = shared();
    assert!(shared.iter().any(|argument| argument.name == "poke_interval"), "{shared:?}");
    let mut page = format!("{MADE}{ABOUT}{OF_SENSORS}\n{}", table(shared.iter().copied()));
    let examples = examples();
    for entry in catalog::all() {
        tell(entry, &shared, &mut page);
        let Page { file, title, .. } = example_of(entry, &examples);
        let _ = write!(page, "\nExample: [{title}](../operators/{file}).\n");
    }
    keep("operators.md", &page);
}

/// A page with examples of operators.
struct Page {
    file: String,
    title: String,
    headings: Vec<String>,
    /// What stands behind `operator:` in its DAGs.
    named: Vec<String>,
}

/// The pages of operators.
fn examples() -> Vec<Page> {
    let mut files: Vec<_> =
        std::fs::read_dir(pages().join("operators")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let page = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let behind = |rest: &str| rest.split([',', '}', '\n']).next().unwrap_or_default().trim().to_owned();
        Page {
            file: path.file_name().unwrap().to_string_lossy().into_owned(),
            title: text.lines().next().unwrap_or_default().trim_start_matches("# ").to_owned(),
            headings: text.lines().filter(|line| line.starts_with("## ")).map(str::to_owned).collect(),
            named: text.split("operator: ").skip(1).map(behind).collect(),
        }
    };
    files.into_iter().map(page).collect()
}

/// The page with an example of an operator: where several have one, that with a heading for it. Each has one.
fn example_of<'a>(entry: &Entry, examples: &'a [Page]) -> &'a Page {
    let is_it = |name: &String| name == entry.name || entry.aliases.contains(&&**name);
    let with_one = || examples.iter().filter(|page| page.named.iter().any(is_it));
    let with_heading = with_one().find(|page| page.headings.iter().any(|line| line.contains(entry.name)));
    with_heading.or_else(|| with_one().next()).unwrap_or_else(|| {
        panic!("{} has no example: put a DAG with it on a page of docs/src/operators", entry.name)
    })
}

fn is_sensor(entry: &Entry) -> bool {
    entry.name.ends_with("Sensor")
}

/// What all sensors take.
fn shared() -> Vec<&'static Argument> {
    let sensors: Vec<&Entry> = catalog::all().iter().filter(|entry| is_sensor(entry)).collect();
    let (first, others) = sensors.split_first().expect("there are sensors");
    let has = |entry: &Entry, one: &Argument| {
        entry.arguments().any(|own| own.name == one.name && own.doc == one.doc)
    };
    first.arguments().filter(|argument| others.iter().all(|entry| has(entry, argument))).collect()
}

fn tell(entry: &Entry, shared: &[&Argument], page: &mut String) {
    let _ = write!(page, "\n## {}\n\n{}", entry.name, entry.doc);
    let short: Vec<String> =
        entry.aliases.iter().filter(|name| !name.contains('.')).map(|name| format!("`{name}`")).collect();
    if !short.is_empty() {
        let _ = write!(page, " Also called {}.", short.join(", "));
    }
    if let Some(argument) = entry.takes_results {
        let _ = write!(page, " Results that edges pass on become {argument}.");
    }
    page.push('\n');
    let is_shared = |own: &Argument| shared.iter().any(|one| one.name == own.name && one.doc == own.doc);
    let own: Vec<&Argument> = entry.arguments().filter(|own| !is_sensor(entry) || !is_shared(own)).collect();
    if !own.is_empty() {
        let _ = write!(page, "\n{}", table(own.into_iter()));
    }
    if is_sensor(entry) {
        page.push_str("\nAnd those of [every sensor](#every-sensor).\n");
    }
}

fn table<'a>(arguments: impl Iterator<Item = &'a Argument>) -> String {
    let row = |argument: &Argument| {
        let name = match argument.required {
            true => format!("**`{}`**", argument.name),
            false => format!("`{}`", argument.name),
        };
        let templated = if argument.templated { "yes" } else { "" };
        format!("| {name} | {} | {} | {templated} |\n", cell(argument.expects), cell(argument.doc))
    };
    let rows: String = arguments.map(row).collect();
    format!("| parameter | what it is | meaning | templates |\n|---|---|---|---|\n{rows}")
}
