//! What is encrypted, for a change of the key.

use crate::{
    Error, SecretId, SecretRow,
    sql::{db::Db, statement::Sql},
};

/// The places in the order of [`SecretId`]: table, column of the name, column of the value.
const PLACES: [(&str, &str, &str); 3] = [
    ("connection", "conn_id", "password"),
    ("connection", "conn_id", "extra"),
    ("variable", "name", "value"),
];

/// The place's number, the namespace and the name.
fn parts(id: &SecretId) -> (usize, &str, &str) {
    match id {
        SecretId::Password(namespace, name) => (0, namespace, name),
        SecretId::Extra(namespace, name) => (1, namespace, name),
        SecretId::Variable(namespace, name) => (2, namespace, name),
    }
}

pub(super) async fn secrets(db: &Db, after: Option<&SecretId>, limit: u32) -> Result<Vec<SecretRow>, Error> {
    let (first, namespace, name) = after.map_or((0, "", ""), parts);
    let mut found = Vec::new();
    for (place, (table, column, value)) in PLACES.iter().enumerate().skip(first) {
        let left = u64::from(limit).saturating_sub(u64::try_from(found.len()).unwrap_or(u64::MAX));
        let mut sql = Sql::new(format!(
            "SELECT namespace, {column}, {value} FROM {table} WHERE is_encrypted AND {value} IS NOT NULL"
        ));
        if place == first && after.is_some() {
            sql.push(&format!(" AND (namespace, {column}) > ")).list([namespace, name]);
        }
        sql.push(&format!(" ORDER BY namespace, {column} LIMIT ")).arg(left);
        for mut f in db.rows(sql).await? {
            let (namespace, name) = (f.name()?, f.text()?);
            let id = match place {
                0 => SecretId::Password(namespace, name),
                1 => SecretId::Extra(namespace, name),
                _ => SecretId::Variable(namespace, name),
            };
            found.push(SecretRow { id, value: f.get()? });
        }
    }
    Ok(found)
}

pub(super) fn replace(id: &SecretId, old: &[u8], new: &[u8]) -> Sql {
    let (place, namespace, name) = parts(id);
    let (table, column, value) = PLACES[place];
    let mut sql = Sql::new(format!("UPDATE {table} SET {value} = ")).with(new);
    sql.push(" WHERE namespace = ").arg(namespace).push(&format!(" AND {column} = ")).arg(name);
    sql.push(&format!(" AND is_encrypted AND {value} = ")).arg(old);
    sql
}
