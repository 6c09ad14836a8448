//! The plain records.

use updraft_core::{Namespace, RunKey, RunState, TiState, record::AuditRow};
use updraft_store::{
    AccountId, AuditQuery, ConnectionRow, NewAccount, NewDeployment, NewToken, Note, Put, SecretId,
    TextFilter, TokenKind, VariableRow, Window,
};

use crate::{
    fixture::TestStore,
    rows::{self, at, audit, key, ti_key},
};

fn connection(conn_id: &str) -> ConnectionRow {
    ConnectionRow {
        namespace: Namespace::default(),
        conn_id: conn_id.into(),
        conn_type: "postgres".into(),
        description: Some("the warehouse".into()),
        host: Some("db.example.com".into()),
        schema: Some("public".into()),
        login: Some("etl".into()),
        port: Some(5432),
        password: Some(vec![0, 159, 146, 150]),
        extra: None,
        is_encrypted: true,
    }
}

fn variable(key: &str, value: &[u8]) -> VariableRow {
    let (namespace, description) = (Namespace::default(), None);
    VariableRow { namespace, key: key.into(), value: value.into(), is_encrypted: true, description }
}

pub async fn connections_are_put_as_allowed(on: TestStore) {
    let store = &on.store;
    let here = Namespace::default();
    let row = connection("warehouse");
    assert!(!store.put_connection(&row, Put::Replace, &audit("edit")).await.unwrap());
    assert!(store.put_connection(&row, Put::Create, &audit("add")).await.unwrap());
    assert!(!store.put_connection(&row, Put::Create, &audit("add")).await.unwrap());
    let changed = ConnectionRow { port: None, extra: Some(b"{}".to_vec()), ..row.clone() };
    assert!(store.put_connection(&changed, Put::Replace, &audit("edit")).await.unwrap());
    let elsewhere = ConnectionRow { namespace: "other".into(), ..row.clone() };
    assert!(store.put_connection(&elsewhere, Put::Either, &audit("add")).await.unwrap());
    assert!(store.put_connection(&elsewhere, Put::Either, &audit("add")).await.unwrap());

    assert_eq!(store.connection(&here, "warehouse").await.unwrap(), Some(changed.clone()));
    assert!(store.put_connection(&connection("api"), Put::Either, &audit("add")).await.unwrap());
    let filter = TextFilter { contains: vec!["WARE".into(), "x".into()], ..TextFilter::default() };
    let page = store.connections(&here, &filter, Window::default()).await.unwrap();
    assert_eq!((page.rows, page.total), (vec![changed], 1));
    let all = store.connections(&here, &TextFilter::default(), Window::default()).await.unwrap();
    assert_eq!(all.rows.iter().map(|row| &*row.conn_id).collect::<Vec<_>>(), ["api", "warehouse"]);

    assert!(store.delete_connection(&here, "warehouse", &audit("delete")).await.unwrap());
    assert!(!store.delete_connection(&here, "warehouse", &audit("delete")).await.unwrap());
    assert!(store.connection(&"other".into(), "warehouse").await.unwrap().is_some());
}

