//! `ScriptOperator`: a script in any language.

use serde_json::Value;
use updraft_core::TaskKind;

use super::bash::skip_codes;
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{ExitCodes, OneOrMore, Strings, arguments},
    },
    prepare::{Job, as_text},
    work::{Command, ProcessPlan, ResultRule},
};

arguments! {
    /// The arguments of `ScriptOperator`.
    struct ScriptArgs {
        /// The script's text. Its first line says what reads it (`#!/usr/bin/env python3`), unless
        /// `interpreter` does. Either this or `script_file`.
        templated script: Option<String>,
        /// The script's file; a relative path starts at the DAG file's folder. It is run as it is.
        templated script_file: Option<String>,
        /// What reads the script, with arguments of its own: `python3`, or `["node", "--no-warnings"]`.
        templated interpreter: Option<OneOrMore>,
        /// The script's arguments; what is no string is passed as JSON.
        templated arguments: Vec<Value>,
        /// What the script reads from its standard input; what is no string is passed as JSON.
        templated stdin: Option<Value>,
        /// Its environment, added to the worker's own.
        templated env: Strings = Strings::new(),
        /// Whether `env` is added to the worker's environment or is all there is.
        plain append_env: bool = true,
        /// Secrets, handed over where no other process sees them: for `PASSWORD: "{{ conn.db.password }}"` the
        /// script reads the text from the descriptor whose number is in `$PASSWORD_FD` (`cat <&$PASSWORD_FD`).
        templated secrets: Strings = Strings::new(),
        /// The folder it runs in. A new one that goes when it ends, where none is named.
        templated cwd: Option<String>,
        /// Where its result is: `last_line` of its output, all its `output`, or the `file` that
        /// `$UPDRAFT_RESULT` names (JSON, or else text).
        plain result: Option<String>,
        /// It is skipped where it ends with this exit code, or one of these; null for none.
        plain skip_on_exit_code: Option<ExitCodes>,
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "ScriptOperator",
    aliases: &["script"],
    doc: "Runs a script in any language: its first line or `interpreter` says what reads it. Its result is \
          the last line of its output, exit code 99 skips it, and any other exit code but 0 is a failure.",
    takes_results: Some("arguments, behind its own"),
    arguments: &[ScriptArgs::LIST],
    template_ext: &[],
    kind: |written| {
        match (written.may_have("script"), written.may_have("script_file")) {
            (false, false) => return Err((None, "needs `script` (its text) or `script_file`".into())),
            (true, true)
                if written.literal("script").is_some() && written.literal("script_file").is_some() =>
            {
                return Err((None, "takes either `script` or `script_file`, not both".into()));
            }
            _ => {}
        }
        result_rule(written.literal("result").and_then(Value::as_str))?;
        Ok(TaskKind::Run)
    },
    plan,
};

fn result_rule(name: Option<&str>) -> Result<ResultRule, (Option<&'static str>, String)> {
    match name {
        None | Some("last_line") => Ok(ResultRule::LastLine),
        Some("output") => Ok(ResultRule::Output),
        Some("file") => Ok(ResultRule::File),
        Some(other) => {
            Err((Some("result"), format!("must be last_line, output or file; found the text {other:?}")))
        }
    }
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    let args = job.read(ScriptArgs::read)?;
    let result = result_rule(args.result.as_deref()).map_err(|bad| job.bad(bad))?;
    let mut arguments: Vec<String> = args.arguments.iter().map(as_text).collect();
    arguments.extend(job.results_as_text());
    let interpreter = args.interpreter.map(|OneOrMore(words)| words).unwrap_or_default();
    let command = match (args.script, args.script_file) {
        (Some(text), None) => {
            if interpreter.is_empty() && !text.starts_with("#!") {
                let mend =
                    "has no first line that says what reads it (#!/bin/sh): add one, or set `interpreter`";
                return Err(job.bad((Some("script"), mend.into())));
            }
            Command::Script { text, interpreter, arguments }
        }
        (None, Some(file)) => {
            let path = job.folder().join(file);
            let mut argv = if interpreter.is_empty() {
                shebang(&job.host.files()?.beginning(&path, 256)?)
            } else {
                interpreter
            };
            argv.push(path.to_string_lossy().into_owned());
            argv.extend(arguments);
            Command::Argv(argv)
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(job.bad((None, "needs either `script` or `script_file`".into())));
        }
    };
    let mut env = args.env;
    env.extend(job.airflow_variables());
    Ok(Work::Process(ProcessPlan {
        command,
        env,
        inherit_env: args.append_env,
        secrets: job.secrets(args.secrets),
        asks: false,
        cwd: args.cwd.map(Into::into),
        stdin: args.stdin.map(|value| as_text(&value).into_bytes()),
        result: job.result_rule(result),
        skip_exit_codes: skip_codes(job, args.skip_on_exit_code),
        environment: None,
    }))
}

/// What reads a file that begins so: its first line says it, or it is a program itself. As in Linux, all behind
/// the interpreter's name is one argument.
fn shebang(head: &[u8]) -> Vec<String> {
    let Some(line) = head.strip_prefix(b"#!") else { return Vec::new() };
    let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let mut words = line.trim().splitn(2, [' ', '\t']).map(|word| word.trim().to_owned());
    words.by_ref().filter(|word| !word.is_empty()).collect()
}
