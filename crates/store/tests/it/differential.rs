//! The three stores are given the same random batches and asked the same random questions. They must agree.

mod make;
mod query;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use updraft_core::RunKey;
use updraft_store::{
    Expired, Fence, MemoryStore, RunQuery, SqlStore, Store, Upkeep, Window, test_postgres::TestPostgres,
};

use self::{
    make::{Op, batch},
    query::{Question, answer},
};
use crate::{fixture, rows::at};

/// One commit, or one cleaning, and then questions.
#[derive(Clone, Debug)]
struct Step {
    ops: Vec<Op>,
    clean: Option<(u8, u8)>,
    questions: Vec<Question>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let clean = prop_oneof![5 => Just(None), 1 => any::<(u8, u8)>().prop_map(Some)];
    let ops = prop::collection::vec(any::<(u8, u64)>().prop_map(|(kind, vary)| Op { kind, vary }), 20..100);
    let question = any::<(u8, u64)>().prop_map(|(kind, vary)| Question { kind, vary });
    let step = (ops, clean, prop::collection::vec(question, 6..16));
    prop::collection::vec(step.prop_map(|(ops, clean, questions)| Step { ops, clean, questions }), 1..6)
}

/// The three, empty.
struct Three {
    stores: Vec<(&'static str, Arc<dyn Store>)>,
    fences: Vec<Fence>,
    _folder: tempfile::TempDir,
}

impl Three {
    async fn new(url: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let sqlite = SqlStore::sqlite(&folder.path().join("updraft.db")).await.unwrap();
        let postgres = SqlStore::postgres(url).await.unwrap();
        let stores: Vec<(_, Arc<dyn Store>)> = vec![
            ("memory", Arc::new(MemoryStore::default())),
            ("sqlite", Arc::new(sqlite)),
            ("postgres", Arc::new(postgres)),
        ];
        let mut fences = Vec::new();
        for (_, store) in &stores {
            store.migrate().await.unwrap();
            fences.push(store.acquire_leadership("test", "", fixture::HOUR).await.unwrap().unwrap());
        }
        Self { stores, fences, _folder: folder }
    }

    /// The runs there are. What belongs to others would be a bug of the engine's, which each store tells in
    /// a way of its own.
    async fn runs(&self) -> BTreeSet<RunKey> {
        let mut runs = BTreeSet::new();
        for namespace in ["default", "other"] {
            let query = RunQuery { namespace: namespace.into(), window: Window::ALL, ..RunQuery::default() };
            runs.extend(self.stores[0].1.runs(&query).await.unwrap().rows.iter().map(|run| run.row.key));
        }
        runs
    }

    async fn take(&self, step: &Step) {
        let dags = self.stores[0].1.load().await.unwrap().dags.into_iter().map(|row| row.key).collect();
        let batch = batch(&step.ops, &dags, &self.runs().await);
        let mut cleaned = Vec::new();
        for ((name, store), fence) in self.stores.iter().zip(&self.fences) {
            if let Err(error) = store.commit(&batch, *fence).await {
                panic!("{name}: {error}\n{batch:#?}");
            }
            if let Some((what, before)) = step.clean {
                let what = Expired::ALL[usize::from(what) % Expired::ALL.len()];
                cleaned.push(store.clean(at(i64::from(before)), what, 10_000).await.unwrap());
            }
        }
        assert!(cleaned.windows(2).all(|two| two[0] == two[1]), "{:?}: {cleaned:?}", step.clean);
        self.agree("load", |store| Box::pin(async move { format!("{:#?}", store.load().await.unwrap()) }))
            .await;
        for question in &step.questions {
            let question = *question;
            let ask = move |store: Arc<dyn Store>| answer(store, question);
            self.agree(&format!("{question:?}"), ask).await;
        }
    }

    async fn agree(
        &self,
        about: &str,
        ask: impl Fn(Arc<dyn Store>) -> std::pin::Pin<Box<dyn Future<Output = String>>>,
    ) {
        let expected = ask(self.stores[0].1.clone()).await;
        for (name, store) in &self.stores[1..] {
            let given = ask(store.clone()).await;
            if given != expected {
                let differ = expected.lines().zip(given.lines()).find(|(one, other)| one != other);
                panic!("{about}: {name} differs from memory: {differ:?}\n{expected}\n---\n{given}");
            }
        }
    }
}

/// Empties a database, so that each case needn't make its own.
async fn empty(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = "SELECT string_agg(relname::text, ', ') FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND relname NOT IN ('schema_migration', 'engine')";
    let tables: String = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    let sql = format!(
        "TRUNCATE {tables}; UPDATE engine SET held_until = 0, last_run = 0, last_delivery = 0, last_asset_event = 0"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}

#[test]
fn the_three_stores_give_the_same_answers() {
    let server = TestPostgres::start();
    let url = server.database();
    fixture::run(async { SqlStore::postgres(&url).await.unwrap().migrate().await.unwrap() });
    let mut config =
        ProptestConfig { failure_persistence: None, max_shrink_time: 20_000, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 20;
    }
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        fixture::run(async {
            empty(&url).await;
            let three = Three::new(&url).await;
            for step in &steps {
                three.take(step).await;
            }
        });
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
