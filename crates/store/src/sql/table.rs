//! Many rows in few statements.
//!
//! What a commit costs on SQLite was measured with 1,000 task instances (24 columns, three indexes) and
//! 4,000 transitions, of the time before the sync: `VALUES` with 256 rows 12 ms, with 1,000 rows 16 ms, with
//! 32 rows 18 ms; one JSON text and `json_each` 48 ms; a statement for each row 87 ms, since each goes to the
//! driver's thread and back. So: `VALUES` in blocks of few sizes, whose statements stay prepared. The
//! placeholders have no numbers there: SQLite looks numbered ones up one by one. PostgreSQL takes an array
//! for each column and needs one statement for any number of rows.

use super::statement::{Arg, Type};

/// A table, with the columns that are written and read in this order.
#[derive(Debug)]
pub(super) struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Type)],
    /// What makes a row unique.
    pub key: &'static [&'static str],
}

impl Table {
    /// The columns for a `SELECT`, each with the table's short name before it.
    pub fn select(&self, alias: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(name, _)| format!("{alias}.{name}")).collect();
        columns.join(", ")
    }
}

/// What to do where a row's key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conflict {
    /// It can't be.
    Fail,
    /// The old row stays.
    Keep,
    /// The new row takes its place.
    Replace,
}

/// Rows of the same columns.
#[derive(Debug)]
pub(super) struct Rows {
    columns: &'static [(&'static str, Type)],
    cells: Vec<Arg>,
}

impl Rows {
    pub fn new(columns: &'static [(&'static str, Type)], rows: usize) -> Self {
        Self { columns, cells: Vec::with_capacity(columns.len() * rows) }
    }

    pub fn of<const N: usize>(
        columns: &'static [(&'static str, Type)],
        rows: impl IntoIterator<Item = [Arg; N]>,
    ) -> Self {
        let rows = rows.into_iter();
        let mut all = Self::new(columns, rows.size_hint().0);
        rows.for_each(|row| all.push(row));
        all
    }

    pub fn push<const N: usize>(&mut self, row: [Arg; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.cells.extend(row);
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub fn width(&self) -> usize {
        self.columns.len()
    }

    pub fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// `VALUES (?, …), …` for so many rows of so many columns.
    pub fn values(rows: usize, columns: usize) -> String {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let mut text = String::with_capacity(8 + rows * (row.len() + 2));
        text.push_str("VALUES ");
        for i in 0..rows {
            if i > 0 {
                text.push_str(", ");
            }
            text.push_str(&row);
        }
        text
    }

    /// The cells in blocks of rows, with the number of rows in each: a power of two, the largest first. So any
    /// number of rows takes few statements, and few different ones stay prepared.
    pub fn blocks(self) -> impl Iterator<Item = (usize, Vec<Arg>)> {
        const LARGEST: u32 = 256_u32.ilog2();
        let width = self.columns.len();
        let mut cells = self.cells.into_iter();
        std::iter::from_fn(move || {
            let left = cells.len() / width;
            let size = 1 << left.checked_ilog2()?.min(LARGEST);
            Some((size, cells.by_ref().take(size * width).collect()))
        })
    }

    /// `SELECT * FROM unnest(…)` with one array for each column.
    pub fn unnest(&self) -> String {
        let arrays: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, (_, of))| {
                let of = match of {
                    Type::Int => "bigint",
                    Type::Real => "double precision",
                    Type::Bool => "boolean",
                    Type::Text => "text",
                    Type::Bytes => "bytea",
                };
                format!("${}::{of}[]", i + 1)
            })
            .collect();
        format!("SELECT * FROM unnest({})", arrays.join(", "))
    }

    /// The cells by column.
    pub fn by_column(self) -> Vec<(Type, Vec<Arg>)> {
        let width = self.columns.len();
        let rows = self.cells.len() / width;
        let mut columns: Vec<(Type, Vec<Arg>)> =
            self.columns.iter().map(|(_, of)| (*of, Vec::with_capacity(rows))).collect();
        for (i, cell) in self.cells.into_iter().enumerate() {
            columns[i % width].1.push(cell);
        }
        columns
    }
}

/// What follows the rows of an `INSERT`.
pub(super) fn on_conflict(table: &Table, conflict: Conflict) -> String {
    let key = table.key.join(", ");
    match conflict {
        Conflict::Fail => String::new(),
        Conflict::Keep => format!(" ON CONFLICT ({key}) DO NOTHING"),
        Conflict::Replace => {
            let set: Vec<String> = table
                .columns
                .iter()
                .filter(|(name, _)| !table.key.contains(name))
                .map(|(name, _)| format!("{name} = excluded.{name}"))
                .collect();
            format!(" ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", "))
        }
    }
}
