//! The outbox and the audit log.

use super::filter::{List, bounds, counted, one_of, page, page_of, text_filter};
use crate::{
    AuditListing, AuditQuery, DeliveryListing, DeliveryQuery, Error, Page, TextFilter,
    sql::{
        db::Db,
        row::{AUDIT, DELIVERY, read_audit, read_delivery},
        statement::Sql,
    },
};

/// The columns of a delivery.
pub(crate) fn delivery_select() -> String {
    DELIVERY.select("x")
}

pub(super) async fn deliveries(db: &Db, query: &DeliveryQuery) -> Result<Page<DeliveryListing>, Error> {
    let mut from = Sql::new(" FROM delivery x WHERE x.namespace = ").with(&*query.namespace);
    one_of(&mut from, "x.id", query.id.map(|id| id.0));
    one_of(&mut from, "x.digest", query.digest.map(|id| id.0));
    if let Some(dag) = &query.dag {
        from.push(" AND x.namespace = ").arg(&*dag.namespace).push(" AND x.dag_id = ").arg(&*dag.dag_id);
    }
    one_of(&mut from, "x.run", query.run.map(|run| run.0));
    if let Some(ti) = query.ti {
        from.push(" AND x.run = ").arg(ti.run.0).push(" AND x.task = ").arg(ti.task.0);
        from.push(" AND x.map_index = ").arg(ti.map_index.0);
    }
    one_of(&mut from, "x.state", query.states.iter().map(|state| state.as_str()));
    page(db, &delivery_select(), from, " ORDER BY x.id DESC", query.window, read_delivery).await
}

pub(super) async fn audit(db: &Db, query: &AuditQuery) -> Result<Page<AuditListing>, Error> {
    let mut rows = Sql::new(" WHERE ");
    if query.dag_id == TextFilter::default() {
        // The numbers give the order: an expression keeps a database from gathering all of the namespace first.
        rows.push("(x.namespace IS NULL OR (x.namespace || '') = ").arg(&*query.namespace).push(")");
    } else {
        // What is of a DAG is of its namespace.
        rows.push("x.namespace = ").arg(&*query.namespace);
        text_filter(db, &mut rows, "x.dag_id", &query.dag_id);
    }
    let as_counted = rows.text.len();
    one_of(&mut rows, "x.id", query.id);
    one_of(&mut rows, "x.run", query.run.map(|run| run.0));
    text_filter(db, &mut rows, "x.account", &query.user);
    text_filter(db, &mut rows, "x.action", &query.action);
    if !query.excluded.is_empty() {
        rows.push(" AND x.action NOT IN ").list(&query.excluded);
    }
    bounds(&mut rows, "x.at", &query.at);
    let length = (rows.text.len() == as_counted).then(|| {
        counted("audit_count", |sql| {
            sql.push("c.namespace IN ('', ").arg(&*query.namespace).push(")");
            if query.dag_id != TextFilter::default() {
                sql.push(" AND c.dag_id <> ''");
            }
            text_filter(db, sql, "c.dag_id", &query.dag_id);
        })
    });
    let order = if query.latest_first { " ORDER BY x.id DESC" } else { " ORDER BY x.id" };
    let select = format!("x.id, {}", AUDIT.select("x"));
    let list = List { select, tables: " FROM audit x", rows, order, length, key: None };
    page_of(db, list, query.window, read_audit).await
}
