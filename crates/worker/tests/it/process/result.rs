//! Results: last line, whole output, file.

use updraft_worker::process::{Outcome, ProcessSpec, ResultError, ResultRule, ResultValue};

use super::{Lab, inline};

fn with(mut spec: ProcessSpec, rule: ResultRule) -> ProcessSpec {
    spec.result = rule;
    spec
}

#[tokio::test]
async fn the_last_line_is_what_airflow_takes_for_it() {
    let lab = Lab::new();
    for (text, result) in [
        ("echo a; echo b", "b"),
        ("printf 'a\\nb'", "b"),
        ("printf 'a\\nb \\t\\r\\n'", "b"),
        ("printf 'a\\n\\n'", ""),
        ("true", ""),
        ("echo a; echo b >&2", "a"),
        ("printf a; sleep 0.05; printf 'b\\n'; sleep 0.05; printf c; sleep 0.05; printf d", "cd"),
        ("printf 'a\\n'; sleep 0.05; printf '\\n'", ""),
        ("printf 'ab'; sleep 0.05; printf '\\n'", "ab"),
    ] {
        assert_eq!(inline(&lab.run(lab.sh(text)).await), result, "{text}");
    }
}

#[tokio::test]
async fn whole_output_is_kept_byte_for_byte() {
    let lab = Lab::new();
    let ended =
        lab.run(with(lab.sh("printf 'a\\000\\377\\r\\n\\n'; echo no >&2"), ResultRule::WholeOutput)).await;
    assert!(
        matches!(&ended.result, Ok(Some(ResultValue::Inline(bytes))) if bytes == b"a\0\xff\r\n\n"),
        "{:?}",
        ended.result
    );
    let ended = lab.run(with(lab.sh("echo x"), ResultRule::Nothing)).await;
    assert!(matches!(ended.result, Ok(None)));
}

#[tokio::test]
async fn a_large_result_is_in_a_file_until_it_is_dropped() {
    let lab = Lab::new();
    for rule in [ResultRule::WholeOutput, ResultRule::LastLine] {
        let ended = lab.run(with(lab.sh("echo first; head -c 300000 /dev/zero | tr '\\0' x"), rule)).await;
        let Ok(Some(ResultValue::Spilled(spilled))) = ended.result else { panic!("{:?}", ended.result) };
        let lead = if rule == ResultRule::LastLine { 0 } else { 6 };
        assert_eq!(spilled.bytes(), 300_000 + lead);
        let path = spilled.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 300_000 + lead);
        // The folder it came from serves another task meanwhile.
        lab.run(lab.sh("true")).await;
        assert!(path.exists());
        drop(spilled);
        assert!(!path.exists());
    }
    // A long line that is not the last one leaves nothing of itself.
    let ended = lab.run(lab.sh("head -c 300000 /dev/zero | tr '\\0' x; echo; echo short")).await;
    assert_eq!(inline(&ended), "short");
}

#[tokio::test]
async fn a_result_beyond_the_limit_is_refused_and_the_task_still_ends() {
    let lab = Lab::new();
    for (rule, text) in [
        (ResultRule::WholeOutput, "seq 100000"),
        (ResultRule::LastLine, "seq 100000 | tr '\\n' ' '"),
        (ResultRule::File, "seq 100000 > $UPDRAFT_RESULT"),
    ] {
        let mut spec = with(lab.sh(text), rule);
        spec.result_limit_bytes = 100_000;
        let ended = lab.run(spec).await;
        assert_eq!(ended.outcome, Outcome::Succeeded);
        assert!(
            matches!(ended.result, Err(ResultError::TooLarge { limit_bytes: 100_000 })),
            "{:?}",
            ended.result
        );
    }
}

#[tokio::test]
async fn a_file_is_taken_or_missing() {
    let lab = Lab::new();
    let ended =
        lab.run(with(lab.sh("echo noise; printf '{\"a\": 1}' > $UPDRAFT_RESULT"), ResultRule::File)).await;
    assert_eq!(inline(&ended), "{\"a\": 1}");
    let ended = lab.run(with(lab.sh("echo noise"), ResultRule::File)).await;
    assert!(matches!(ended.result, Ok(None)));
    let ended = lab.run(with(lab.sh("seq 50000 > $UPDRAFT_RESULT"), ResultRule::File)).await;
    let Ok(Some(ResultValue::Spilled(spilled))) = ended.result else { panic!("{:?}", ended.result) };
    assert!(std::fs::read_to_string(spilled.path()).unwrap().ends_with("\n50000\n"));
    let ended = lab.run(lab.sh("echo ${UPDRAFT_RESULT-unset}")).await;
    assert_eq!(inline(&ended), "unset");
}

#[tokio::test]
async fn what_is_no_plain_file_of_the_tasks_own_is_refused() {
    let lab = Lab::new();
    std::fs::write(lab.path("secret"), "the server's").unwrap();
    let secret = lab.path("secret");
    let secret = secret.to_str().unwrap();
    for text in [
        format!("ln -s {secret} $UPDRAFT_RESULT"),
        format!("ln {secret} $UPDRAFT_RESULT"),
        "mkfifo $UPDRAFT_RESULT".to_owned(),
        "mkdir $UPDRAFT_RESULT".to_owned(),
    ] {
        let ended = lab.run(with(lab.sh(&text), ResultRule::File)).await;
        assert!(matches!(ended.result, Err(ResultError::NotAPlainFile { .. })), "{text}: {:?}", ended.result);
    }
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "the server's");
    let leftovers = |path| {
        std::fs::read_dir(path).unwrap().flatten().filter(|entry| entry.path().extension().is_some()).count()
    };
    assert_eq!(leftovers(lab.path("scratch")), 0, "refused results are removed");
}

#[tokio::test]
async fn exit_codes_mean_what_the_spec_says() {
    let lab = Lab::new();
    assert_eq!(lab.run(lab.sh("exit 0")).await.outcome, Outcome::Succeeded);
    assert_eq!(lab.run(lab.sh("exit 99")).await.outcome, Outcome::Skipped { code: 99 });
    assert_eq!(lab.run(lab.sh("exit 7")).await.outcome, Outcome::Failed { code: 7 });
    assert_eq!(lab.run(lab.sh("kill -SEGV $$")).await.outcome, Outcome::Signaled { signal: 11 });
    let mut spec = lab.sh("exit 7");
    spec.skip_codes = vec![6, 7];
    assert_eq!(lab.run(spec.clone()).await.outcome, Outcome::Skipped { code: 7 });
    spec.skip_codes.clear();
    assert_eq!(lab.run(spec).await.outcome, Outcome::Failed { code: 7 });
}

#[tokio::test]
async fn usage_is_the_tasks_own() {
    let lab = Lab::new();
    let ended = lab.run(lab.sh("exec python3 -c 'x = b\"x\" * 300_000_000; sum(range(3_000_000))'")).await;
    let megabytes = ended.usage.max_rss_bytes.unwrap() / 1_000_000;
    assert!((300..450).contains(&megabytes), "{megabytes} MB");
    assert!(ended.usage.cpu_user.as_millis() > 20, "{:?}", ended.usage);
    assert!(ended.active >= ended.usage.cpu_user / 2);
    let ended = lab.run(lab.sh("true")).await;
    assert_eq!(ended.usage.max_rss_bytes, None, "less than our own cannot be told");
}
