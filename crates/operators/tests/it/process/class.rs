//! Operators that are classes of their authors, where no Airflow is installed.

use serde_json::{Value, json};
use updraft_core::input::{AttemptEnd, Branch};

use super::{Api, Ran, prepared, run};
use crate::world::{World, order, with_run};

const CLASSES: &str = r#"
import datetime

from airflow.exceptions import AirflowSkipException
from airflow.models import BaseOperator, Variable
from airflow.operators.branch import BaseBranchOperator
from airflow.hooks.base import BaseHook
from airflow.sdk.bases.sensor import BaseSensorOperator, PokeReturnValue
from airflow.utils.decorators import apply_defaults


class MakeBread(BaseOperator):
    template_fields = ("bread_type", "steps", "query")
    template_ext = ".sql"

    @apply_defaults
    def __init__(self, bread_type, steps=(), query=None, oven="hot", raw=None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.bread_type = bread_type
        self.steps = steps
        self.query = query
        self.oven = oven
        self.raw = raw

    def execute(self, context):
        self.log.info("Make %s bread", self.bread_type)
        self.log.debug("unseen")
        context["ti"].xcom_push("oven", self.oven)
        return [self.bread_type, self.steps, self.query, self.raw, self.task_id, self.owner, context["task"] is self]


class Around(BaseOperator):
    def pre_execute(self, context):
        print("before")

    def execute(self, context):
        print("amid")
        return [Variable.get("bucket"), Variable.get("settings", deserialize_json=True), Variable.get("none", "d"),
                BaseHook.get_connection("lake").host]

    def post_execute(self, context, result):
        print("after", len(result))


class Looks(BaseSensorOperator):
    looked = 0

    def poke(self, context):
        self.looked += 1
        print("look", self.looked, self.mode)
        if self.looked == 2 and self.task_id == "extract" and self.timeout > 1:
            return PokeReturnValue(True, {"looked": self.looked})
        if self.exponential_backoff:
            raise ValueError("no good")


class Chooses(BaseBranchOperator):
    def choose_branch(self, context):
        return "left"


class Skips(BaseOperator):
    def execute(self, context):
        raise AirflowSkipException("nothing to do")


class Multiple(BaseOperator):
    def execute(self, context):
        self.multiple_outputs = True
        return {"a": 1, "b": [2]}


class Trigger:
    def __init__(self, says):
        self.says = says

    async def run(self):
        class Event:
            payload = self.says
        yield Event


class TaskDeferred(BaseException):
    def __init__(self, trigger, method_name, kwargs=None, timeout=None):
        self.trigger, self.method_name, self.kwargs, self.timeout = trigger, method_name, kwargs, timeout


class Defers(BaseOperator):
    def execute(self, context):
        raise TaskDeferred(Trigger("one"), "again", {"more": 1}, datetime.timedelta(seconds=5))

    def again(self, context, event, more):
        raise TaskDeferred(Trigger(event + " two"), "done")

    def done(self, context, event):
        return event


class Plain:
    """Airflow is not needed."""

    def __init__(self, task_id, word):
        self.word = word

    def execute(self, context):
        return [self.word, context["ds"]]


class TextFields(BaseOperator):
    template_fields = "bread_type"


class NoSuchField(BaseOperator):
    template_fields = ("bread_type",)


class Nothing:
    pass


def function():
    pass
"#;

fn class(name: &str, args: Value) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bakery")).unwrap();
    std::fs::write(folder.path().join("bakery/things.py"), CLASSES).unwrap();
    let order = with_run(order(&format!("bakery.things.{name}"), args), |run| {
        run.source = folder.path().join("d.yaml").to_string_lossy().into_owned();
    });
    run(&prepared(&order, &World::default()), Some(&Api::start()))
}

fn message(name: &str, args: Value) -> String {
    let ran = class(name, args);
    assert_eq!(ran.outcome.end, AttemptEnd::Failed, "{}", ran.output);
    ran.outcome.message.unwrap()
}

