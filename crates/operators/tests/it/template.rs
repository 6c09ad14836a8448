//! Templates: what is refused, what is looked up, what is kept secret.

use serde_json::{Value, json};
use updraft_operators::{
    Variable, catalog, prepare,
    template::{BadTemplate, Renderer},
};

use crate::world::{World, order, with_run};

fn render(world: &World, value: &Value) -> Result<Value, BadTemplate> {
    let order = order("BashOperator", Value::Null);
    Renderer::new(&order, world).unwrap().render("env", value, &[])
}

fn error(template: &str) -> String {
    render(&World::default(), &json!(template)).unwrap_err().to_string()
}

#[test]
fn an_error_names_the_field_the_line_and_a_name_that_is_near() {
    let value = json!({"A": ["fine", "one\ntwo {{ logical_dat }}"]});
    assert_eq!(
        render(&World::default(), &value).unwrap_err().to_string(),
        "template of `env.A[1]`, line 2: 'logical_dat' is undefined; did you mean `logical_date`?"
    );
    assert_eq!(
        error("{{ ds | uper }}"),
        "template of `env`, line 1: there is no filter `uper`; did you mean `upper`?"
    );
    assert!(error("{{ ds\n").contains("line 1"), "{}", error("{{ ds\n"));
    assert!(error("{% for x in [1] %}").contains("end of"), "{}", error("{% for x in [1] %}"));
}

#[test]
fn a_run_without_a_logical_date_is_said_where_its_template_needs_one() {
    let order = with_run(order("BashOperator", Value::Null), |run| run.logical_date = None);
    let world = World::default();
    let render = |template: &str| Renderer::new(&order, &world).unwrap().render("env", &json!(template), &[]);
    let error = render("day {{ ds }}").unwrap_err().to_string();
    assert!(
        error.contains("'ds' is undefined") && error.contains("`updraft dags trigger --logical-date`"),
        "{error}"
    );
    assert_eq!(render("{{ ds is defined }}").unwrap(), "False");
}

#[test]
fn what_would_not_end_or_fill_the_memory_is_stopped() {
    for template in [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10000000000 }}",
        "{{ [0] * 10000000000 }}",
        "{{ 'x'.ljust(10000000000) }}",
        "{{ 'x' | center(10000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 'a'.replace('', 'x' * 1000000) * 1000 }}",
        "{% set l = [] %}{% do l.append(l) %}{{ l }}",
        "{{ 'x' | indent('y' * 100000000, first=true) }}",
        "{% macro q() %}{% include 'x' %}{% endmacro %}{% for i in range(100000) %}{{ [1, 2, 3] | sort }}{{ range(1000) | list | join }}{% endfor %}",
    ] {
        assert!(render(&World::default(), &json!(template)).is_err(), "{template}");
    }
}

#[test]
fn brackets_within_brackets_are_refused_before_they_fill_the_stack() {
    let chains = [
        ("1 + ", ""),
        ("1 if 0 else ", ""),
        ("", "[0]"),
        ("", ".a"),
        ("", "|e"),
        ("", "()"),
        ("", " is none"),
    ];
    let brackets = [("(", ")"), ("[", "]"), ("-", ""), ("not ", ""), ("{'a': ", "}"), ("[1, -", "]")];
    for (open, close) in brackets.into_iter().chain(chains) {
        let template = format!("{{{{ {}1{} }}}}", open.repeat(5000), close.repeat(5000));
        assert!(render(&World::default(), &json!(template)).is_err(), "{open}");
    }
    let blocks = format!("{}{}", "{% if true %}".repeat(5000), "{% endif %}".repeat(5000));
    assert!(render(&World::default(), &json!(blocks)).is_err());
    let elifs = format!("{{% if false %}}{}{{% endif %}}", "{% elif false %}".repeat(5000));
    assert!(render(&World::default(), &json!(elifs)).is_err());
    // What is just allowed fits into the stack of a thread.
    let deepest = format!("{{{{ {}1{} }}}}", "(1 + ".repeat(48), ")".repeat(48));
    assert_eq!(render(&World::default(), &json!(deepest)).unwrap(), "49");
    let long: Vec<String> = (0..20_000).map(|number| format!("-{number}")).collect();
    let long = format!("{{{{ [{}] | length }}}}", long.join(", "));
    assert_eq!(render(&World::default(), &json!(long)).unwrap(), "20000");
}

