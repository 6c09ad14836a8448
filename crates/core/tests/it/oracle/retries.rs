//! Every case in `tests/oracle/retries/cases.jsonl`, which Airflow 3.3.2 has answered. What a case holds is
//! said at the top of `generate.py` beside it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::Deserialize;
use updraft_core::{DagKey, RetryPolicy};

const CASES: &str = include_str!("../../oracle/retries/cases.jsonl");

#[derive(Deserialize)]
struct Header {
    tries: Vec<u32>,
}

#[test]
fn every_delay_before_a_retry_is_one_that_airflow_could_choose() {
    let mut lines = CASES.lines();
    let header: Header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let mut compared = 0;
    let mut differences = Vec::new();
    for line in lines {
        let (delay, backoff, most, answers): (f64, f64, Option<f64>, Vec<(f64, f64)>) =
            serde_json::from_str(line).unwrap();
        let policy = RetryPolicy {
            delay: SignedDuration::from_secs_f64(delay),
            backoff,
            max_delay: most.map(SignedDuration::from_secs_f64),
            ..RetryPolicy::default()
        };
        for (failures, (least, most)) in header.tries.iter().zip(answers) {
            compared += 1;
            let ours = delays(&policy, *failures);
            let fits = |delay: &SignedDuration| {
                SignedDuration::from_secs_f64(least) <= *delay
                    && *delay <= SignedDuration::from_secs_f64(most)
            };
            // Where no cap cuts it off, not all runs wait for the same time.
            let spread = most < least.max(100.0) * 1.9 || ours.len() > 1;
            if !ours.iter().all(fits) || !spread {
                differences.push(format!("{policy:?} after {failures}: {ours:?}, not {least} to {most} s"));
            }
        }
    }
    let shown = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {compared} differ:\n{shown}", differences.len());
    assert!(compared >= 5000, "too few cases: {compared}");
}

/// The delays of a few runs.
fn delays(policy: &RetryPolicy, failures: u32) -> BTreeSet<SignedDuration> {
    let dag = DagKey::new("default", "d");
    (0..8).map(|run| policy.delay_after(failures, &dag, &format!("run {run}"), &"t".into())).collect()
}
