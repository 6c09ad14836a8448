//! Callbacks: the notifiers of Airflow's providers become alerts.

use updraft_core::{AlertChannel, AlertOn, AlertSpec, AlertWords};

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
    let mail = |to: &[&str]| AlertChannel::Email { to: to.iter().map(|&to| to.to_owned()).collect() };
    let words =
        AlertWords { subject: Some("{{ run_id }}".into()), text: Some("<b>done</b>".into()), html: true };
    let done = AlertSpec { words, ..AlertSpec::new(AlertOn::Success, mail(&["a@x.org", "b@x.org"])) };
    assert_eq!(dag.alerts, [done]);
    let failed = slack(AlertOn::Failure, "{{ ti.task_id }}: {{ exception }}", Some("#ops"));
    assert_eq!(task(&dag, "plain").alerts, [failed, slack(AlertOn::Retry, "again", None)]);
    let told = AlertSpec::new(AlertOn::Failure, mail(&["c@x.org"]));
    assert_eq!(task(&dag, "other").alerts, [told, slack(AlertOn::Failure, "no", Some("#general"))]);
}

#[test]
fn what_is_python_or_can_not_be_said_is_refused() {
    let of = |callback: &str| {
        errors(&format!("d: {{tasks: {{t: {{operator: empty, on_failure_callback: {callback}}}}}}}"))
    };
    for (callback, expected) in [
        ("my.module.tell", "`my.module.tell` is Python and is not run yet"),
        ("{callback: my.smtp.notifications.SmtpNotifier, to: x}", "is Python and is not run yet"),
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
            "{callback: airflow.providers.smtp.notifications.smtp.SmtpNotifier, to: a@x.org, files: [x]}",
            "`files` can't be had here",
        ),
        (
            "{callback: airflow.providers.slack.notifications.slack.SlackNotifier, blocks: [x]}",
            "`blocks` can't be had here",
        ),
        ("{callback: airflow.providers.slack.notifications.slack.SlackNotifier, text: '{{ x'}", "text: "),
    ] {
        let found = of(callback);
        assert!(found.len() == 1 && found[0].contains(expected), "{callback}: {found:?}");
    }
    let others = errors("d: {tasks: {t: {operator: empty, on_execute_callback: x.y}}}");
    assert!(others[0].contains("`on_execute_callback` can't be had here"), "{others:?}");
    let reading = read(
        "d: {tasks: {t: {operator: empty, on_failure_callback: {callback: airflow.providers.slack.notifications.slack.SlackNotifier, username: x}}}}",
    );
    let warnings = messages(&reading.dags[0].warnings);
    assert!(warnings[0].contains("`username` has no effect"), "{warnings:?}");
}
