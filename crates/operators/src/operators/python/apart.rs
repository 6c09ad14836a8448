//! Functions in a Python of their own: `ExternalPythonOperator` in one that is there, `PythonVirtualenvOperator` in one
//! that is made for them, and both for branches. As Airflow's standard provider documents them; what differs is that
//! arguments and results go over as JSON, and that the whole file is loaded there and not the function's text alone.

use serde_json::{Value, json};

use super::{FunctionArgs, ReturnArgs, SecretArgs, TAKES_RESULTS, kind, plan_of};
use crate::{
    Refused, Work,
    catalog::{
        Entry,
        argument::{ExitCodes, OneOrMore, Strings, arguments},
    },
    prepare::{Job, as_text, no_connection},
    work::{Command, ProcessPlan, PythonEnvironment},
};

arguments! {
    /// What belongs to every Python of one's own.
    struct ApartArgs {
        /// Set in its environment.
        plain env_vars: Strings = Strings::new(),
        /// Whether it has the worker's environment besides.
        plain inherit_env: bool = true,
        /// What the function finds under the name `virtualenv_string_args`, as strings.
        plain string_args: Vec<Value>,
        /// It is skipped where its process ends with this exit code, or one of these.
        plain skip_on_exit_code: Option<ExitCodes>,
    } accepted {
        /// Without effect: arguments and results go over as JSON.
        serializer: String,
        /// Without effect: Airflow need not be there, and what can be had of it is.
        expect_airflow: bool,
    }
}

arguments! {
    /// Which one that is.
    struct ExternalArgs {
        /// The Python: `/opt/reports/bin/python`. A relative path starts at the DAG file's folder, and a bare name is
        /// looked for along the worker's `PATH`.
        templated python: String,
    } accepted {
        /// Without effect: pendulum need not be there.
        expect_pendulum: bool,
    }
}

arguments! {
    /// What is made.
    struct EnvironmentArgs {
        /// The packages: a list, or the text of a file of requirements, or the name of one that ends in `.txt`. Each
        /// worker installs them once, and keeps them for all who ask for the same: so name the versions.
        templated requirements: OneOrMore = OneOrMore::default(),
        /// The version of Python, such as `"3.12"`: the worker has to have a `python3.12`. Its `python3`, where nothing is
        /// said.
        plain python_version: Option<String>,
        /// Whether it has the packages that are installed for that Python too.
        plain system_site_packages: bool = true,
        /// More for `pip install`, such as `[--no-deps]`.
        plain pip_install_options: OneOrMore = OneOrMore::default(),
        /// Where packages are looked for, the index first; those that the worker is set to, where nothing is said. With an
        /// empty list there is none.
        templated index_urls: Option<OneOrMore>,
        /// The same from connections of type `package_index`: host, login and password.
        templated index_urls_from_connection_ids: Option<OneOrMore>,
    } accepted {
        /// Without effect: they are kept in the worker's folder.
        venv_cache_path: String,
    }
}

/// What the entries of this module have in common.
const DEFAULT: Entry = Entry {
    name: "",
    aliases: &[],
    doc: "",
    takes_results: TAKES_RESULTS,
    arguments: &[],
    template_ext: &[".txt"],
    kind,
    plan: |job| Err(job.bad((None, "does nothing".into()))),
};

const OF_EXTERNAL: &[&[crate::catalog::Argument]] =
    &[FunctionArgs::LIST, ExternalArgs::LIST, ApartArgs::LIST, SecretArgs::LIST, ReturnArgs::LIST];

const OF_ENVIRONMENT: &[&[crate::catalog::Argument]] =
    &[FunctionArgs::LIST, EnvironmentArgs::LIST, ApartArgs::LIST, SecretArgs::LIST, ReturnArgs::LIST];

pub(in crate::operators) const EXTERNAL: Entry = Entry {
    name: "ExternalPythonOperator",
    aliases: &[
        "external_python",
        "airflow.providers.standard.operators.python.ExternalPythonOperator",
        "airflow.operators.python.ExternalPythonOperator",
    ],
    doc: "Calls a Python function as PythonOperator does, in a Python that you have installed.",
    arguments: OF_EXTERNAL,
    plan: |job| external(job, "python"),
    ..DEFAULT
};

pub(in crate::operators) const BRANCH_EXTERNAL: Entry = Entry {
    name: "BranchExternalPythonOperator",
    aliases: &[
        "branch_external_python",
        "airflow.providers.standard.operators.python.BranchExternalPythonOperator",
        "airflow.operators.python.BranchExternalPythonOperator",
    ],
    doc: "Calls a Python function that chooses the tasks to follow, as BranchPythonOperator does, in a Python that you have \
          installed.",
    arguments: OF_EXTERNAL,
    plan: |job| external(job, "branch"),
    ..DEFAULT
};

