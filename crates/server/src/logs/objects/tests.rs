//! What is a bucket's alone.

use object_store::memory::InMemory;

use super::{
    super::tests::{line, texts},
    *,
};
use crate::{
    objects::Bucket,
    test_s3::{Passes, TestS3, Way},
};

fn name() -> LogName {
    LogName { run: RunKey(1), path: "namespace=n/dag_id=d/run_id=r/task_id=t,attempt=1.log".into() }
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:06}")).collect()
}

/// As many lines, as one text.
fn text(count: usize) -> String {
    numbers(count).iter().map(|number| line(number)).collect()
}

fn part(offset: Option<u64>, text: &str) -> Part {
    Part { log: name(), offset, bytes: text.into() }
}

async fn add(logs: &LogObjects, offset: Option<u64>, text: &str) -> io::Result<u64> {
    logs.append(vec![part(offset, text)]).await.remove(0)
}

/// Adds what is left of a text in pieces of so many lines, as a worker does, until all is there.
async fn ship(logs: &LogObjects, text: &str, lines: usize) {
    let mut sent = add(logs, Some(0), "").await.unwrap();
    while sent < text.len() as u64 {
        let from = usize::try_from(sent).unwrap();
        let to = (from + lines * line("000000").len()).min(text.len());
        match add(logs, Some(sent), &text[from..to]).await {
            Ok(length) => sent = length,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn objects(logs: &LogObjects) -> usize {
    logs.objects(&place_of(&name()).unwrap()).await.unwrap().len()
}

#[tokio::test]
async fn a_log_of_many_additions_is_some_objects_and_has_each_line_once() {
    let store = Arc::new(InMemory::new());
    let logs = LogObjects::new(store.clone());
    let text = text(1000);
    ship(&logs, &text, 1).await;
    let count = objects(&logs).await;
    assert!(count <= 1 + SMALL_AT_ONCE + 7, "{count} objects");
    assert_eq!(texts(&logs, &name()).await, numbers(1000));
    // Another server finds the same, and goes on.
    let other = LogObjects::new(store);
    assert_eq!(add(&other, None, &line("end")).await.unwrap(), (text.len() + line("end").len()) as u64);
    assert_eq!(texts(&logs, &name()).await.last().unwrap(), "end");
}

#[tokio::test]
async fn a_crash_between_the_writing_of_an_object_and_the_deletion_of_its_parts_changes_nothing() {
    let store = Arc::new(InMemory::new());
    let logs = LogObjects::new(store.clone());
    ship(&logs, &text(10), 1).await;
    let log = place_of(&name()).unwrap();
    let row = in_a_row(logs.objects(&log).await.unwrap());
    // All of it, and what was made of the first before.
    for some in [&row[..4], &row[..]] {
        let of = 0..end_of(some);
        let bytes = logs.bytes(some, of.clone()).await.unwrap();
        store.put(&log.clone().join(merged(&of)), bytes.into()).await.unwrap();
    }
    assert_eq!(objects(&logs).await, 12);
    assert_eq!(texts(&logs, &name()).await, numbers(10));
    // Whoever leads then, adds behind it, and clears up.
    let next = LogObjects::new(store);
    ship(&next, &text(40), 1).await;
    assert_eq!(texts(&next, &name()).await, numbers(40));
    assert!(objects(&next).await <= 1 + SMALL_AT_ONCE + 3, "{}", objects(&next).await);
}

#[tokio::test]
async fn a_server_that_knows_a_log_wrong_loses_nothing() {
    let store = Arc::new(InMemory::new());
    let [first, second] = [(); 2].map(|()| LogObjects::new(store.clone()));
    let text = text(60);
    let length = |lines: usize| Some((lines * line("000000").len()) as u64);
    ship(&first, &text[..length(5).unwrap() as usize], 1).await;
    // The other leads meanwhile, and what the first knows the end by is made one with others.
    ship(&second, &text, 1).await;
    let again = &text[length(5).unwrap() as usize..length(9).unwrap() as usize];
    assert!(add(&first, length(5), again).await.unwrap() >= length(9).unwrap());
    assert_eq!(texts(&first, &name()).await, numbers(60));
    for logs in [&first, &second] {
        add(logs, None, &line("end")).await.unwrap();
    }
    assert_eq!(texts(&second, &name()).await, [numbers(60), vec!["end".into()]].concat());
    // The log is gone, and there is one of its name again: what is known of the former does not count.
    let gone = Logged { dag: DagKey::new("n", "d"), run_id: Some("r".into()), run: Some(RunKey(1)) };
    first.remove(&[gone]).await.unwrap();
    first.purge().await.unwrap();
    ship(&first, &text[..length(3).unwrap() as usize], 1).await;
    assert_eq!(add(&second, length(3), &line("000003")).await.unwrap(), length(4).unwrap());
    assert_eq!(texts(&second, &name()).await, numbers(4));
}

#[tokio::test]
async fn two_servers_that_add_to_one_log_at_once_have_each_line_in_it_once() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let s3 = TestS3::start();
    let (first, second) = (s3.bucket("").logs(), s3.bucket("").logs());
    let text = text(300);
    tokio::join!(ship(&first, &text, 2), ship(&second, &text, 3), ship(&first, &text, 5));
    assert_eq!(texts(&second, &name()).await, numbers(300));
    // At the end of it, too.
    let ends: Vec<_> = (0..20).map(|number| line(&format!("end {number:02}"))).collect();
    let of_first = async {
        for end in &ends[..10] {
            add(&first, None, end).await.unwrap();
        }
    };
    let of_second = async {
        for end in &ends[10..] {
            add(&second, None, end).await.unwrap();
        }
    };
    tokio::join!(of_first, of_second);
    let mut said = texts(&first, &name()).await.split_off(300);
    said.sort();
    assert_eq!(said, (0..20).map(|number| format!("end {number:02}")).collect::<Vec<_>>());
}

/// The store, by a way that can be cut.
fn by(way: &Way, s3: &TestS3) -> LogObjects {
    let mut settings = s3.settings("p");
    settings.endpoint = Some(way.endpoint());
    Bucket::new(settings).unwrap().logs()
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_loses_nothing_and_has_nothing_twice() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let s3 = TestS3::start();
    let way = s3.way();
    let logs = by(&way, &s3);
    let text = text(40);
    let at = |lines: usize| lines * line("000000").len();
    ship(&logs, &text[..at(8)], 4).await;
    for passes in [Passes::Nothing, Passes::Questions] {
        way.lets(passes);
        let refused = add(&logs, Some(at(8) as u64), &text[at(8)..at(12)]).await.unwrap_err();
        assert!(!refused.to_string().is_empty());
        assert!(logs.read(&name(), 0, 10).await.is_err(), "what can't be read is not taken for empty");
    }
    // The end of another log, of which nobody knows whether it was added.
    let end = Part { log: LogName { run: RunKey(2), ..name() }, offset: None, bytes: line("end").into() };
    assert!(logs.append(vec![end.clone()]).await.remove(0).is_err());
    way.lets(Passes::All);
    ship(&logs, &text, 4).await;
    assert_eq!(texts(&logs, &name()).await, numbers(40));
    assert_eq!(logs.append(vec![end.clone()]).await.remove(0).unwrap(), end.bytes.len() as u64);
    assert_eq!(texts(&logs, &end.log).await, ["end"]);
}

#[tokio::test]
async fn a_short_log_is_one_request_and_a_long_one_little_more_than_one_for_each_addition() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let s3 = TestS3::start();
    let way = s3.way();
    let logs = by(&way, &s3);
    let end = Part { log: LogName { run: RunKey(2), ..name() }, offset: None, bytes: line("end").into() };
    logs.append(vec![end.clone()]).await.remove(0).unwrap();
    assert_eq!(way.asked(), (1, 0, 0));
    texts(&logs, &end.log).await;
    assert_eq!(way.asked(), (1, 2, 0), "a look, and the object");
    ship(&logs, &text(160), 1).await;
    let (puts, gets, deletes) = way.asked();
    println!("160 additions took {} puts, {} gets and lists, {deletes} deletions", puts - 1, gets - 2);
    assert!(
        puts - 1 <= 160 + 10 && deletes <= 10 && gets - 2 <= 1 + 10 * (2 + 20),
        "{puts} {gets} {deletes}"
    );
}
