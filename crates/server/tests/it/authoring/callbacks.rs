//! Callbacks: functions of one's own, and the notifiers of Airflow's providers, which become alerts.

use serde_json::{Value, json};
use updraft_core::{AlertChannel, AlertOn, AlertSpec, AlertWords, TaskKind};

use super::{dag, errors, messages, read, task};

fn slack(on: AlertOn, text: &str, channel: Option<&str>) -> AlertSpec {
    let channel = AlertChannel::Slack { conn_id: "chat".into(), channel: channel.map(Into::into) };
    let words = AlertWords { text: Some(text.into()), ..AlertWords::default() };
    AlertSpec { words, ..AlertSpec::new(on, channel) }
}

#[test]
fn notifiers_tell_by_the_ways_of_alerts() {
    let dag = dag("d:
  default_args:
    on_retry_callback: {callback: airflow.providers.slack.notifications.slack_webhook.SlackWebhookNotifier, slack_webhook_conn_id: chat, text: again}
    on_failure_callback:
      callback: airflow.providers.slack.notifications.slack.send_slack_notification
      slack_conn_id: chat
      text: '{{ ti.task_id }}: {{ exception }}'
      channel: '#ops'
  on_success_callback:
    __type__: airflow.providers.smtp.notifications.smtp.SmtpNotifier
    to: [a@x.org, b@x.org]
    cc: c@x.org
    bcc: d@x.org
    subject: '{{ run_id }}'
    html_content: <b>done</b>
  tasks:
    plain: {operator: empty}
    other:
      operator: empty
      on_retry_callback: null
      on_failure_callback:
      - {callback: airflow.providers.smtp.notifications.smtp.send_smtp_notification, to: c@x.org}
      - {callback: airflow.providers.slack.notifications.slack.SlackNotifier, slack_conn_id: chat, text: 'no'}
");
    let mail = |to: &[&str]| AlertChannel::email(to.iter().map(|&to| to.to_owned()).collect());
    let words =
        AlertWords { subject: Some("{{ run_id }}".into()), text: Some("<b>done</b>".into()), html: true };
    let all = |all: &[&str]| all.iter().map(|&to| to.to_owned()).collect();
    let (to, cc, bcc) = (all(&["a@x.org", "b@x.org"]), all(&["c@x.org"]), all(&["d@x.org"]));
    let done = AlertSpec { words, ..AlertSpec::new(AlertOn::Success, AlertChannel::Email { to, cc, bcc }) };
    assert_eq!(dag.alerts, [done]);
    let failed = slack(AlertOn::Failure, "{{ ti.task_id }}: {{ exception }}", Some("#ops"));
    assert_eq!(task(&dag, "plain").alerts, [failed, slack(AlertOn::Retry, "again", None)]);
    let told = AlertSpec::new(AlertOn::Failure, mail(&["c@x.org"]));
    assert_eq!(task(&dag, "other").alerts, [told, slack(AlertOn::Failure, "no", Some("#general"))]);
}

/// A task's functions, as its spec has them.
fn functions(yaml: &str, id: &str) -> Value {
    serde_json::to_value(&task(&dag(yaml), id).callbacks).unwrap()
}

const OWN: &str = "d:
  default_args:
    on_retry_callback: callbacks.tell
    on_failure_callback_name: tell
    on_failure_callback_file: callbacks.py
  task_groups:
    group: {default_args: {on_success_callback: callbacks.of_group}}
  tasks:
    plain: {operator: bash, bash_command: x}
    other:
      operator: bash
      bash_command: x
      on_retry_callback: null
      on_failure_callback: {callback: my.callbacks.tell, to: crew, times: [1, '{{ ds }}']}
      on_execute_callback: [callbacks.first, {callback: callbacks.second}]
    grouped: {operator: bash, bash_command: x, task_group_name: group}
    mapped:
      operator: bash
      expand: {bash_command: [a, b]}
      partial: {on_skipped_callback: callbacks.tell, on_failure_callback: null}
    both:
      operator: bash
      bash_command: x
      on_failure_callback:
      - callbacks.tell
      - {callback: airflow.providers.smtp.notifications.smtp.SmtpNotifier, to: a@x.org}
";

#[test]
fn functions_are_called_on_what_the_nearest_says() {
    let failure = json!({"on": "failure", "function": "tell", "file": "callbacks.py"});
    let retry = json!({"on": "retry", "function": "callbacks.tell"});
    assert_eq!(functions(OWN, "plain"), json!([failure, retry]));
    let expected = json!([
        {"on": "execute", "function": "callbacks.first"},
        {"on": "execute", "function": "callbacks.second"},
        {"on": "failure", "function": "my.callbacks.tell", "kwargs": {"to": "crew", "times": [1, "{{ ds }}"]}},
    ]);
    assert_eq!(functions(OWN, "other"), expected);
    let success = json!({"on": "success", "function": "callbacks.of_group"});
    assert_eq!(functions(OWN, "group.grouped"), json!([failure, retry, success]));
    let skipped = json!({"on": "skipped", "function": "callbacks.tell"});
    assert_eq!(functions(OWN, "mapped"), json!([retry, skipped]));
    assert_eq!(functions(OWN, "both"), json!([{"on": "failure", "function": "callbacks.tell"}, retry]));
    assert_eq!(task(&dag(OWN), "both").alerts.len(), 1);
}

#[test]
fn a_worker_has_what_has_callbacks_of_its_success() {
    let kind = |task_of: &str| {
        let dag = dag(&format!("d: {{tasks: {{t: {{{task_of}}}}}}}"));
        task(&dag, "t").kind.clone()
    };
    assert_eq!(kind("operator: empty, on_success_callback: a.b"), TaskKind::Run);
    assert_eq!(kind("operator: wait, seconds: 1, on_execute_callback: a.b"), TaskKind::Watch);
    assert_eq!(kind("operator: empty, on_failure_callback: a.b"), TaskKind::Empty);
    assert!(matches!(kind("operator: wait, seconds: 1, on_retry_callback: a.b"), TaskKind::Wait(_)));
}

#[test]
fn what_a_dag_has_called_about_its_runs_is_among_its_alerts() {
    let dag = dag("d:
  alerts: [{on: failure, sms: '+1'}]
  on_failure_callback:
  - my.callbacks.tell
  - {callback: airflow.providers.smtp.notifications.smtp.SmtpNotifier, to: a@x.org}
  - {callback: my.callbacks.more, to: crew, times: [1, '{{ ds }}']}
  on_success_callback: this.counts_less
  on_success_callback_name: done
  on_success_callback_file: callbacks.py
  tasks: {t: {operator: empty}}
");
    let called: Vec<Value> =
        dag.alerts.iter().map(|alert| json!([alert.on, alert.channel, alert.on_doubt])).collect();
    let function = |function: Value| json!({"callback": function});
    let more = json!({
        "on": "failure", "function": "my.callbacks.more", "kwargs": {"to": "crew", "times": [1, "{{ ds }}"]},
    });
    let done = json!({"on": "success", "function": "done", "file": "callbacks.py"});
    let expected = [
        json!(["failure", {"sms": {"to": "+1", "conn_id": "sms_default"}}, "resend"]),
        json!(["failure", {"email": {"to": ["a@x.org"]}}, "resend"]),
        json!(["failure", function(json!({"on": "failure", "function": "my.callbacks.tell"})), "resend"]),
        json!(["failure", function(more), "resend"]),
        json!(["success", function(done), "resend"]),
    ];
    assert_eq!(called, expected);
    assert!(task(&dag, "t").callbacks.is_empty());
}

#[test]
fn what_a_run_can_not_call_is_told() {
    for (keys, expected) in [
        (
            "on_failure_callback: tell",
            "`tell` is no path to a Python function: write package.module.function",
        ),
        (
            "on_success_callback_name: b",
            "needs both `on_success_callback_name` and `on_success_callback_file`",
        ),
        ("on_success_callback_file: a.py", "needs both `on_success_callback_name` and"),
        ("on_sla_callback: a.b", "about runs there are `on_failure_callback` and `on_success_callback`"),
    ] {
        let found = errors(&format!("d: {{{keys}, tasks: {{t: {{operator: empty}}}}}}"));
        assert!(found.len() == 1 && found[0].contains(expected), "{keys}: {found:?}");
    }
    let reading = read("d: {on_execute_callback: a.b, tasks: {t: {operator: empty}}}");
    let warnings = messages(&reading.dags[0].warnings);
    assert!(warnings[0].contains("`on_execute_callback` has no effect"), "{warnings:?}");
}

#[test]
fn what_is_no_function_or_can_not_be_said_is_refused() {
    let of = |callback: &str| {
        errors(&format!("d: {{tasks: {{t: {{operator: empty, on_failure_callback: {callback}}}}}}}"))
    };
    for (callback, expected) in [
        ("tell", "`tell` is no path to a Python function: write package.module.function"),
        ("'my module.tell'", "is no path to a Python function"),
        (
            "airflow.providers.discord.notifications.discord.DiscordNotifier",
            "is not here: Airflow's notifiers",
        ),
        ("{param: 1}", "expected a callback's name"),
        (
            "{__type__: airflow.providers.smtp.notifications.smtp.SmtpNotifier, __args__: [a@x.org]}",
            "a notifier's arguments have names here",
        ),
        (
            "{callback: airflow.providers.smtp.notifications.smtp.SmtpNotifier}",
            "this names nobody: write `to`",
        ),
        (
            "{callback: airflow.providers.smtp.notifications.smtp.SmtpNotifier, to: a@x.org, sender: b@x.org}",
            "`sender` can't be had here",
        ),
        (
            "{callback: airflow.providers.slack.notifications.slack.SlackNotifier, block: [x]}",
            "`block` can't be had here",
        ),
        ("{callback: airflow.providers.slack.notifications.slack.SlackNotifier, text: '{{ x'}", "text: "),
    ] {
        let found = of(callback);
        assert!(found.len() == 1 && found[0].contains(expected), "{callback}: {found:?}");
    }
    let notifier = "airflow.providers.slack.notifications.slack.SlackNotifier";
    for (keys, expected) in [
        (format!("on_execute_callback: {{callback: {notifier}}}"), "notifiers tell of failures"),
        ("on_retry_callback_name: tell".to_owned(), "needs both `on_retry_callback_name` and"),
        ("on_sla_callback: a.b".to_owned(), "there are `on_execute_callback`"),
    ] {
        let others = errors(&format!("d: {{tasks: {{t: {{operator: empty, {keys}}}}}}}"));
        assert!(others[0].contains(expected), "{others:?}");
    }
    let reading = read(
        "d: {tasks: {t: {operator: empty, on_failure_callback: {callback: airflow.providers.slack.notifications.slack.SlackNotifier, username: x, blocks: [x]}}}}",
    );
    let warnings = messages(&reading.dags[0].warnings);
    assert!(warnings[0].contains("`username` has no effect"), "{warnings:?}");
    assert!(warnings[1].contains("`blocks` has no effect: an alert is text"), "{warnings:?}");
}

/// A group gives its tasks callbacks by `default_args`; it has none of its own, in Airflow either.
#[test]
fn a_group_has_its_tasks_call_and_calls_nothing_itself() {
    let of_group = |keys: &str| {
        format!(
            "d: {{task_groups: {{g: {{{keys}}}}}, tasks: {{t: {{operator: empty, task_group_name: g}}}}}}"
        )
    };
    let named = "on_failure_callback_name: tell, on_failure_callback_file: callbacks.py";
    let called = functions(&of_group(&format!("doc_md: x, default_args: {{{named}}}")), "g.t");
    assert_eq!(called, json!([{"on": "failure", "function": "tell", "file": "callbacks.py"}]));
    for key in ["on_failure_callback: m.f", "on_success_callback_name: f", named] {
        let refused = errors(&of_group(key));
        assert!(
            refused[0].contains("can't be had here: write it in the group's `default_args`"),
            "{refused:?}"
        );
    }
}
