//! Conditions, orders and pages.

use crate::{
    Bounds, Error, Order, Page, TextFilter, Window,
    sql::{
        db::{Db, Fields},
        statement::{Arg, Sql},
    },
};

/// SQLite refuses longer patterns. No name is as long.
const LONGEST_PATTERN: usize = 40_000;

/// ` AND` what the filter says of a column.
pub(crate) fn text_filter(db: &Db, sql: &mut Sql, column: &str, filter: &TextFilter) {
    if !filter.exactly.is_empty() {
        sql.push(" AND ").push(column).push(" IN ").list(&filter.exactly);
    }
    if !filter.contains.is_empty() {
        any(sql, &filter.contains, |sql, term| {
            if term.len() > LONGEST_PATTERN {
                sql.push("FALSE");
            } else {
                db.like(sql, column, format!("%{term}%"));
            }
        });
    }
    if !filter.begins.is_empty() {
        any(sql, &filter.begins, |sql, prefix| {
            sql.push(column).push(" >= ").arg(prefix);
            if let Some(above) = above_all_with(prefix) {
                sql.push(" AND ").push(column).push(" < ").arg(above);
            }
        });
    }
}

fn any(sql: &mut Sql, terms: &[String], mut each: impl FnMut(&mut Sql, &String)) {
    sql.push(" AND (");
    for (i, term) in terms.iter().enumerate() {
        sql.push(if i > 0 { " OR (" } else { "(" });
        each(sql, term);
        sql.push(")");
    }
    sql.push(")");
}

/// The least text that is greater than all that begin with this; none where there is no such text.
fn above_all_with(prefix: &str) -> Option<String> {
    let mut letters: Vec<char> = prefix.chars().collect();
    while let Some(last) = letters.pop() {
        // Letters are ordered by their numbers, among which the surrogates are missing.
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            _ => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

/// ` AND` the column is one of these; nothing where none is named.
pub(crate) fn one_of<A: Into<Arg>>(sql: &mut Sql, column: &str, values: impl IntoIterator<Item = A>) {
    let mut values = values.into_iter().peekable();
    if values.peek().is_some() {
        sql.push(" AND ").push(column).push(" IN ").list(values);
    }
}

/// ` AND` the column is in these bounds.
pub(crate) fn bounds<T: Copy + Into<Arg>>(sql: &mut Sql, column: &str, bounds: &Bounds<T>) {
    let all = [(" >= ", bounds.gte), (" > ", bounds.gt), (" <= ", bounds.lte), (" < ", bounds.lt)];
    for (operator, bound) in all {
        if let Some(bound) = bound {
            sql.push(" AND ").push(column).push(operator).arg(bound);
        }
    }
}

/// ` ORDER BY`, with the key last, in the direction of the last field.
///
/// `column` gives a field's column and whether it can be absent. `NULLS LAST` is written only there: it would
/// keep PostgreSQL from using an index on a column that can't be.
pub(crate) fn order_by<F: Copy>(
    order: &[Order<F>],
    column: impl Fn(F) -> (&'static str, bool),
    key: &[&str],
) -> String {
    let mut terms: Vec<String> = Vec::new();
    for Order { by, descending } in order {
        let (column, nullable) = column(*by);
        let direction = if *descending { " DESC" } else { "" };
        terms.push(format!("{column}{direction}{}", if nullable { " NULLS LAST" } else { "" }));
    }
    let descending = order.last().is_some_and(|order| order.descending);
    for column in key {
        terms.push(format!("{column}{}", if descending { " DESC" } else { "" }));
    }
    format!(" ORDER BY {}", terms.join(", "))
}

/// How many there are, by a table of counts (`run_count`, …). `keep` chooses among its rows, which have the alias `c`.
pub(crate) fn counted(table: &str, keep: impl FnOnce(&mut Sql)) -> Sql {
    let mut sql = Sql::new("SELECT CAST(coalesce(sum(c.total), 0) AS BIGINT) FROM ");
    sql.push(table).push(" c WHERE ");
    keep(&mut sql);
    sql
}

/// So many rows are passed over by their keys alone: what else there is of a row may lie anywhere.
const FAR: u64 = 1000;

/// A list that may be long.
pub(crate) struct List<'a> {
    /// What is read of a row.
    pub select: String,
    /// Where that is: begins with ` FROM`.
    pub tables: &'a str,
    /// Which rows: begins with ` WHERE`.
    pub rows: Sql,
    /// Begins with ` ORDER BY`.
    pub order: &'a str,
    /// A query of one number, the length: a count of all that a page does not show takes long.
    pub length: Option<Sql>,
    /// The key of a row, and the table that alone says which rows there are and in which order, if one does.
    pub key: Option<(&'a str, &'a str)>,
}

/// The part of a list that the window shows, and how long the list is. `from` begins with ` FROM`.
pub(crate) async fn page<T>(
    db: &Db,
    select: &str,
    from: Sql,
    order: &str,
    window: Window,
    read: impl Fn(&mut Fields) -> Result<T, Error>,
) -> Result<Page<T>, Error> {
    let list = List { select: select.to_owned(), tables: "", rows: from, order, length: None, key: None };
    page_of(db, list, window, read).await
}

/// The same of a list that may be long.
pub(crate) async fn page_of<T>(
    db: &Db,
    list: List<'_>,
    window: Window,
    read: impl Fn(&mut Fields) -> Result<T, Error>,
) -> Result<Page<T>, Error> {
    let List { select, tables, rows, order, length, key } = list;
    let limit = i64::try_from(window.limit).unwrap_or(i64::MAX);
    let part = |text: String| {
        let sql = Sql { text, args: rows.args.clone() };
        sql.then(" LIMIT ").with(limit).then(" OFFSET ").with(window.offset)
    };
    let sql = match key {
        Some((key, table)) if window.offset >= FAR => {
            let head = format!(
                "SELECT {select}{tables} WHERE {key} IN (SELECT {key} FROM {table}{}{order}",
                rows.text
            );
            part(head).then(")").then(order)
        }
        Some(_) | None => part(format!("SELECT {select}{tables}{}{order}", rows.text)),
    };
    let shown = db.rows(sql).await?.into_iter().map(|mut f| read(&mut f)).collect::<Result<Vec<_>, _>>()?;
    let count = u64::try_from(shown.len()).unwrap_or(u64::MAX);
    let total = if count < window.limit && (count > 0 || window.offset == 0) {
        window.offset + count
    } else {
        let sql = length.unwrap_or_else(|| {
            let counted = i64::try_from(window.count_to).unwrap_or(i64::MAX);
            let text = format!("SELECT count(*) FROM (SELECT 1{tables}{}", rows.text);
            Sql { text, args: rows.args }.then(" LIMIT ").with(counted).then(") AS counted")
        });
        match db.row(sql).await? {
            Some(mut f) => f.number()?,
            None => 0,
        }
    };
    Ok(Page { rows: shown, total: total.min(window.count_to) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_above_a_prefix_is_above_all_that_begin_with_it() {
        for prefix in ["", "a", "az", "\u{d7ff}", "a\u{10ffff}", "\u{10ffff}"] {
            let longest = format!("{prefix}\u{10ffff}\u{10ffff}");
            match above_all_with(prefix) {
                Some(above) => assert!(above > longest && !above.starts_with(prefix), "{prefix:?}"),
                None => assert!(prefix.chars().all(|letter| letter == '\u{10ffff}')),
            }
        }
    }
}
