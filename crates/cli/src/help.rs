//! The list of commands, with what belongs together beside each other.

use std::fmt::Write as _;

use clap::Command;

/// What stands under which heading. What stands nowhere comes last.
const GROUPS: &[(&str, &[&str])] = &[
    ("Start here", &["standalone", "worker", "server", "import"]),
    (
        "Work",
        &["dags", "deploy", "deployments", "runs", "backfill", "tasks", "xcoms", "assets", "pause", "resume"],
    ),
    ("What work needs", &["variables", "connections", "pools"]),
    ("Who", &["users", "tokens"]),
    ("How it is", &["health", "servers", "workers", "alerts", "deliveries", "version"]),
    ("Upkeep", &["config", "db", "schema", "completion", "man"]),
];

/// The command with its help in groups.
pub fn grouped(command: Command) -> Command {
    let grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let visible = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    let rest: Vec<&str> = visible.map(Command::get_name).filter(|name| !grouped(name)).collect();
    let mut list = String::new();
    let more = ("More", rest.as_slice());
    for (title, names) in GROUPS.iter().copied().chain([more]).filter(|(_, names)| !names.is_empty()) {
        let _ = writeln!(list, "{title}:");
        for inner in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(list, "  {:<12} {about}", inner.get_name());
        }
        list.push('\n');
    }
    let template = "{about-with-newline}\n{usage-heading} {usage}\n\nLISTOptions:\n{options}{after-help}"
        .replace("LIST", &list);
    command.help_template(template)
}
