//! The process that calls a function of its author's about a task or a run (Airflow's `on_*_callback`): the runner, as for
//! `PythonOperator`, with the context as the function's one positional argument.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use updraft_core::{
    Callback, CallbackOn, XcomValue,
    input::Outcome,
    protocol::{Call, Order},
};

use super::{context, folders, objects, runner};
use crate::{
    files::Files,
    prepare::folder,
    template::isoformat,
    work::{ProcessPlan, ResultRule},
};

/// What a callback is told of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What it is called on.
    pub on: CallbackOn,
    /// When the attempt began.
    pub began: Timestamp,
    /// How it ended and when, if it is over.
    pub ended: Option<(&'a Outcome, Timestamp)>,
}

/// The process that calls a function about an attempt. Its exit code says whether it went well. As in Airflow, its
/// arguments are no templates.
pub fn call(order: &Order, files: &Files, callback: &Callback, told: Told<'_>) -> ProcessPlan {
    process(order, files, callback, &told.as_json())
}

/// The same about a run that is over.
pub fn call_of_run(call: &Call, files: &Files) -> ProcessPlan {
    let lasted = call.ti_started_at.zip(call.ti_ended_at);
    let told = json!({
        "state": call.ti_state.as_str(),
        "start_date": call.ti_started_at.map(isoformat),
        "end_date": call.ti_ended_at.map(isoformat),
        "duration": lasted.map(|(began, ended)| ended.duration_since(began).as_secs_f64()),
        "exception": null,
        "reason": call.reason,
        "left": {},
        "large": [],
        "run": {"state": call.run_state.as_str(), "end_date": isoformat(call.run_ended_at)},
    });
    process(&call.order, files, &call.callback, &told)
}

fn process(order: &Order, files: &Files, callback: &Callback, told: &Value) -> ProcessPlan {
    let function = match &callback.file {
        None => json!({"dotted": callback.function}),
        Some(file) => json!({"name": callback.function, "file": folder(order).join(file)}),
    };
    let orders = json!({
        "callable": function,
        "folders": folders(order, files),
        "mode": "callback",
        "op_kwargs": callback.kwargs,
        "objects": objects(&callback.kwargs, &[json!("op_kwargs")]),
        "templates_dict": null,
        "context": context(order),
        "told": told,
    });
    runner(order, &orders, ResultRule::None)
}

impl Told<'_> {
    fn as_json(&self) -> Value {
        let message = self.ended.and_then(|(outcome, _)| outcome.message.as_deref());
        let mut left = Map::new();
        let mut large = Vec::new();
        for (name, value) in self.ended.into_iter().flat_map(|(outcome, _)| &outcome.xcoms) {
            match value {
                XcomValue::Inline(value) => drop(left.insert(name.clone(), (**value).clone())),
                // Whoever wants it has to wait until the server has it.
                XcomValue::Blob { .. } => large.push(name),
            }
        }
        let failed = matches!(self.on, CallbackOn::Failure | CallbackOn::Retry);
        json!({
            "state": state(self.on),
            "start_date": isoformat(self.began),
            "end_date": self.ended.map(|(_, at)| isoformat(at)),
            "duration": self.ended.map(|(_, at)| at.duration_since(self.began).as_secs_f64()),
            "exception": message.filter(|_| failed),
            "reason": message,
            "left": left,
            "large": large,
        })
    }
}

/// The task instance's state, as Airflow has it while it calls this.
fn state(on: CallbackOn) -> &'static str {
    match on {
        CallbackOn::Execute => "running",
        CallbackOn::Success => "success",
        CallbackOn::Failure => "failed",
        CallbackOn::Retry => "up_for_retry",
        CallbackOn::Skipped => "skipped",
    }
}
