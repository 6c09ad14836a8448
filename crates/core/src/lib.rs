//! The pure heart of Updraft: DAGs, runs and task instances as data, and the function that schedules them.
//!
//! # Architecture Invariant
//!
//! Nothing here reads a clock, draws a random number, touches a file or a socket, or waits. Whatever
//! happens comes in as an input with the time at which it happened; whatever is to be done goes out as
//! data. `clippy.toml` beside this crate bans the calls that would break this.

mod asset;
pub mod condition;
pub mod dag;
pub mod engine;
mod id;
pub mod input;
pub mod jinja;
pub mod log;
pub mod nearest;
pub mod numbers;
pub mod protocol;
mod rate;
pub mod record;
mod retry;
pub mod schedule;
mod state;
pub mod trigger_rule;

pub use self::{
    asset::{Asset, AssetCondition, AssetEvent, AssetEventSource},
    condition::Condition,
    dag::{
        AlertChannel, AlertOn, AlertSpec, AlertWords, Bundle, Callback, CallbackOn, Dag, DagSpec, Deadline,
        DeadlineFrom, EdgeSpec, GroupSpec, InvalidDag, Labels, MapSource, Mapping, OnDoubt, OnLeaseLoss,
        Param, ResultArg, RetryPolicy, Role, TaskKind, TaskSpec, TriggerRule, WaitRule, WebhookTarget,
        WeightRule, callback_reason, put_arguments,
    },
    engine::{ALERT_NAMES, Config, Engine, Output, WorkerSeen, WorkerState},
    id::{
        AssetEventId, AssetId, AssetUri, AttemptId, BadAttemptId, DagId, DagKey, DeliveryId, GroupId,
        Incarnation, MapIndex, Namespace, Owner, PoolName, QueueName, RunId, RunKey, TaskId, TaskIx, TiKey,
        WorkerId,
    },
    rate::{BadRate, Rate},
    record::XcomValue,
    state::{
        Assignment, End, IllegalTransition, RunState, TiEvent, TiState, TiStateName, UnknownState, Wait,
    },
};
