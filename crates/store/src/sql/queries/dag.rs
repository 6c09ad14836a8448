//! DAGs, their versions and tags, and pools.

use std::{collections::BTreeMap, sync::Arc};

use updraft_core::{DagKey, DagSpec, Namespace, PoolName, RunKey, TiStateName};

use super::filter::{one_of, order_by, page, text_filter};
use crate::{
    DagField, DagListing, DagQuery, Error, LastRun, Page, PoolListing, TextFilter, VersionListing, Window,
    sql::{
        db::{Db, Fields},
        row::{DAG, POOL, read_dag, read_pool},
        statement::Sql,
    },
};

const HAS_IMPORT_ERROR: &str =
    "EXISTS (SELECT 1 FROM import_error e WHERE e.namespace = d.namespace AND e.source = d.source)";

pub(super) async fn dags(db: &Db, query: &DagQuery) -> Result<Page<DagListing>, Error> {
    let mut from = Sql::new(
        " FROM dag d
         JOIN dag_version v ON v.namespace = d.namespace AND v.dag_id = d.dag_id AND v.version = d.version
         LEFT JOIN run l ON l.key = (SELECT max(r.key) FROM run r
             WHERE r.namespace = d.namespace AND r.dag_id = d.dag_id)
         WHERE d.namespace = ",
    );
    from.arg(&*query.namespace);
    text_filter(db, &mut from, "d.dag_id", &query.dag_id);
    text_filter(db, &mut from, "v.display_name", &query.display_name);
    tagged(&mut from, query);
    one_of(&mut from, "v.owner", query.owners.iter().map(|owner| &**owner));
    if let Some(paused) = query.paused {
        from.push(" AND d.is_paused = ").arg(paused);
    }
    if let Some(stale) = query.stale {
        from.push(" AND d.is_stale = ").arg(stale);
    }
    if let Some(has) = query.has_import_error {
        from.push(if has { " AND " } else { " AND NOT " }).push(HAS_IMPORT_ERROR);
    }
    one_of(&mut from, "l.state", query.last_run_state.iter().map(|state| state.as_str()));

    let select = format!(
        "{}, v.header, v.tasks, v.created_at, {HAS_IMPORT_ERROR},
         l.key, l.run_id, l.state, l.run_after, l.started_at, l.ended_at",
        DAG.select("d")
    );
    let order = order_by(&query.order, dag_column, &["d.namespace", "d.dag_id"]);
    page(db, &select, from, &order, query.window, read_listing).await
}

