//! The names and numbers by which things are known. Each is a type of its own, so that a run can't be
//! asked for by a task's id.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}

names! {
    /// An environment or a team. Everything that has a name has it within a namespace.
    Namespace;
    /// A DAG's name, unique within its namespace.
    DagId;
    /// A run's name, unique within its DAG: `scheduled__2026-01-01T00:00:00+00:00`, `manual__…`.
    RunId;
    /// A task's name, unique within its DAG; tasks of a group carry the group's name and a dot before.
    TaskId;
    /// A task group's name, with those of the groups around it.
    GroupId;
    /// Who a DAG and its runs belong to; competing owners share the slots fairly.
    Owner;
    /// A pool of slots that task instances take while they run.
    PoolName;
    /// The queue a task waits in; workers say which queues they serve.
    QueueName;
    /// What an asset is known by within its namespace: `s3://shop/orders.csv`, or a plain name.
    AssetUri;
    /// A worker, by the name under which it joins. It outlives the process: see [`Incarnation`].
    WorkerId;
}

impl Namespace {
    /// The namespace that answers at `/api/v2`.
    pub const DEFAULT: &'static str = "default";
}

impl Default for Namespace {
    fn default() -> Self {
        Self::DEFAULT.into()
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

numbers! {
    /// A run's number, given once and never again, in the order in which runs were made.
    RunKey(i64);
    /// A task's place in the list of its DAG version's tasks.
    TaskIx(u32);
    /// Which copy of a mapped task; [`MapIndex::NONE`] for a task that is not mapped, or not yet.
    MapIndex(i32);
    /// One life of a worker process, told apart from the lives before it.
    Incarnation(i64);
    /// An alert or another delivery in the outbox.
    DeliveryId(i64);
    /// An asset's number, given when the first DAG names it.
    AssetId(i64);
    /// The number of something that happened to an asset.
    AssetEventId(i64);
}

impl MapIndex {
    /// Not a copy of a mapped task (Airflow's -1).
    pub const NONE: Self = Self(-1);
}

impl TaskIx {
    /// As an index into the DAG's list of tasks.
    pub fn usize(self) -> usize {
        self.0 as usize
    }
}

/// A DAG, wherever it is looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DagKey {
    /// The namespace the DAG is in.
    pub namespace: Namespace,
    /// Its name there.
    pub dag_id: DagId,
}

impl DagKey {
    /// The DAG of this name in this namespace.
    pub fn new(namespace: impl Into<Namespace>, dag_id: impl Into<DagId>) -> Self {
        Self { namespace: namespace.into(), dag_id: dag_id.into() }
    }
}

impl fmt::Display for DagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if &*self.namespace == Namespace::DEFAULT {
            write!(f, "{}", self.dag_id)
        } else {
            write!(f, "{}/{}", self.namespace, self.dag_id)
        }
    }
}

/// A task instance: one task of one run, or one copy of it where the task is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TiKey {
    /// The run.
    pub run: RunKey,
    /// The task.
    pub task: TaskIx,
    /// The copy.
    pub map_index: MapIndex,
}

/// One handing-out of a task instance to a worker. A report counts only if all of this is what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task instance.
    pub ti: TiKey,
    /// Airflow's `try_number`, from 1.
    pub try_number: u32,
    /// Counts the hand-outs of this task instance, from 1. It goes up with each, also where a rescheduled
    /// sensor keeps its `try_number`.
    pub lease: u32,
}

impl AttemptId {
    /// What asks for variables and the like while a function is called about a run, as if it were the last attempt of this
    /// task instance: no attempt has this lease.
    pub fn of_call(ti: TiKey, try_number: u32) -> Self {
        Self { ti, try_number, lease: 0 }
    }

    /// Whether it is [such](Self::of_call).
    pub fn is_of_call(self) -> bool {
        self.lease == 0
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TiKey { run, task, map_index } = self.ti;
        write!(f, "{run}.{task}.{map_index}.{}.{}", self.try_number, self.lease)
    }
}

/// A text that is no [`AttemptId`].
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no attempt id: expected run.task.map_index.try_number.lease")]
pub struct BadAttemptId(String);

impl std::str::FromStr for AttemptId {
    type Err = BadAttemptId;

    fn from_str(text: &str) -> Result<Self, BadAttemptId> {
        let parse = || {
            let mut parts = text.split('.');
            let ti = TiKey {
                run: RunKey(parts.next()?.parse().ok()?),
                task: TaskIx(parts.next()?.parse().ok()?),
                map_index: MapIndex(parts.next()?.parse().ok()?),
            };
            let id = Self { ti, try_number: parts.next()?.parse().ok()?, lease: parts.next()?.parse().ok()? };
            parts.next().is_none().then_some(id)
        };
        parse().ok_or_else(|| BadAttemptId(text.into()))
    }
}
