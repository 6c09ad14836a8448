//! The page of commands, from clap's own tree.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::{MADE, cell, keep};
use crate::Cli;

/// What nearly every command has, and the page tells once.
const EVERYWHERE: &[&str] = &["home", "output", "server", "token", "namespace"];

const ABOUT: &str = "
# Commands

Every command of `updraft`, with its arguments. `updraft COMMAND --help` says the same in a terminal,
`updraft man ~/.local/share/man/man1` makes manual pages of it, and `updraft completion bash` what a shell needs to
complete it.

A command ends with exit code 0 where all is well, 1 where it or the run it waited for failed, 2 where it was called
wrongly, 3 where something is not there, 4 where somebody may not do it, and 124 where it waited for too long.
";

#[test]
fn the_page_of_commands_is_up_to_date() {
    let mut command = Cli::command().bin_name("updraft");
    command.build();
    let mut page = format!("{MADE}{ABOUT}\n## Everywhere\n\n");
    let of_all = command.find_subcommand("health").expect("there is a command that asks a server");
    let shared = of_all.get_arguments().filter(|argument| EVERYWHERE.contains(&argument.get_id().as_str()));
    page.push_str(&table(shared));
    page.push_str("\n`--home` is taken by each command, the others by those that ask a server.\n");
    visible(&command).for_each(|inner| tell(inner, "updraft", 2, &mut page));
    keep("commands.md", &page);
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
}

/// Tells of a command, and of those below it.
fn tell(command: &Command, above: &str, level: usize, page: &mut String) {
    let name = format!("{above} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let full_stop = if about.ends_with('.') { "" } else { "." };
    let _ = write!(page, "\n{} {name}\n\n{}{full_stop}\n", "#".repeat(level), prose(&about));
    if visible(command).next().is_some() {
        return visible(command).for_each(|inner| tell(inner, &name, level + 1, page));
    }
    let usage = command.clone().render_usage().to_string();
    let _ =
        write!(page, "\n```text\n{}\n```\n", usage.trim_start_matches("Usage: ").replace("\n       ", "\n"));
    let own = command.get_arguments().filter(|argument| {
        let id = argument.get_id().as_str();
        !argument.is_hide_set() && !EVERYWHERE.contains(&id) && !["help", "version"].contains(&id)
    });
    let arguments = table(own);
    if !arguments.is_empty() {
        let _ = write!(page, "\n{arguments}");
    }
    if let Some(examples) = command.get_after_help() {
        let _ = write!(page, "\n```text\n{examples}\n```\n");
    }
}

/// A text outside of a table: only what would begin a tag is escaped.
fn prose(text: &str) -> String {
    text.split('`')
        .enumerate()
        .map(|(part, text)| if part % 2 == 0 { text.replace('<', "&lt;") } else { format!("`{text}`") })
        .collect()
}

/// The table of some arguments; nothing where there are none.
fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows: Vec<String> = arguments.map(row).collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!("| argument | meaning |\n|---|---|\n{}", rows.concat()),
    }
}

fn row(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let value = match argument.get_action().takes_values() {
        true => names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" "),
        false => String::new(),
    };
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let flags = [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let name = format!("{flags} {value}");
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut told = help.trim_end_matches('.').to_owned();
    let values = argument.get_possible_values();
    if !values.is_empty() && argument.get_action().takes_values() {
        let each: Vec<String> = values
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| {
                let about = value.get_help().map(|about| format!(" ({about})")).unwrap_or_default();
                format!("`{}`{about}", value.get_name())
            })
            .collect();
        let _ = write!(told, ". One of {}", each.join(", "));
    }
    let defaults = argument.get_default_values();
    if !defaults.is_empty() && argument.get_action().takes_values() && !told.contains("[default: ") {
        let each: Vec<_> = defaults.iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
        let _ = write!(told, ". By default {}", each.join(" "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(told, ". Also `{}`", variable.to_string_lossy());
    }
    format!("| `{}` | {} |\n", name.trim().replace('|', "\\|"), cell(&told))
}