pub async fn a_new_key_replaces_every_secret(on: TestStore) {
    let store = &on.store;
    for row in [connection("b"), ConnectionRow { extra: Some(b"extra".to_vec()), ..connection("a") }] {
        store.put_connection(&row, Put::Create, &audit("add")).await.unwrap();
    }
    let plain = ConnectionRow { is_encrypted: false, ..connection("plain") };
    store.put_connection(&plain, Put::Create, &audit("add")).await.unwrap();
    for row in [variable("v", b"1"), VariableRow { namespace: "other".into(), ..variable("v", b"2") }] {
        assert!(store.put_variable(&row, Put::Create, &audit("add")).await.unwrap());
    }

    let mut seen = Vec::new();
    let mut after: Option<SecretId> = None;
    loop {
        let some = store.secrets(after.as_ref(), 2).await.unwrap();
        assert!(some.len() <= 2);
        let Some(last) = some.last() else { break };
        after = Some(last.id.clone());
        for row in some {
            let new = [b"new-".as_slice(), &row.value].concat();
            assert!(store.replace_secret(&row.id, &row.value, &new).await.unwrap());
            assert!(!store.replace_secret(&row.id, &row.value, b"late").await.unwrap());
            seen.push(row.id);
        }
    }
    let here = Namespace::default;
    let expected = [
        SecretId::Password(here(), "a".into()),
        SecretId::Password(here(), "b".into()),
        SecretId::Extra(here(), "a".into()),
        SecretId::Variable(here(), "v".into()),
        SecretId::Variable("other".into(), "v".into()),
    ];
    assert_eq!(seen, expected);
    assert_eq!(store.variable(&"other".into(), "v").await.unwrap().unwrap().value, b"new-2");
    assert_eq!(store.connection(&here(), "plain").await.unwrap(), Some(plain));
    assert!(!store.replace_secret(&SecretId::Extra(here(), "gone".into()), b"", b"").await.unwrap());
    assert!(store.delete_variable(&here(), "v", &audit("delete")).await.unwrap());
    let left = store.variables(&here(), &TextFilter::default(), Window::default()).await.unwrap();
    assert_eq!(left.total, 0);
}

fn account(username: &str) -> NewAccount {
    NewAccount {
        username: username.into(),
        password_hash: "$argon2id$v=19$…".into(),
        role: "admin".into(),
        namespace: None,
        disabled: false,
    }
}

pub async fn accounts_and_their_tokens(on: TestStore) {
    let store = &on.store;
    let ada = store.create_account(&account("ada"), &audit("add")).await.unwrap().unwrap();
    assert_eq!(store.create_account(&account("ada"), &audit("add")).await.unwrap(), None);
    let bob = store.create_account(&account("bob"), &audit("add")).await.unwrap().unwrap();
    let changed = NewAccount { namespace: Some("other".into()), disabled: true, ..account("bobby") };
    assert!(store.update_account(bob, &changed, &audit("edit")).await.unwrap());
    assert!(!store.update_account(bob, &account("ada"), &audit("edit")).await.unwrap());
    assert!(!store.update_account(AccountId(99), &account("eve"), &audit("edit")).await.unwrap());
    let found = store.find_account("bobby").await.unwrap().unwrap();
    assert_eq!((found.id, &found.account, found.created_at), (bob, &changed, at(1)));
    assert_eq!(store.account(bob).await.unwrap(), Some(found));
    let all = store.accounts(&TextFilter::default(), Window::default()).await.unwrap();
    assert_eq!(all.rows.iter().map(|row| &*row.account.username).collect::<Vec<_>>(), ["ada", "bobby"]);

    let token = |kind, hash: &str| NewToken { kind, hash: hash.into(), name: "ci".into(), expires_at: None };
    let api = token(TokenKind::Api(ada), "h1");
    let id = store.create_token(&api, &audit("add")).await.unwrap().unwrap();
    assert_eq!(store.create_token(&api, &audit("add")).await.unwrap(), None);
    let nobody = token(TokenKind::Api(AccountId(99)), "h2");
    assert_eq!(store.create_token(&nobody, &audit("add")).await.unwrap(), None);
    let join = token(TokenKind::Join(Some("prod".into())), "h3");
    let join_id = store.create_token(&join, &audit("add")).await.unwrap().unwrap();
    let found = store.find_token("h1").await.unwrap().unwrap();
    assert_eq!((found.id, found.token), (id, api));
    assert_eq!(store.find_token("h3").await.unwrap().unwrap().token, join);
    assert_eq!(store.find_token("h9").await.unwrap(), None);
    assert_eq!(store.tokens(Some(ada), Window::default()).await.unwrap().total, 1);
    assert_eq!(store.tokens(None, Window::default()).await.unwrap().rows[0].id, join_id);

    assert!(store.delete_account(ada, &audit("delete")).await.unwrap());
    assert!(!store.delete_account(ada, &audit("delete")).await.unwrap());
    assert_eq!(store.find_token("h1").await.unwrap(), None);
    assert!(store.delete_token(join_id, &audit("delete")).await.unwrap());
    let next = store.create_account(&account("eve"), &audit("add")).await.unwrap().unwrap();
    assert!(next > bob);
}

