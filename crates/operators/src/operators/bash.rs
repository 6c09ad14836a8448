//! `BashOperator`, as Airflow documents it. [`function`] makes its command by a function of Python, [`sensor`] waits until
//! a command says so.

pub(super) mod function;
pub(super) mod sensor;

use updraft_core::TaskKind;

use crate::{
    Refused, Work,
    catalog::{
        Entry, Written,
        argument::{BadArgument, ExitCodes, Strings, arguments},
    },
    prepare::Job,
    work::{Command, ProcessPlan, ResultRule},
};

arguments! {
    /// The command of `BashOperator`.
    struct BashArgs {
        /// The command, several commands, or the name of a script that ends in `.sh` or `.bash`, which is
        /// read and rendered as a template; with a space behind the name it is run as it is.
        templated bash_command: String,
    }
}

arguments! {
    /// How a command is run.
    struct CommandArgs {
        /// The environment, in place of the worker's own unless `append_env` is set.
        templated env: Option<Strings>,
        /// Whether `env` is added to the worker's environment.
        plain append_env: bool = false,
        /// Secrets, handed over where no other process sees them: for `PASSWORD: "{{ conn.db.password }}"` the
        /// command reads the text from the descriptor whose number is in `$PASSWORD_FD` (`cat <&$PASSWORD_FD`).
        templated secrets: Strings = Strings::new(),
        /// The folder it runs in. A new one that goes when it ends, where none is named.
        templated cwd: Option<String>,
        /// It is skipped where it ends with this exit code, or one of these; null for none.
        plain skip_on_exit_code: Option<ExitCodes>,
    } accepted {
        /// The encoding of its output. Only `utf-8`; other bytes are shown as the replacement character.
        output_encoding: String,
    }
}

/// The longest argument that Linux passes to a program is 128 KiB; what comes near goes into a file.
const LONGEST_ARGUMENT: usize = 120 * 1024;

/// A command that ends so is a file's name.
const SCRIPTS: &[&str] = &[".sh", ".bash"];

pub(super) const ENTRY: Entry = Entry {
    name: "BashOperator",
    aliases: &[
        "bash",
        "airflow.providers.standard.operators.bash.BashOperator",
        "airflow.operators.bash.BashOperator",
        "airflow.operators.bash_operator.BashOperator",
    ],
    doc: "Runs a command with bash. Its result is the last line of its output, exit code 99 skips it, and \
          any other exit code but 0 is a failure.",
    takes_results: Some("positional parameters: `$1`, `$2`, …"),
    arguments: &[BashArgs::LIST, CommandArgs::LIST],
    template_ext: SCRIPTS,
    kind: |written| only_utf_8(written).map(|()| TaskKind::Run),
    plan,
};

fn only_utf_8(written: &Written<'_>) -> Result<(), BadArgument> {
    match written.literal("output_encoding").and_then(|value| value.as_str()) {
        Some(encoding) if !matches!(&*encoding.to_lowercase(), "utf-8" | "utf8") => {
            Err((Some("output_encoding"), format!("can only be utf-8; found {encoding:?}")))
        }
        _ => Ok(()),
    }
}

fn plan(job: &Job<'_>) -> Result<Work, Refused> {
    run(job, job.read(BashArgs::read)?.bash_command, job.results_as_text())
}

/// The process of a command, with these positional parameters.
fn run(job: &Job<'_>, bash_command: String, results: Vec<String>) -> Result<Work, Refused> {
    let args = job.read(CommandArgs::read)?;
    let inherit_env = args.env.is_none() || args.append_env;
    let mut env = args.env.unwrap_or_default();
    env.extend(job.airflow_variables());
    // What stands in a program's arguments, everybody on the machine can read.
    let in_file = bash_command.len() > LONGEST_ARGUMENT || job.has_secret(&bash_command);
    let command = if in_file {
        Command::Script { text: bash_command, interpreter: vec!["bash".into()], arguments: results }
    } else {
        let mut argv = vec!["bash".to_owned(), "-c".into(), bash_command];
        if !results.is_empty() {
            // What follows the command is $0 and only then $1.
            argv.push("bash".into());
            argv.extend(results);
        }
        Command::Argv(argv)
    };
    Ok(Work::Process(ProcessPlan {
        command,
        env,
        inherit_env,
        secrets: job.secrets(args.secrets),
        asks: false,
        cwd: args.cwd.map(Into::into),
        stdin: None,
        result: job.result_rule(ResultRule::LastLine),
        skip_exit_codes: skip_codes(job, args.skip_on_exit_code),
        environment: None,
    }))
}

/// 99 where nothing is said, none where null is said.
pub(super) fn skip_codes(job: &Job<'_>, given: Option<ExitCodes>) -> Vec<i32> {
    match given {
        Some(ExitCodes(codes)) => codes,
        None if job.args.contains_key("skip_on_exit_code") => Vec::new(),
        None => vec![99],
    }
}
