//! The functions that a DAG has for its templates (`user_defined_macros`), or a sensor for what it sees: each call is a process of its own, which is
//! guarded, marked and masked as the attempt's. What it prints is in the attempt's log.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::watch;
use updraft_core::{
    XcomValue,
    input::{AttemptEnd, Outcome},
    protocol::Order,
};
use updraft_operators::{
    Asked, HostError,
    work::{Functions, ProcessPlan},
};

use super::attempt::{Tools, judge, log_file, process_spec};
use crate::process::{self, Masks};

/// So long may one call take.
const LIMIT: Duration = Duration::from_secs(60);

/// One that takes too long, or is wanted no more, may go on for so long after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Calls functions for work that is no process.
pub(super) struct Caller {
    pub order: Arc<Order>,
    pub tools: Arc<Tools>,
    pub masks: Masks,
}

impl Functions for Caller {
    fn call(&self, plan: ProcessPlan) -> Asked<'_, Value> {
        let (order, tools, masks) = (self.order.clone(), self.tools.clone(), self.masks.clone());
        Box::pin(async move {
            // Whoever waits no more drops this with the future, and so ends the process.
            let (_still_wanted, wanted) = watch::channel(());
            let called = async move { call_macro(&order, &tools, &plan, masks, wanted).await };
            let called = tokio::spawn(called).await;
            called
                .unwrap_or_else(|error| Err(HostError(format!("the function could not be called: {error}"))))
        })
    }
}

/// Calls one and waits for what it returns, as long as the other end of `wanted` is there.
pub(super) async fn call_macro(
    order: &Arc<Order>,
    tools: &Arc<Tools>,
    plan: &ProcessPlan,
    masks: Masks,
    mut wanted: watch::Receiver<()>,
) -> Result<Value, HostError> {
    let failed = |why: &str| HostError(format!("the function {why}"));
    let log = log_file(order, tools);
    let (mut spec, _granted) =
        process_spec(order, tools, &order.attempt.to_string(), plan, masks, log.clone())
            .map_err(|why| failed(&why))?;
    spec.timeout = Some(LIMIT);
    spec.kill_grace = GRACE;
    let running = tools.spawner.spawn(spec).await;
    let running = running.map_err(|error| failed(&format!("could not be called: {error}")))?;
    let control = running.control();
    let ended = running.wait();
    tokio::pin!(ended);
    let ended = tokio::select! {
        ended = &mut ended => ended,
        _ = wanted.changed() => {
            control.kill(GRACE);
            ended.await
        }
    };
    let ended = ended.map_err(|error| failed(&error.to_string()))?;
    if ended.outcome == process::Outcome::TimedOut {
        return Err(failed(&format!("took longer than {LIMIT:?} and was ended")));
    }
    let Outcome { end, message, xcoms, .. } = judge(order, plan, ended, &log).await;
    if end != AttemptEnd::Success {
        return Err(failed(&format!("failed: {}", message.unwrap_or_else(|| "it was ended".into()))));
    }
    // It may have been given `ti`, and have left other values: these are for nobody, as there is no result yet.
    match xcoms.into_iter().find(|(name, _)| name == "return_value") {
        Some((_, XcomValue::Inline(value))) => Ok(Value::clone(&value)),
        Some((_, XcomValue::Blob { .. })) | None => Ok(Value::Null),
    }
}
