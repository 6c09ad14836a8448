//! Rows into a table: by `COPY` into PostgreSQL, by `INSERT` of many rows at a time into the others.

use sqlx::{AssertSqlSafe, PgConnection, mysql::MySqlArguments, postgres::PgCopyIn, sqlite::SqliteArguments};

use super::{
    cell::Cell,
    fault::Fault,
    session::{Link, Session, Working, mysql, sqlite},
    text::{Dialect, identifier},
};

/// So much is kept before it is sent, in bytes.
const SENT_AT_ONCE: usize = 1 << 20;

/// So many values a statement takes at most: SQLite's own limit is 32766, and MySQL's 65535.
const VALUES_AT_ONCE: usize = 32_000;

/// So many rows go at once, where nothing else is said.
pub(super) const ROWS_AT_ONCE: usize = 1000;

/// A table that takes rows.
pub(super) struct Loader<'a> {
    way: Way<'a>,
    working: Working,
    /// How many columns its rows have, where that is known.
    width: Option<usize>,
    count: u64,
}

enum Way<'a> {
    Copy {
        copy: PgCopyIn<&'a mut PgConnection>,
        lines: Vec<u8>,
    },
    Insert {
        link: &'a mut Link,
        dialect: Dialect,
        /// `INSERT INTO t (a, b) VALUES `
        head: String,
        rows: Vec<Vec<Cell>>,
        bytes: usize,
        rows_at_once: usize,
    },
}

impl<'a> Loader<'a> {
    /// Begins. The columns are all of the table's, where none is named.
    pub(super) async fn begin(
        session: &'a mut Session,
        table: &str,
        columns: &[String],
        rows_at_once: usize,
    ) -> Result<Self, Fault> {
        let dialect = session.dialect();
        let bad = |what: &str, name: &str, why: String| {
            session.server.fault(format!("the {what} {name:?} {why}: name it as the database has it"))
        };
        let name = identifier(table, dialect).map_err(|why| bad("table", table, why))?;
        let columns: Vec<String> = columns
            .iter()
            .map(|column| identifier(column, dialect).map_err(|why| bad("column", column, why)))
            .collect::<Result<_, _>>()?;
        let width = (!columns.is_empty()).then_some(columns.len());
        let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        let (link, working) = session.work();
        let way = match link {
            Link::Postgres(connection) => {
                let begun = connection.copy_in_raw(&format!("COPY {name}{columns} FROM STDIN")).await;
                Way::Copy { copy: begun.map_err(|error| working.failed(error))?, lines: Vec::new() }
            }
            link @ (Link::MySql(_) | Link::Sqlite(_)) => Way::Insert {
                link,
                dialect,
                head: format!("INSERT INTO {name}{columns} VALUES "),
                rows: Vec::new(),
                bytes: 0,
                rows_at_once,
            },
        };
        Ok(Self { way, working, width, count: 0 })
    }

    /// Takes a row.
    pub(super) async fn row(&mut self, cells: Vec<Cell>) -> Result<(), Fault> {
        let width = *self.width.get_or_insert(cells.len());
        if cells.len() != width {
            let why = format!("a row of {} values does not fit the {width} columns", cells.len());
            return Err(self.working.fault(why));
        }
        self.count += 1;
        let full = match &mut self.way {
            Way::Copy { lines, .. } => {
                line(lines, cells);
                lines.len() >= SENT_AT_ONCE
            }
            Way::Insert { rows, bytes, rows_at_once, .. } => {
                *bytes += cells.iter().map(Cell::size).sum::<usize>();
                rows.push(cells);
                *bytes >= SENT_AT_ONCE
                    || rows.len() >= *rows_at_once
                    || (rows.len() + 1) * width > VALUES_AT_ONCE
            }
        };
        if full { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), Fault> {
        let sent = match &mut self.way {
            Way::Copy { copy, lines } => copy.send(std::mem::take(lines)).await.map(drop),
            Way::Insert { rows, .. } if rows.is_empty() => Ok(()),
            Way::Insert { link, dialect, head, rows, bytes, .. } => {
                *bytes = 0;
                let rows = std::mem::take(rows);
                let row = format!("({})", vec!["?"; self.width.unwrap_or_default()].join(", "));
                let text = format!("{head}{}", vec![&*row; rows.len()].join(", "));
                insert(link, *dialect, text, rows).await
            }
        };
        sent.map_err(|error| self.working.failed(error))
    }

    /// Ends; gives how many rows it took.
    pub(super) async fn finish(mut self) -> Result<u64, Fault> {
        self.send().await?;
        if let Way::Copy { copy, .. } = self.way {
            copy.finish().await.map_err(|error| self.working.failed(error))?;
        }
        self.working.ended();
        Ok(self.count)
    }
}

async fn insert(
    link: &mut Link,
    dialect: Dialect,
    text: String,
    rows: Vec<Vec<Cell>>,
) -> Result<(), sqlx::Error> {
    let cells = rows.into_iter().flatten();
    match link {
        Link::MySql(connection) => {
            let mut arguments = MySqlArguments::default();
            for cell in cells {
                mysql::add(&mut arguments, cell).map_err(sqlx::Error::Encode)?;
            }
            sqlx::query_with(AssertSqlSafe(text), arguments).execute(connection).await.map(drop)
        }
        Link::Sqlite(connection) => {
            let mut arguments = SqliteArguments::default();
            for cell in cells {
                sqlite::add(&mut arguments, cell).map_err(sqlx::Error::Encode)?;
            }
            sqlx::query_with(AssertSqlSafe(text), arguments).execute(connection).await.map(drop)
        }
        Link::Postgres(_) => Err(sqlx::Error::Protocol(format!("{dialect:?} takes rows by COPY"))),
    }
}

/// A row in the text form of `COPY`.
fn line(out: &mut Vec<u8>, cells: Vec<Cell>) {
    for (place, cell) in cells.into_iter().enumerate() {
        if place > 0 {
            out.push(b'\t');
        }
        match cell {
            Cell::Bytes(bytes) => {
                out.extend_from_slice(b"\\\\x");
                for byte in bytes {
                    out.extend_from_slice(format!("{byte:02x}").as_bytes());
                }
            }
            Cell::List(cells) => escaped(out, &array(cells)),
            cell => match cell.into_text() {
                Some(text) => escaped(out, &text),
                None => out.extend_from_slice(b"\\N"),
            },
        }
    }
    out.push(b'\n');
}

fn escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            byte => out.push(byte),
        }
    }
}

/// A list as PostgreSQL reads an array.
fn array(cells: Vec<Cell>) -> String {
    let item = |cell| match cell {
        Cell::List(cells) => array(cells),
        Cell::Null => "NULL".to_owned(),
        cell => {
            let text = match cell {
                Cell::Bytes(bytes) => {
                    bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
                }
                cell => cell.into_text().unwrap_or_default(),
            };
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
    };
    format!("{{{}}}", cells.into_iter().map(item).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_whatever_is_in_it() {
        let mut out = Vec::new();
        let text = |text: &str| Cell::Text(text.into());
        line(
            &mut out,
            vec![
                text("a\tb\nc\\N\r"),
                Cell::Null,
                Cell::Bytes(vec![0, 255]),
                Cell::List(vec![text("x,\"y\\"), Cell::Null]),
                Cell::Bool(true),
            ],
        );
        let wanted = r#"a\tb\nc\\N\r	\N	\\x00ff	{"x,\\"y\\\\",NULL}	true"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{wanted}\n"));
    }
}
