//! What a PostgreSQL server says beside its answers (`RAISE NOTICE`): sqlx tells it to `tracing` alone, and here it goes to
//! the task's log.

use std::{
    cell::RefCell,
    sync::{Arc, OnceLock},
};

use futures_util::{StreamExt, stream::BoxStream};
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    dispatcher::{get_default, with_default},
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

use crate::work::TaskLog;

/// Where sqlx tells of them.
const TARGET: &str = "sqlx::postgres::notice";

thread_local! {
    /// What was heard while a stream was polled.
    static HEARD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The same items; what the server says meanwhile is written to this log.
pub(super) fn heard<'a, T: 'a>(mut items: BoxStream<'a, T>, log: Arc<dyn TaskLog>) -> BoxStream<'a, T> {
    static HEARER: OnceLock<Dispatch> = OnceLock::new();
    futures_util::stream::poll_fn(move |context| {
        let hearer = HEARER.get_or_init(|| Dispatch::new(Hearer { others: get_default(Dispatch::clone) }));
        let polled = with_default(hearer, || items.poll_next_unpin(context));
        HEARD.take().iter().for_each(|said| log.line(said));
        polled
    })
    .boxed()
}

/// Takes what servers say, and leaves all else to whom it goes otherwise.
struct Hearer {
    others: Dispatch,
}

impl Subscriber for Hearer {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, of: &Metadata<'_>) -> bool {
        if of.target() == TARGET { *of.level() <= Level::INFO } else { self.others.enabled(of) }
    }

    fn event(&self, event: &Event<'_>) {
        let of = event.metadata();
        if of.target() != TARGET {
            return self.others.event(event);
        }
        let severity = if *of.level() == Level::INFO { "NOTICE" } else { "WARNING" };
        let mut words = Words(String::new());
        event.record(&mut words);
        HEARD.with_borrow_mut(|heard| heard.push(format!("{severity}: {}", words.0)));
    }

    fn new_span(&self, of: &span::Attributes<'_>) -> span::Id {
        self.others.new_span(of)
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        self.others.record(span, values);
    }

    fn record_follows_from(&self, span: &span::Id, follows: &span::Id) {
        self.others.record_follows_from(span, follows);
    }

    fn enter(&self, span: &span::Id) {
        self.others.enter(span);
    }

    fn exit(&self, span: &span::Id) {
        self.others.exit(span);
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        self.others.clone_span(id)
    }

    fn try_close(&self, id: span::Id) -> bool {
        self.others.try_close(id)
    }
}

/// The text of an event.
struct Words(String);

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push_str(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0.push_str(&format!("{value:?}"));
        }
    }
}