#[test]
fn only_what_a_template_names_is_looked_up() {
    let world = World::default().with_xcom("load.return_value", json!([1]));
    let value = json!(["plain", "{{ ds }}", "{{ ti.xcom_pull('load')[0] }}"]);
    assert_eq!(render(&world, &value).unwrap(), json!(["plain", "2026-01-31", "1"]));
    assert_eq!(*world.asked.lock().unwrap(), ["xcom load.return_value"]);
}

/// Ten megabytes of text and a list of a million items.
#[test]
fn what_another_task_left_can_be_worked_with_however_large_it_is() {
    let world = World::default()
        .with_xcom("text.return_value", json!("x".repeat(10_000_000)))
        .with_xcom("list.return_value", (0..1_000_000).collect());
    let says = |template: &str| render(&world, &json!(template)).unwrap().as_str().unwrap().len();
    assert_eq!(says("{{ ti.xcom_pull('text') }}"), 10_000_000);
    assert_eq!(says("{{ ti.xcom_pull('text') | upper | length }}"), "10000000".len());
    assert_eq!(says("{{ ti.xcom_pull('list') | tojson }}"), 7_888_890);
    // It goes no further than that.
    let endless = "{% for x in ti.xcom_pull('text') %}{% for y in ti.xcom_pull('text') %}{{ x ~ y }}{% endfor %}{% endfor %}";
    let error =
        render(&World::default().with_xcom("text.return_value", json!("x".repeat(100_000))), &json!(endless));
    assert!(error.unwrap_err().to_string().contains("it was stopped after 5000000 steps and letters"));
}

#[test]
fn a_look_up_that_fails_is_told_from_a_wrong_template() {
    let error = render(&World::default(), &json!("{{ ti.xcom_pull('unreachable') }}")).unwrap_err();
    assert_eq!(error.host.unwrap().0, "the server is away");
}