pub async fn the_deployment_with_the_highest_number_counts(on: TestStore) {
    let store = &on.store;
    let deployment = |namespace: &str, hash: &str| NewDeployment {
        namespace: namespace.into(),
        hash: hash.into(),
        bytes: 1 << 40,
        files: 3,
        message: None,
        rolled_back_to: None,
        account: "ada".into(),
    };
    let again =
        NewDeployment { message: Some("back".into()), rolled_back_to: Some(1), ..deployment("prod", "h1") };
    let made = [deployment("prod", "h1"), deployment("prod", "h2"), deployment("test", "h2"), again.clone()];
    let mut numbers = Vec::new();
    for deployment in &made {
        numbers.push(store.create_deployment(deployment, &audit("deploy")).await.unwrap());
    }
    assert_eq!(numbers, [1, 2, 1, 3]);
    let prod = Namespace::from("prod");
    let page = store.deployments(&prod, Window { limit: 2, ..Window::default() }).await.unwrap();
    assert_eq!((page.total, page.rows.iter().map(|row| row.number).collect()), (3, vec![3, 2]));
    assert_eq!((&page.rows[0].deployment, page.rows[0].created_at), (&again, at(1)));
    assert_eq!(store.deployment(&prod, 2).await.unwrap().unwrap().deployment, made[1]);
    assert_eq!(store.deployment(&prod, 4).await.unwrap(), None);
    let current = store.current_deployments().await.unwrap();
    let current: Vec<_> = current.iter().map(|row| (&*row.deployment.namespace, row.number)).collect();
    assert_eq!(current, [("prod", 3), ("test", 1)]);
}

pub async fn import_errors_keep_their_number(on: TestStore) {
    let store = &on.store;
    let here = Namespace::default();
    store.put_import_error(&here, "b.yaml", "bad", Some(3), at(1)).await.unwrap();
    store.put_import_error(&here, "a.yaml", "worse", None, at(1)).await.unwrap();
    let find = || async {
        let filter = TextFilter::exactly("b.yaml");
        store.import_errors(&here, &filter, Window::default()).await.unwrap().rows.pop().unwrap()
    };
    let first = find().await;
    assert_eq!((&*first.message, first.line), ("bad", Some(3)));
    store.put_import_error(&here, "b.yaml", "still bad", Some(4), at(2)).await.unwrap();
    let second = find().await;
    assert_eq!(
        (second.id, &*second.message, second.line, second.at),
        (first.id, "still bad", Some(4), at(2))
    );
    assert_eq!(store.import_error(&here, first.id).await.unwrap(), Some(second));
    assert_eq!(store.import_error(&"other".into(), first.id).await.unwrap(), None);
    assert!(store.delete_import_error(&here, "b.yaml").await.unwrap());
    assert!(!store.delete_import_error(&here, "b.yaml").await.unwrap());
    let left = store.import_errors(&here, &TextFilter::default(), Window::default()).await.unwrap();
    assert_eq!((left.rows[0].line, left.total), (None, 1));
}