#[test]
fn its_templates_are_rendered_where_its_object_has_them() {
    let ran = class(
        "MakeBread",
        json!({
            "bread_type": "{{ ds }} rye", "steps": ["mix", {"rest": ["{{ ds }}"]}], "query": "all.sql", "raw": "{{ ds }}",
        }),
    );
    let steps = json!(["mix", {"rest": ["2026-01-31"]}]);
    let expected = json!(["2026-01-31 rye", steps, "select 2026-01-31", "{{ ds }}", "extract", "data", true]);
    assert_eq!((ran.outcome.end.clone(), ran.result()), (AttemptEnd::Success, expected), "{}", ran.output);
    assert_eq!(ran.xcom("oven"), "hot");
    assert!(ran.output.contains("INFO - Make 2026-01-31 rye bread"), "{}", ran.output);
    assert!(!ran.output.contains("unseen"), "{}", ran.output);
    let shown = json!({"bread_type": "2026-01-31 rye", "steps": steps, "query": "select 2026-01-31"});
    assert_eq!(ran.outcome.rendered, Some(shown));
}

#[test]
fn it_is_offered_default_arguments_and_takes_those_that_it_knows() {
    let args = json!({"bread_type": "rye", "default_args": {"oven": "cold", "bread_type": "white", "colour": "red"}});
    let ran = class("MakeBread", args);
    assert_eq!((ran.result()[0].clone(), ran.xcom("oven")), (json!("rye"), json!("cold")), "{}", ran.output);
}

#[test]
fn what_airflow_calls_around_it_is_called() {
    let ran = class("Around", json!({}));
    assert_eq!(ran.result(), json!(["s3://lake", {"a": 1}, "d", "lake.example.org"]), "{}", ran.output);
    assert_eq!(ran.output.lines().collect::<Vec<_>>(), ["before", "amid", "after 4"]);
    assert_eq!(class("Skips", json!({})).outcome.end, AttemptEnd::Skipped);
    assert_eq!(class("Chooses", json!({})).outcome.branch, Some(Branch::Follow(vec!["left".into()])));
    let several = class("Multiple", json!({}));
    assert_eq!((several.xcom("a"), several.xcom("b")), (json!(1), json!([2])));
    assert_eq!(class("Plain", json!({"word": "x"})).result(), json!(["x", "2026-01-31"]));
    let deferred = class("Defers", json!({}));
    assert_eq!(deferred.result(), "one two", "{}", deferred.output);
}

#[test]
fn a_sensor_looks_until_it_is_done_or_has_waited_too_long() {
    let looked = class("Looks", json!({"poke_interval": 0.01, "mode": "reschedule"}));
    assert_eq!(looked.result(), json!({"looked": 2}), "{}", looked.output);
    assert!(looked.output.contains("look 1 poke"), "{}", looked.output);
    let late = |more: Value| {
        let mut args = json!({"poke_interval": 0.01, "timeout": 0.05});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        class("Looks", args).outcome
    };
    assert_eq!(late(json!({})).end, AttemptEnd::FailedForGood);
    assert_eq!(late(json!({"soft_fail": true})).end, AttemptEnd::Skipped);
    assert_eq!(late(json!({"exponential_backoff": true})).end, AttemptEnd::Failed);
    assert_eq!(
        late(json!({"exponential_backoff": true, "silent_fail": true})).end,
        AttemptEnd::FailedForGood
    );
    assert_eq!(late(json!({"exponential_backoff": true, "never_fail": true})).end, AttemptEnd::Skipped);
    // What may pass is no reason to skip: as in Airflow 3, `soft_fail` is for what fails for good.
    assert_eq!(late(json!({"exponential_backoff": true, "soft_fail": true})).end, AttemptEnd::Failed);
}

#[test]
fn mistakes_are_named() {
    let unknown = message("MakeBread", json!({"bread_type": "rye", "salt": 1}));
    assert_eq!(unknown, "TypeError: MakeBread takes no salt");
    assert!(message("MakeBread", json!({})).contains("missing 1 required positional argument: 'bread_type'"));
    assert!(message("NoSuch", json!({})).contains("bakery.things has no class 'NoSuch'"));
    assert!(
        message("Nothing", json!({}))
            .contains("bakery.things.Nothing is no operator: it has no execute(context)")
    );
    assert!(message("function", json!({})).contains("bakery.things.function is no operator"));
    assert!(message("TextFields", json!({})).contains("make it a list or a tuple"));
    assert!(
        message("NoSuchField", json!({}))
            .contains("'bread_type' is a template field of NoSuchField, which has no")
    );
}