#[test]
fn what_is_looked_up_of_secrets_is_kept_apart() {
    let mut world = World::default();
    let secret = Variable { value: r#"{"key": "k-1"}"#.into(), secret: true };
    world.variables.insert("cred".into(), secret);
    world.variables.insert("open".into(), Variable { value: "plain".into(), secret: false });
    let order = order("BashOperator", Value::Null);
    let renderer = Renderer::new(&order, &world).unwrap();
    let value = json!("{{ var.json.cred.key }} {{ var.value.open }}");
    assert_eq!(renderer.render("field", &value, &[]).unwrap(), json!("k-1 plain"));
    assert_eq!(renderer.into_secrets(), [r#"{"key": "k-1"}"#, "k-1"]);
}

#[test]
fn a_file_is_read_from_the_dags_folder_and_never_from_above_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("dags")).unwrap();
    std::fs::write(folder.path().join("dags/run.sh"), "echo {{ ds }}\n").unwrap();
    std::fs::write(folder.path().join("secret.sh"), "no").unwrap();
    let order = with_run(order("BashOperator", Value::Null), |run| {
        run.source = folder.path().join("dags/d.yaml").to_string_lossy().into_owned();
    });
    let world = World::default();
    let renderer = Renderer::new(&order, &world).unwrap();
    let render = |text: &str| renderer.render("bash_command", &json!(text), &[".sh"]);
    assert_eq!(render("run.sh").unwrap(), "echo 2026-01-31");
    assert_eq!(render("run.sh ").unwrap(), "run.sh ");
    let absolute = folder.path().join("dags/run.sh");
    assert_eq!(render(absolute.to_str().unwrap()).unwrap(), "echo 2026-01-31");
    assert!(render("../secret.sh").unwrap_err().reason.contains("outside"));
    assert!(render("missing.sh").unwrap_err().reason.contains("put a space behind it"));
    assert!(render("{% include '../secret.sh' %}").is_err());
}

#[test]
fn an_unknown_option_for_templates_is_refused() {
    let order = with_run(order("BashOperator", Value::Null), |run| {
        run.template.insert("jinja_environment_kwargs".into(), json!({}));
    });
    let world = World::default();
    let error = Renderer::new(&order, &world).err().unwrap();
    assert!(error.to_string().contains("jinja_environment_kwargs"), "{error}");
}

#[test]
fn a_copy_of_a_mapped_task_is_called_as_its_task_says() {
    let world = World {
        variables: [("door_key".to_owned(), Variable { value: "s3cret".into(), secret: true })].into(),
        ..World::default()
    };
    let name = |template: &str| {
        let mut order =
            order("BashOperator", json!({"bash_command": "echo {{ ds }}", "env": {"WHO": "ada"}}));
        order.task.map_index_template = Some(template.to_owned());
        prepare(&order, &world).unwrap().name.unwrap()
    };
    let bad = name("{{ nothing.at.all }}").unwrap_err().to_string();
    assert!(bad.contains("map_index_template"), "{bad}");
    let name = |template: &str| name(template).unwrap();
    assert_eq!(name("{{ task.env.WHO }}: {{ task.bash_command }}"), "ada: echo 2026-01-31");
    assert_eq!(name("{{ task.task_id }} {{ ti.map_index }} {{ run_id[:9] }}"), "extract -1 scheduled");
    assert_eq!(name("{{ var.value.door_key }}"), "***");
    assert_eq!(name("{{ 'x' * 1000 }}").len(), 250);
}

const OWN: &str = r#"
import datetime

def add_days(ds, days=1):
    return str(datetime.date.fromisoformat(ds) + datetime.timedelta(days=days))

def same(*values, **named):
    return [*values, named]

def of_run(ti, dag_run):
    return f"{ti.task_id} of {dag_run.run_id[:9]}"

def breaks():
    raise ValueError("no such day")

def odd():
    return object()
"#;

#[test]
fn a_dag_calls_functions_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("own_macros.py"), OWN).unwrap();
    let order = with_run(order("BashOperator", Value::Null), |run| {
        run.source = folder.path().join("dags.yaml").to_string_lossy().into();
        let macros = json!({
            "add_days": "own_macros.add_days",
            "dates": {"shift": "own_macros.add_days", "weekend": [6, 7]},
            "same": "own_macros.same",
            "of_run": "own_macros.of_run",
            "breaks": "own_macros.breaks",
            "odd": "own_macros.odd",
            "gone": "own_macros.gone",
            "ds": "own_macros.never",
            "limit": 5,
        });
        run.template.insert("user_defined_macros".into(), macros);
    });
    let world = World::default();
    let render = |template: &str| {
        let rendered = Renderer::new(&order, &world).unwrap().render("env", &json!(template), &[]);
        rendered.map(|text| text.as_str().unwrap().to_owned()).map_err(|error| error.to_string())
    };
    // What dag-factory's own example asks for.
    assert_eq!(
        render("{{ ds }} | {{ add_days(ds, -1) }} | {{ add_days(ds, days=1) }} | {{ dates.shift(ds, -1) }}"),
        Ok("2026-01-31 | 2026-01-30 | 2026-02-01 | 2026-01-30".into())
    );
    assert_eq!(render("{{ limit + 1 }} {{ dates.weekend[0] }}"), Ok("6 6".into()));
    assert_eq!(render("{{ of_run(ti, dag_run) }}"), Ok("extract of scheduled".into()));
    // Types come back as they went.
    let kept = "{% set v = same(1, 'a', none, 1.5, true, [ds], {'k': 2, 3: 'l'}, logical_date, macros.timedelta(hours=36), \
                logical_date.date(), macros.datetime(2026, 1, 2, 3), x=[1]) %}{{ v[:7] }} {{ v[7] == logical_date }} \
                {{ v[7] | ds }} {{ v[8] }} {{ v[9] }} {{ v[10] }} {{ v[11].x }}";
    assert_eq!(
        render(kept),
        Ok("[1, 'a', None, 1.5, True, ['2026-01-31'], {'k': 2, 3: 'l'}] True 2026-01-31 1 day, 12:00:00 \
            2026-01-31 2026-01-02 03:00:00 [1]"
            .into())
    );
    let doubled =
        "{% set ns = namespace(l=[]) %}{% for i in range(40) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}";
    for (template, why) in [
        ("{% set l = [] %}{{ l.append(l) }}{{ same(l) }}", "holds itself"),
        (&*format!("{doubled}{{{{ same(ns.l) }}}}"), "a million items"),
        ("{{ breaks() }}", "ValueError: no such day"),
        ("{{ odd() }}", "what it returned, a object, is no JSON"),
        ("{{ gone() }}", "has no function 'gone'"),
        ("{{ add_days }}", "can't be shown"),
        ("{{ same(macros.json) }}", "can't be passed"),
        ("{{ dates.shif(ds) }}", "has no attribute 'shif'"),
        ("{{ add_dayz(ds) }}", "did you mean `add_days`?"),
    ] {
        let error = render(template).unwrap_err();
        assert!(error.contains(why), "{template}: {error}");
    }
}

