//! Who is to be told of what, and how.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::callback::Callback;

/// Somebody to be told of something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSpec {
    /// Of what.
    pub on: AlertOn,
    /// How.
    pub channel: AlertChannel,
    /// What is said; the usual words where it does not say.
    #[serde(default, skip_serializing_if = "AlertWords::is_usual")]
    pub words: AlertWords,
    /// What becomes of it where nobody knows whether it went out.
    #[serde(default, skip_serializing_if = "OnDoubt::is_resend")]
    pub on_doubt: OnDoubt,
    /// Of a DAG's alert on [`AlertOn::Deadline`]: when that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
}

impl AlertSpec {
    /// The usual words, and sent again where it is in doubt.
    pub fn new(on: AlertOn, channel: AlertChannel) -> Self {
        Self { on, channel, words: AlertWords::default(), on_doubt: OnDoubt::default(), deadline: None }
    }
}

/// What an alert tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertOn {
    /// It failed for good.
    Failure,
    /// It failed and will be tried again.
    Retry,
    /// It succeeded.
    Success,
    /// A run is not over by its deadline.
    Deadline,
    /// Ticks of the schedule passed without a run, and none will be made for them: nothing was there to make it,
    /// or `max_active_runs` was reached. Not where somebody had paused the DAG.
    Missed,
}

/// By when a run has to be over (Airflow 3's deadline alerts: a reference and an interval).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadline {
    /// Counted from here.
    pub from: DeadlineFrom,
    /// So long after it.
    pub after: SignedDuration,
}

/// What a deadline is counted from (Airflow's `DeadlineReference`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadlineFrom {
    /// The run's logical date (`DAGRUN_LOGICAL_DATE`). A run without one has no such deadline.
    LogicalDate,
    /// When the run was made, or made to begin again (`DAGRUN_QUEUED_AT`).
    #[default]
    QueuedAt,
    /// When the run began. Airflow has no such reference.
    StartedAt,
}

/// By what way an alert goes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AlertChannel {
    /// A mail.
    Email {
        /// To whom.
        to: Vec<String>,
        /// Who gets a copy.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cc: Vec<String>,
        /// Who gets a copy that the others don't see.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bcc: Vec<String>,
    },
    /// A message to a chat by an incoming webhook as Slack has it, or by Slack's API.
    Slack {
        /// The connection that has the webhook (Airflow's type `slackwebhook`), or a token of the API (`slack`).
        conn_id: String,
        /// Where it is shown: the API has to be told, and a webhook knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
    },
    /// What happened as JSON, posted to a web server.
    Webhook(WebhookTarget),
    /// A short message to one number.
    Sms {
        /// The number.
        to: String,
        /// The connection that describes the gateway (type `sms`).
        conn_id: String,
    },
    /// Nobody is told, but a function of a DAG's author is called, by a worker: Airflow's `on_failure_callback` and
    /// `on_success_callback` of a DAG.
    Callback(Callback),
}

impl AlertChannel {
    /// A mail to these, without copies.
    pub fn email(to: Vec<String>) -> Self {
        Self::Email { to, cc: Vec::new(), bcc: Vec::new() }
    }
}

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WebhookTarget {
    /// At this address.
    Url(String),
    /// Where this connection leads (type `http`), which can keep what is secret about it.
    ConnId(String),
}

/// What an alert says: Jinja over what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertWords {
    /// A mail's subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A mail's text is HTML.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub html: bool,
}

impl AlertWords {
    /// Whether it says what is usual.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of an alert that was on its way when its server ended: nobody knows whether it arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDoubt {
    /// It is sent again, under the same id: it comes at least once.
    #[default]
    Resend,
    /// It is held until a person decides: by itself it comes at most once.
    Hold,
}

impl OnDoubt {
    fn is_resend(&self) -> bool {
        *self == Self::Resend
    }
}