pub(in crate::operators) const ENVIRONMENT: Entry = Entry {
    name: "PythonVirtualenvOperator",
    aliases: &[
        "python_virtualenv",
        "airflow.providers.standard.operators.python.PythonVirtualenvOperator",
        "airflow.operators.python.PythonVirtualenvOperator",
        "airflow.operators.python_operator.PythonVirtualenvOperator",
    ],
    doc: "Calls a Python function as PythonOperator does, in an environment that is made for it, with the packages that it \
          asks for. Each worker makes it once for all who ask for the same.",
    arguments: OF_ENVIRONMENT,
    plan: |job| in_environment(job, "python"),
    ..DEFAULT
};

pub(in crate::operators) const BRANCH_ENVIRONMENT: Entry = Entry {
    name: "BranchPythonVirtualenvOperator",
    aliases: &[
        "branch_python_virtualenv",
        "airflow.providers.standard.operators.python.BranchPythonVirtualenvOperator",
        "airflow.operators.python.BranchPythonVirtualenvOperator",
    ],
    doc: "Calls a Python function that chooses the tasks to follow, as BranchPythonOperator does, in an environment that is \
          made for it, with the packages that it asks for.",
    arguments: OF_ENVIRONMENT,
    plan: |job| in_environment(job, "branch"),
    ..DEFAULT
};

fn external(job: &Job<'_>, mode: &str) -> Result<Work, Refused> {
    let python = job.read(ExternalArgs::read)?.python;
    let program = match python.contains('/') {
        true => job.folder().join(python).to_string_lossy().into_owned(),
        false => python,
    };
    let plan = apart(job, mode)?;
    let command = match plan.command {
        Command::Script { text, arguments, .. } => {
            Command::Script { text, interpreter: vec![program, "-u".into()], arguments }
        }
        argv @ Command::Argv(_) => argv,
    };
    Ok(Work::Process(ProcessPlan { command, ..plan }))
}

fn in_environment(job: &Job<'_>, mode: &str) -> Result<Work, Refused> {
    let args = job.read(EnvironmentArgs::read)?;
    if job.order.task.run_as_user.is_some() {
        let mend = "can't be had with `run_as_user`, to whom the worker's folder is closed: make the environment \
                    yourself, and use ExternalPythonOperator";
        return Err(job.bad((None, mend.into())));
    }
    let mut index_urls = args.index_urls.map(|OneOrMore(urls)| urls);
    if let Some(OneOrMore(conn_ids)) = args.index_urls_from_connection_ids {
        let urls = index_urls.get_or_insert_default();
        for conn_id in conn_ids {
            urls.push(index_url(job, &conn_id)?);
        }
    }
    let environment = PythonEnvironment {
        python: args
            .python_version
            .map_or_else(|| "python3".to_owned(), |version| format!("python{version}")),
        requirements: args.requirements.0.join("\n"),
        system_site_packages: args.system_site_packages,
        pip_options: args.pip_install_options.0,
        index_urls,
    };
    Ok(Work::Process(ProcessPlan { environment: Some(Box::new(environment)), ..apart(job, mode)? }))
}

/// The address of the index that a connection leads to, as Airflow's `PackageIndexHook` puts it together.
fn index_url(job: &Job<'_>, conn_id: &str) -> Result<String, Refused> {
    let bad = |why: &str| {
        job.bad((
            Some("index_urls_from_connection_ids"),
            format!("leads to the connection `{conn_id}`, {why}"),
        ))
    };
    let connection = job.connection_if_any(conn_id)?.ok_or_else(|| no_connection(conn_id))?;
    if connection.conn_type != "package_index" {
        return Err(bad("which is not of type package_index"));
    }
    let host = connection.host.filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| bad("which has no host: the index's address"))?;
    let Some(login) = connection.login.filter(|login| !login.is_empty()) else { return Ok(host) };
    let (scheme, rest) = host.split_once("://").unwrap_or(("https", &host));
    let account = match connection.password.filter(|password| !password.is_empty()) {
        Some(password) => {
            let password = quoted(&password);
            job.keep_secret(&password);
            format!("{}:{password}", quoted(&login))
        }
        None => quoted(&login),
    };
    Ok(format!("{scheme}://{account}@{rest}"))
}

/// A part of an account in an address.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

/// The process that calls the function, still in the worker's Python.
fn apart(job: &Job<'_>, mode: &str) -> Result<ProcessPlan, Refused> {
    let args = job.read(ApartArgs::read)?;
    let strings: Vec<String> = args.string_args.iter().map(as_text).collect();
    let plan = plan_of(job, mode, json!({"string_args": strings}))?;
    let mut env = args.env_vars;
    env.extend(plan.env);
    let skip_exit_codes = args.skip_on_exit_code.map(|ExitCodes(codes)| codes).unwrap_or_default();
    Ok(ProcessPlan { env, inherit_env: args.inherit_env, skip_exit_codes, ..plan })
}