#[test]
fn a_value_without_an_end_is_no_result_of_a_template() {
    let order = with_run(order("BashOperator", Value::Null), |run| {
        run.template.insert("render_template_as_native_obj".into(), json!(true));
    });
    let world = World::default();
    let render = |template: &str| Renderer::new(&order, &world).unwrap().render("env", &json!(template), &[]);
    let itself = render("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}").unwrap_err().to_string();
    assert!(itself.contains("holds itself"), "{itself}");
    let doubled = "{% set ns = namespace(l=[]) %}{% for i in range(40) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}";
    assert!(render(doubled).unwrap_err().to_string().contains("a million items"));
}

#[test]
fn an_unknown_filter_is_an_error_where_jinja2_has_one() {
    use updraft_operators::template::check;
    for (template, is_fine) in [
        ("{{ 1 | nope }}", false),
        ("{% for x in [] %}{{ x | nope }}{% endfor %}", false),
        ("{% if false %}{{ 1 | nope }}{% endif %}", true),
        ("{{ (1 | nope) if false else 2 }}", true),
        ("{% if 1 | nope %}{% endif %}", true),
    ] {
        assert_eq!(check("env", &json!(template)).is_ok(), is_fine, "{template}");
    }
    assert!(error("{% if true %}{{ 1 | nope }}{% endif %}").contains("there is no filter `nope`"));
}

