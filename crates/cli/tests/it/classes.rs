//! Operators that are classes of a DAG's author.

use std::time::Duration;

use serde_json::{Value, json};
use updraft_store::Queries;

use crate::system::System;

/// `dev/dags/airflow3/example_customize_operator.yml` of dag-factory, and tasks that go further.
const BAKERY: &str = r#"
default:
  default_args:
    start_date: 2025-01-01
    retries: 0

bakery:
  schedule: '@once'
  default_args: {oven: '{{ ds }}', unknown_to_it: 1}
  user_defined_macros: {loud: bakery.breakfast.loud}
  tasks:
    - task_id: make_bread_1
      operator: bakery.breakfast.MakeBreadOperator
      bread_type: Sourdough
    - task_id: each_bread
      operator: bakery.breakfast.MakeBreadOperator
      partial: {oven: warm}
      expand: {bread_type: ["{{ loud('rye') }}", white]}
      dependencies: [make_bread_1]
    - task_id: secret_bread
      operator: bakery.breakfast.MakeBreadOperator
      bread_type: '{{ conn.shop.password }} and {{ var.value.yeast_token }}'
    - task_id: no_bread
      operator: bakery.breakfast.MakeBreadOperator
      bread_type: '{{ nothing.here }}'
    - task_id: endless_bread
      operator: bakery.breakfast.EndlessOperator
      execution_timeout: 2 seconds
    - task_id: burnt_bread
      operator: bakery.breakfast.MakeBred
"#;

const BREAKFAST: &str = r#"
import time

from airflow.models import BaseOperator


def loud(text):
    return text.upper()


class MakeBreadOperator(BaseOperator):
    template_fields = ("bread_type", "oven")

    def __init__(self, bread_type, oven=None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.bread_type = bread_type
        self.oven = oven

    def execute(self, context):
        self.log.info("Make %s bread in a %s oven", self.bread_type, self.oven)
        return self.bread_type


class EndlessOperator(BaseOperator):
    def execute(self, context):
        time.sleep(1000)

    def on_kill(self):
        self.log.info("the fire is out")
"#;

#[tokio::test]
async fn they_run_as_in_airflow_and_need_none() {
    let mut system = System::new(&[("bakery.yml", BAKERY), ("bakery/breakfast.py", BREAKFAST)]);
    system.set("AIRFLOW_CONN_SHOP", "http://nami:correct-horse@localhost");
    system.set("AIRFLOW_VAR_YEAST_TOKEN", "battery-staple");
    system.start(4);
    let runs = system.runs_over(1, Duration::from_secs(60)).await;
    let run = &runs[0].run_id;
    let states = system.run(&["tasks", "states", "bakery", run, "-o", "json"]).json();
    let of = |task: &str, index: i64| -> &Value {
        let states = states.as_array().unwrap();
        states.iter().find(|ti| ti["task_id"] == task && ti["map_index"] == index).unwrap_or(&Value::Null)
    };
    let store = system.store().await;
    let tis = system.tis().await;
    let mut rendered = std::collections::BTreeMap::new();
    for ti in &tis {
        rendered
            .insert((&*ti.row.task_id, ti.row.key.map_index.0), store.rendered(ti.row.key).await.unwrap());
    }
    let rendered = |task: &str, index: i32| rendered[&(task, index)].clone().unwrap_or_default();
    let logs = |task: &str| system.run(&["tasks", "logs", "bakery", run, task]).good();
    let first = of("make_bread_1", -1);
    assert_eq!(first["state"], "success", "{}", logs("make_bread_1"));
    assert!(logs("make_bread_1").contains("INFO - Make Sourdough bread in a 20"));
    assert_eq!(rendered("make_bread_1", -1)["bread_type"], "Sourdough");
    assert_eq!(rendered("each_bread", 0)["bread_type"], "RYE");
    assert_eq!(rendered("each_bread", 1), json!({"bread_type": "white", "oven": "warm"}));
    assert_eq!(of("each_bread", 1)["state"], "success");
    let hidden = logs("secret_bread");
    assert!(hidden.contains("Make *** and *** bread"), "{hidden}");
    assert_eq!(rendered("secret_bread", -1)["bread_type"], "*** and ***");
    assert_eq!(of("no_bread", -1)["state"], "failed");
    let why = logs("no_bread");
    assert!(why.contains("template of `bread_type`") && why.contains("nothing"), "{why}");
    let ended = logs("endless_bread");
    assert!(ended.contains("the fire is out") && of("endless_bread", -1)["state"] == "failed", "{ended}");
    let misspelt = logs("burnt_bread");
    assert!(misspelt.contains("bakery.breakfast has no class 'MakeBred'"), "{misspelt}");
}