pub async fn notes_stay_when_a_run_is_written(on: TestStore) {
    let of = key("sales");
    let ti = rows::ti(ti_key(1, 0, -1), TiState::Success);
    let batch = rows::Put::default().dag(&of).run(rows::run(1, &of, RunState::Running)).ti(ti.clone()).0;
    on.commit(&batch).await;
    let store = &on.store;
    let note = |text: &str| Note { text: text.into(), user: "ada".into(), at: at(3) };
    assert!(store.put_run_note(RunKey(1), Some(&note("slow")), &audit("note")).await.unwrap());
    assert!(store.put_run_note(RunKey(1), Some(&note("too slow")), &audit("note")).await.unwrap());
    assert!(store.put_ti_note(ti.key, Some(&note("odd")), &audit("note")).await.unwrap());
    assert!(!store.put_run_note(RunKey(2), Some(&note("x")), &audit("note")).await.unwrap());
    assert!(!store.put_ti_note(ti_key(1, 1, -1), Some(&note("x")), &audit("note")).await.unwrap());
    on.commit(&batch).await;
    assert_eq!(store.run(RunKey(1)).await.unwrap().unwrap().note, Some(note("too slow")));
    assert_eq!(store.ti(ti.key).await.unwrap().unwrap().note, Some(note("odd")));
    assert!(store.put_run_note(RunKey(1), None, &audit("note")).await.unwrap());
    assert!(store.put_ti_note(ti.key, None, &audit("note")).await.unwrap());
    assert_eq!(store.run(RunKey(1)).await.unwrap().unwrap().note, None);
    assert_eq!(store.ti(ti.key).await.unwrap().unwrap().note, None);
}

pub async fn configuration_is_made_once(on: TestStore) {
    let store = &on.store;
    assert_eq!(store.config_or_insert("key", "first").await.unwrap(), "first");
    assert_eq!(store.config_or_insert("key", "second").await.unwrap(), "first");
    store.put_config("key", Some("third"), &audit("config")).await.unwrap();
    assert_eq!(store.config("key").await.unwrap().as_deref(), Some("third"));
    store.put_config("key", None, &audit("config")).await.unwrap();
    assert_eq!(store.config("key").await.unwrap(), None);
}

pub async fn the_audit_log_has_what_changed_and_nothing_else(on: TestStore) {
    let store = &on.store;
    on.commit(&rows::everything()).await;
    let added = AuditRow { namespace: Some(Namespace::default()), ..audit("add_connection") };
    assert!(store.put_connection(&connection("a"), Put::Create, &added).await.unwrap());
    assert!(!store.put_connection(&connection("a"), Put::Create, &added).await.unwrap());
    assert!(!store.delete_variable(&"other".into(), "x", &audit("delete_variable")).await.unwrap());
    store.create_account(&account("ada"), &audit("add_account")).await.unwrap();
    let login = AuditRow { user: "bob".into(), namespace: Some("other".into()), ..audit("login") };
    store.put_audit(&login).await.unwrap();

    let actions = |query: AuditQuery| async move {
        let page = store.audit(&query).await.unwrap();
        page.rows.into_iter().map(|entry| entry.row.action).collect::<Vec<_>>()
    };
    let all = AuditQuery::default;
    assert_eq!(actions(all()).await, ["trigger", "add_connection", "add_account"]);
    let other = AuditQuery { namespace: "other".into(), latest_first: true, ..all() };
    assert_eq!(actions(other).await, ["login", "add_account"]);
    assert_eq!(actions(AuditQuery { run: Some(RunKey(2)), ..all() }).await, ["trigger"]);
    let of_dag = AuditQuery { dag_id: TextFilter::exactly("sales"), ..all() };
    assert_eq!(actions(of_dag).await, ["trigger"]);
    let added = TextFilter { begins: vec!["add_".into()], ..TextFilter::default() };
    let excluded = vec!["add_account".into()];
    assert_eq!(actions(AuditQuery { action: added, excluded, ..all() }).await, ["add_connection"]);
    let first = store.audit(&all()).await.unwrap().rows.remove(0);
    assert_eq!(first.row.namespace, Some(Namespace::default()));
    assert_eq!(actions(AuditQuery { id: Some(first.id), ..all() }).await, ["trigger"]);
}