#[test]
fn a_name_that_there_is_not_is_found_where_it_is_certain_that_the_template_fails_by_it() {
    let unknown = |template: &str| -> Vec<String> {
        let args = json!({"bash_command": template}).as_object().cloned().unwrap();
        catalog::unknown_names("bash", &args, &["mine"]).iter().map(|(_, bad)| bad.to_string()).collect()
    };
    for (template, name) in [
        ("{{ nope }}", "variable `nope`"),
        ("{{ nope(ds) }}", "function `nope`"),
        ("{{ nope.a.b }} {{ nope }}", "variable `nope`"),
        ("{{ nope['a'] | upper }}", "variable `nope`"),
        ("{{ macros.ds_add(nope, 1) }}", "variable `nope`"),
        ("{{ nope + 1 }}", "variable `nope`"),
        ("{% if nope %}a{% endif %}", "variable `nope`"),
        ("{{ 1 if nope > 1 else 2 }}", "variable `nope`"),
        ("{% for x in nope %}{{ x }}{% endfor %}", "variable `nope`"),
        ("{% do nope(1) %}", "function `nope`"),
        ("{{ (nope or 1) }}", "variable `nope`"),
        ("{{ ds | replace(nope, 'a') }}", "variable `nope`"),
    ] {
        let found = unknown(template);
        assert!(
            found.len() == 1 && found[0].contains(&format!("there is no {name} here")),
            "{template}: {found:?}"
        );
        // And so it is when it is rendered.
        assert!(error(template).contains("'nope' is undefined"), "{template}: {}", error(template));
    }
    assert_eq!(
        unknown("one\n{{ dss }}{{ xy() }}{{ inlet_events }}"),
        [
            "template of `bash_command`, line 2: there is no variable `dss` here; did you mean `ds`?",
            "template of `bash_command`, line 2: there is no function `xy` here: macros of your own belong in the \
             DAG's `user_defined_macros`",
            "template of `bash_command`, line 2: `inlet_events` is not supported: what happened to assets that the run was \
             made for is in triggering_asset_events",
        ]
    );
    assert_eq!(
        unknown("{{ lipsum() }}{{ self.title() }}"),
        [
            "template of `bash_command`, line 1: `lipsum` is not supported: it makes up other words each time: write the text",
            "template of `bash_command`, line 1: `self` is not supported: there are no blocks here: what is to be shown twice \
             can be a macro of the template",
        ]
    );
    for template in [
        "{{ mine(1) }} {{ mine }} {{ params.x }} {{ dag_run.conf['x'] }} {{ range(3) }} {{ ts_nodash_with_tz }}",
        "{{ nope | default('x') }} {{ nope | d }} {{ ds | default(nope) }}",
        "{% if nope is defined %}{{ nope }}{% endif %} {{ nope if nope is defined }}",
        "{{ nope is none }} {{ nope is not defined or nope }} {{ true and nope }} {{ ds is defined and nope }}",
        "{% set nope = 1 %}{{ nope }} {% set x, y = [1, 2] %}{{ x }}{{ y }}",
        "{% set x = nope %}{{ x | default(1) }} {% with z = nope %}{{ z is defined }}{% endwith %}",
        "{% for x in [1] %}{{ x }}{{ loop.index }}{{ nope }}{% endfor %}",
        "{% macro f(a) %}{{ a }}{{ caller() }}{{ nope }}{% endmacro %}{{ f(other) }}",
        "{% from 'x.j2' import nope, other as more %}{{ nope() }}{{ more }} {% import 'y.j2' as lib %}{{ lib.f() }}",
        "{{ [nope] | length }} {{ dict(a=nope) | length }}",
        "{% if ds %}{{ nope }}{% elif nope %}{% endif %}",
        "no template, {{ unreadable",
    ] {
        assert_eq!(unknown(template), [""; 0], "{template}");
    }
    // Which arguments of a class are templates, only it knows.
    let args = json!({"command": "{{ nope }}"}).as_object().cloned().unwrap();
    assert_eq!(catalog::unknown_names("my.Operator", &args, &[]), []);
}