/// By `IN`, since SQLite 3.51 makes a join of `EXISTS`, and then an `OFFSET` that passes over a row with two of the
/// tags shows it for the second.
fn tagged(from: &mut Sql, query: &DagQuery) {
    const TAGGED: &str = "(d.namespace, d.dag_id, d.version) IN
        (SELECT g.namespace, g.dag_id, g.version FROM dag_tag g WHERE g.tag";
    if query.all_tags {
        for tag in &query.tags {
            from.push(" AND ").push(TAGGED).push(" = ").arg(tag).push(")");
        }
    } else if !query.tags.is_empty() {
        from.push(" AND ").push(TAGGED).push(" IN ").list(&query.tags).push(")");
    }
}

fn dag_column(field: DagField) -> (&'static str, bool) {
    match field {
        DagField::DagId => ("d.dag_id", false),
        DagField::DisplayName => ("v.display_name", false),
        DagField::Paused => ("d.is_paused", false),
        DagField::NextRunAfter => ("d.next_run_after", true),
        DagField::LastRunState => ("l.state", true),
        DagField::LastRunAfter => ("l.run_after", true),
        DagField::LastRunStartedAt => ("l.started_at", true),
    }
}

fn read_listing(f: &mut Fields) -> Result<DagListing, Error> {
    let row = read_dag(f)?;
    let header = Arc::new(f.json()?);
    let (tasks, version_created_at, has_import_error) = (f.number()?, f.time()?, f.flag()?);
    let last_run = match f.opt_number()? {
        Some(key) => Some(LastRun {
            key: RunKey(key),
            run_id: f.name()?,
            state: f.parse()?,
            run_after: f.time()?,
            started_at: f.opt_time()?,
            ended_at: f.opt_time()?,
        }),
        None => None,
    };
    Ok(DagListing { row, header, tasks, version_created_at, has_import_error, last_run })
}

pub(super) async fn versions(db: &Db, dag: &DagKey, window: Window) -> Result<Page<VersionListing>, Error> {
    let mut from = Sql::new(" FROM dag_version v WHERE v.namespace = ").with(&*dag.namespace);
    from.push(" AND v.dag_id = ").arg(&*dag.dag_id);
    let read = |f: &mut Fields| {
        Ok(VersionListing {
            version: f.number()?,
            hash: f.text()?,
            tasks: f.number()?,
            created_at: f.time()?,
            bundle: f.json::<DagSpec>()?.bundle,
        })
    };
    let select = "v.version, v.hash, v.tasks, v.created_at, v.header";
    page(db, select, from, " ORDER BY v.version DESC", window, read).await
}

pub(super) async fn tags(
    db: &Db,
    namespace: &Namespace,
    tag: &TextFilter,
    window: Window,
) -> Result<Page<String>, Error> {
    let mut from = Sql::new(
        " FROM (SELECT DISTINCT g.tag FROM dag d JOIN dag_tag g
            ON g.namespace = d.namespace AND g.dag_id = d.dag_id AND g.version = d.version
          WHERE d.namespace = ",
    );
    from.arg(&**namespace).push(") AS x WHERE TRUE");
    text_filter(db, &mut from, "x.tag", tag);
    page(db, "x.tag", from, " ORDER BY x.tag", window, Fields::text).await
}

pub(super) async fn pools(
    db: &Db,
    namespace: &Namespace,
    name: &TextFilter,
    window: Window,
) -> Result<Page<PoolListing>, Error> {
    let mut from = Sql::new(" FROM pool p WHERE p.namespace = ").with(&**namespace);
    text_filter(db, &mut from, "p.name", name);
    let mut pools = page(db, &POOL.select("p"), from, " ORDER BY p.name", window, |f| {
        Ok(PoolListing { row: read_pool(f)?, slots: BTreeMap::new() })
    })
    .await?;
    let mut taken = occupancy(db, namespace).await?;
    for pool in &mut pools.rows {
        pool.slots = taken.remove(&pool.row.name).unwrap_or_default();
    }
    Ok(pools)
}

/// The slots of a namespace's pools, by the state of those that take them. Only task instances in these
/// states are looked at, so that it does not matter how many are over: an expression keeps a database from going the
/// other way round, over every run there is.
async fn occupancy(
    db: &Db,
    namespace: &Namespace,
) -> Result<BTreeMap<PoolName, BTreeMap<TiStateName, u64>>, Error> {
    let mut sql = Sql::new(
        "SELECT k.pool, t.state, CAST(sum(k.pool_slots) AS BIGINT)
         FROM ti t JOIN run r ON r.key = t.run JOIN dag_task k
            ON k.namespace = r.namespace AND k.dag_id = r.dag_id AND k.version = r.version AND k.task = t.task
         WHERE t.state IN ('scheduled', 'queued', 'running', 'paused', 'deferred', 'restarting')
            AND (r.namespace || '') = ",
    );
    sql.arg(&**namespace).push(" GROUP BY k.pool, t.state");
    let mut taken: BTreeMap<PoolName, BTreeMap<TiStateName, u64>> = BTreeMap::new();
    for mut f in db.rows(sql).await? {
        let (pool, state, slots) = (f.name()?, f.parse()?, f.number()?);
        taken.entry(pool).or_default().insert(state, slots);
    }
    Ok(taken)
}
