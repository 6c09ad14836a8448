//! `variables_as_arguments`: arguments that Airflow's variables have the values of.

use serde_json::json;

use super::{dag, errors, messages, read, task};

#[test]
fn a_variable_gives_an_argument_its_value_or_leaves_what_is_written() {
    let variables = |pairs: &[(&str, &str)]| {
        let one = |(variable, attribute): &(&str, &str)| {
            format!("{{variable: {variable}, attribute: {attribute}}}")
        };
        format!("variables_as_arguments: [{}]", pairs.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    let text = format!(
        "d:\n  default_args: {{cwd: /srv}}\n  tasks:\n    \
         none: {{operator: bash, {}}}\n    \
         text: {{operator: bash, bash_command: \"echo {{{{ ds }}}}\\n\", {}}}\n    \
         file: {{operator: bash, bash_command: load.sh, {}}}\n    \
         args: {{decorator: task, python_callable: m.f, x: plain, {}}}\n    \
         off: {{operator: bash, bash_command: echo, variables_as_arguments: null}}\n",
        variables(&[("command", "bash_command")]),
        variables(&[("command", "bash_command"), ("folder", "cwd")]),
        variables(&[("command", "bash_command")]),
        variables(&[("'it \"is\"'", "x"), ("why", "y"), ("t", "templates_dict")]),
    );
    let dag = dag(&text);
    assert_eq!(messages(&read(&text).dags[0].warnings), [""; 0]);
    assert_eq!(task(&dag, "none").args["bash_command"], "{{ var.value.get(\"command\") | as_template }}");
    let or = |name: &str, otherwise: &str| {
        let get = format!("var.value.get(\"{name}\", none)");
        json!(format!(
            "{{% if {get} is none %}}{otherwise}{{% else %}}{{{{ {get} | as_template }}}}{{% endif %}}"
        ))
    };
    let text = &task(&dag, "text").args;
    assert_eq!(text["bash_command"], or("command", "echo {{ ds }}"));
    assert_eq!(text["cwd"], or("folder", "/srv"), "what the defaults say counts where there is none");
    assert_eq!(task(&dag, "file").args["bash_command"], or("command", "{% include \"load.sh\" %}"));
    let args = &task(&dag, "args").args;
    let why = "{{ var.value.get(\"why\") | as_template }}";
    assert_eq!(args["op_kwargs"], json!({"x": or("it \\\"is\\\"", "plain"), "y": why}));
    assert_eq!(args["templates_dict"], "{{ var.value.get(\"t\") | as_template }}");
    assert_eq!(task(&dag, "off").args["bash_command"], "echo");
}

#[test]
fn what_no_variable_can_give_is_refused_with_the_mend() {
    let of = |task: &str| format!("d: {{tasks: {{t: {{{task}}}}}}}");
    let one = |attribute: &str| format!("variables_as_arguments: [{{variable: v, attribute: {attribute}}}]");
    let bash = "operator: bash, bash_command: echo";
    for (task, told) in [
        (
            format!("{bash}, {}", one("retries")),
            "`retries` takes no template: a variable's value is put in when",
        ),
        (format!("{bash}, {}", one("append_env")), "`append_env` takes no template"),
        (
            format!("{bash}, env: {{A: b}}, {}", one("env")),
            "`env` is a mapping where there is no variable `v`",
        ),
        (format!("{bash}, {}", one("bash_comand")), "did you mean `bash_command`?"),
        (format!("{bash}, variables_as_arguments: {{a: b}}"), "expected a list of `{variable: NAME"),
        (
            format!("{bash}, variables_as_arguments: [{{variable: v}}]"),
            "and `attribute`, that of an argument",
        ),
        (
            format!("{bash}, variables_as_arguments: [{{variable: v, atribute: cwd}}]"),
            "there is no `atribute` here; did you mean `attribute`?",
        ),
        (
            format!("decorator: task, python_callable: m.f, x: +t, {}", one("x")),
            "the result of a task can't stand in for a variable",
        ),
        (
            format!("operator: bash, {}, expand: {{bash_command: [a]}}", one("bash_command")),
            "`bash_command` is mapped by `expand`",
        ),
    ] {
        let errors = errors(&of(&task));
        assert!(errors.len() == 1 && errors[0].contains(told), "{task}: {errors:?}");
    }
    let default = errors("d: {default_args: {variables_as_arguments: []}, tasks: {t: {operator: empty}}}");
    assert!(default[0].contains("`variables_as_arguments` belongs to one task"), "{default:?}");
    let reading = read(&of(&format!("operator: m.Class, {}", one("x"))));
    assert_eq!(messages(&reading.errors), [""; 0]);
    let warnings = messages(&reading.dags[0].warnings);
    assert!(warnings[0].contains("only where the class has `x` in its template_fields"), "{warnings:?}");
}