#[test]
fn an_attribute_that_there_is_not_is_found_where_it_is_certain_that_it_is_asked_for() {
    use updraft_operators::template::check;
    for (template, refused) in [
        (
            "{{ ti.task_id }} {{ task.pool }} {{ dag.tags }} {{ dag_run.note }} {{ macros.ds_add(ds, 1) }}",
            None,
        ),
        (
            "{{ ti.xcom_pull('a') }} {{ ti.log_url }} {{ params.anything }} {{ var.value.x }} {{ conn.db.host }}",
            None,
        ),
        (
            "\n{{ ti.log_uri }}",
            Some("line 2: the attribute 'log_uri' of a RuntimeTaskInstance is not supported"),
        ),
        ("{{ ds }}{{ macros.datediff(1) }}", Some("macros.datediff is not supported")),
        ("{{ task_instance.hostname | upper }}", Some("'hostname' of a RuntimeTaskInstance")),
        ("{{ dag_run.nope is defined }}{{ dag.nope | default(1) }}", None),
        ("{% if ti.nope %}{% endif %}{% for x in [] %}{{ ti.nope }}{% endfor %}{{ 1 or ti.nope }}", None),
        ("{% macro m(x=ti.nope) %}{{ ti.nope }}{% endmacro %}{{ 1 if 1 else ti.nope }}", None),
        ("{% set ti = namespace(nope=1) %}{{ ti.nope }}", None),
        ("{% for dag in [] %}{% endfor %}{{ dag.nope }}", None),
        ("{% for x in dag.nope %}{% endfor %}", Some("'nope' of a DAG")),
        ("{{ 1 is nope }}", Some("there is no test `nope`")),
        ("{% if 1 is nope %}{% endif %}", None),
    ] {
        let found = check("env", &json!(template)).map_err(|error| error.to_string());
        match (found, refused) {
            (Ok(()), None) => {}
            (Err(error), Some(refused)) if error.contains(refused) => {}
            (found, _) => panic!("{template}: {found:?}"),
        }
    }
}

#[test]
fn the_value_of_a_variable_may_be_a_template_itself() {
    let secret = |value: &str| Variable { value: value.into(), secret: false };
    let world = World {
        variables: [
            ("day", secret("{{ ds }} of {{ var.value.region }}\n")),
            ("region", secret("north {{ ds }}\n")),
            ("again", secret("{{ var.value.again | as_template }}")),
            ("broken", secret("{{ ds")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        ..World::default()
    };
    let of = |name: &str| render(&world, &json!(format!("{{{{ var.value.{name} | as_template }}}}")));
    assert_eq!(of("day").unwrap(), "2026-01-31 of north {{ ds }}\n");
    assert!(render(&world, &json!("{% set x = 1 %}{{ '{{ x }}' | as_template }}")).is_err());
    assert!(of("again").unwrap_err().reason.contains("can't have another one in it"));
    assert!(of("broken").unwrap_err().reason.contains("in a template that is a value here: "));
}

#[test]
fn what_a_value_of_the_context_has_not_is_found_before_there_is_a_run() {
    use updraft_operators::template::check;
    for (template, refused) in [
        ("{{ ds.foo() }}", "'str object' has no attribute 'foo'"),
        ("{{ ds.foo }}", "'str object' has no attribute 'foo'"),
        ("\n{{ ti.task_id.upper().foo() }}", "line 2: 'str object' has no attribute 'foo'"),
        ("{{ run_id.casefold() }}", "the method 'casefold' of 'str' is not supported"),
        ("{{ macros.ds_add(ds, 1).foo() }}", "'str object' has no attribute 'foo'"),
        ("{{ logical_date.foo() }}", "has no attribute 'foo'"),
        ("{{ logical_date.add(days=1).strftime('%Y').foo() }}", "'str object' has no attribute 'foo'"),
        ("{{ dag_run.logical_date.is_past() }}", "'is_past' of a datetime is not supported"),
        ("{{ data_interval_start.year() }}", "'year' can't be called: 'int' object is not callable"),
        ("{{ ti.task_id() }}", "'task_id' can't be called: 'str' object is not callable"),
        ("{{ macros.datetime.utcfromtimestamp(0) }}", "macros.datetime.utcfromtimestamp is not supported"),
        ("{{ macros.datetime.now().add(days=1) }}", "has no attribute 'add'"),
        (
            "{{ macros.json.dump(1) }}",
            "macros.json.dump is not supported; did you mean `dumps`?: there are dumps, loads",
        ),
        ("{{ conn.shop.hostname }}", "'Connection object' has no attribute 'hostname'"),
        ("{{ conn.shop.get_uri() }}", "`get_uri` is not supported"),
        ("{{ var.my_name }}", "the variable of this name is var.value.my_name"),
        ("{{ ti.xcom_push('a', 1) }}", "the method 'xcom_push'"),
        ("{{ ti.xcom_pull('a', include_prior_dates=True) }}", "name the run by `run_id`"),
        (
            "{{ ti.duration }}",
            "of a RuntimeTaskInstance is not supported: an attempt that runs has no length yet",
        ),
        ("{{ dag_run.execution_date }}", "Airflow 3 has none either: use dag_run.logical_date"),
    ] {
        let found = check("env", &json!(template)).expect_err(template).to_string();
        assert!(found.contains(refused), "{template}: {found}");
        // And so it is when it is rendered.
        error(template);
    }
    for template in [
        "{{ ds.upper() }}{{ ds.format }}{{ ts.split('T')[0] }}{{ run_id.nope is defined }}{{ ds.nope | default(1) }}",
        "{{ logical_date.add(days=1).year }}{{ macros.datetime.now().year }}{{ macros.timedelta(days=1).days }}",
        "{{ macros.datetime.utcnow().isoformat() }}{{ macros.datetime.today().date() }}",
        "{{ ti.start_date.isoformat() }}{{ ti.end_date }}{{ ti.state }}{{ dag_run.start_date }}{{ dag_run.end_date }}",
        "{{ ti.state.value }}{{ dag_run.run_type.value }}{{ dag_run.conf.get('a') }}{{ params.x.y.z() }}",
        "{{ conn.shop.host.upper() }}{{ conn.shop.extra_dejson.a.b }}{{ conn.get('shop').x }}{{ var.json.a.b.c }}",
        "{{ var.value.a.upper() }}{{ var.value.get('a') }}{{ var.get('value') }}{{ prev_start_date_success is none }}",
        "{% set ds = namespace(foo=1) %}{{ ds.foo }}{% if ds %}{{ ds.foo() }}{% endif %}{% set x = ds.foo %}",
        "{{ ti.xcom_pull('a', include_prior_dates=False).a.b() }}{{ ti.xcom_pull('a')[0].b }}",
    ] {
        assert_eq!(check("env", &json!(template)), Ok(()), "{template}");
    }
    let now = render(&World::default(), &json!("{{ macros.datetime.utcnow().isoformat() }}")).unwrap();
    let now: jiff::civil::DateTime = now.as_str().unwrap().parse().unwrap();
    let now = now.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    assert!(now.duration_until(jiff::Timestamp::now()).abs() < jiff::SignedDuration::from_mins(1), "{now}");
}

#[test]
fn what_pendulum_has_and_these_dates_have_not_is_refused_by_name() {
    for (template, told) in [
        ("{{ logical_date.next() }}", "'next' of a datetime is not supported: count days from day_of_week"),
        (
            "{{ logical_date.previous() }}",
            "'previous' of a datetime is not supported: count days from day_of_week",
        ),
        (
            "{{ logical_date.to_rss_string() }}",
            "'to_rss_string' of a datetime is not supported: use strftime",
        ),
        (
            "{{ logical_date.is_past() }}",
            "'is_past' of a datetime is not supported: it is another at each try",
        ),
        ("{{ logical_date.is_leap_year() }}", "let a function of `user_defined_macros` do it"),
        ("{{ logical_date.nextt() }}", "has no attribute 'nextt'"),
        ("{{ 1 + +1 }}", "unexpected `+`: as a sign it is not supported, leave it out"),
        ("echo ${#NAME}", "write `{% raw %}${#name}{% endraw %}`"),
    ] {
        assert!(error(template).contains(told), "{template}: {}", error(template));
    }
}

#[test]
fn all_attributes_that_may_be_written_are_there() {
    let order = order("BashOperator", Value::Null);
    let world = World::default();
    for (of, names) in updraft_operators::template::ATTRIBUTES {
        for name in names {
            let template = json!(format!("{{% set x = {of}.{name} %}}"));
            match Renderer::new(&order, &world).unwrap().render("env", &template, &[]) {
                Ok(_) => {}
                Err(error) => assert!(error.to_string().contains("server.base_url"), "{of}.{name}: {error}"),
            }
        }
    }
}
