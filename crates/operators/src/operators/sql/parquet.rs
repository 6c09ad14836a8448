//! Rows as a Parquet file: its columns are what the database says that they are, and its rows come in groups of
//! bounded size.

use std::{collections::BTreeSet, fs::File, sync::Arc};

use jiff::civil::{Time, date};
use parquet::{
    basic::{Compression, LogicalType, TimeUnit, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{Type, TypePtr},
};

use super::cell::{Cell, Column, Kind};

/// A group has so many rows at most.
const ROWS: usize = 50_000;
/// With so many bytes, about, a group is full.
const BYTES: usize = 16 << 20;

/// Rows that are to be written together.
#[derive(Default)]
pub(super) struct Group {
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Group {
    pub fn add(&mut self, row: Vec<Cell>) {
        self.bytes += row.iter().map(Cell::size).sum::<usize>();
        self.rows.push(row);
    }

    pub fn is_full(&self) -> bool {
        self.rows.len() >= ROWS || self.bytes >= BYTES
    }
}

/// A file that is being written.
pub(super) struct Writer {
    columns: Vec<Column>,
    state: State,
}

enum State {
    /// Of some columns the first rows have to tell what they are.
    New(File),
    Begun(SerializedFileWriter<File>),
}

impl Writer {
    /// Writes rows of these columns to a file.
    pub fn new(columns: Vec<Column>, file: File) -> Result<Self, String> {
        if columns.is_empty() {
            return Err("the statement gives no columns".into());
        }
        let mut names = BTreeSet::new();
        match columns.iter().find(|column| !names.insert(&column.name)) {
            Some(Column { name, .. }) => {
                Err(format!("two columns are called `{name}`: give one another name by AS"))
            }
            None => Ok(Self { columns, state: State::New(file) }),
        }
    }

    /// Writes the rows of a group. Blocks.
    pub fn write(self, mut group: Group) -> Result<Self, String> {
        let Self { mut columns, state } = self;
        if group.rows.iter().any(|row| row.len() != columns.len()) {
            return Err("the statement gives rows of different columns".into());
        }
        let mut file = match state {
            State::Begun(file) => file,
            State::New(file) => {
                for (place, column) in columns.iter_mut().enumerate() {
                    let cells = || group.rows.iter().map(|row| &row[place]);
                    column.kind.get_or_insert_with(|| Kind::of_values(cells));
                }
                begin(&columns, file).map_err(|error| error.to_string())?
            }
        };
        if !group.rows.is_empty() {
            write_group(&columns, &mut group, &mut file)?;
        }
        Ok(Self { columns, state: State::Begun(file) })
    }

    /// Ends the file. Blocks.
    pub fn finish(self) -> Result<File, String> {
        match self.state {
            State::New(file) => Ok(file),
            State::Begun(file) => file.into_inner().map_err(|error| error.to_string()),
        }
    }
}

fn begin(columns: &[Column], file: File) -> Result<SerializedFileWriter<File>, ParquetError> {
    let fields = columns.iter().map(|column| Ok(Arc::new(field(&column.name, kind(column))?)));
    let fields = fields.collect::<Result<Vec<TypePtr>, ParquetError>>()?;
    let schema = Type::group_type_builder("rows").with_fields(fields).build()?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))
}

fn field(name: &str, kind: Kind) -> Result<Type, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Bool => (Physical::BOOLEAN, None),
        Kind::Int => (Physical::INT64, None),
        Kind::Unsigned => (Physical::INT64, Some(LogicalType::integer(64, false))),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Bytes => (Physical::BYTE_ARRAY, None),
        Kind::Date => (Physical::INT32, Some(LogicalType::Date)),
        Kind::Time => (Physical::INT64, Some(LogicalType::time(false, TimeUnit::MICROS))),
        Kind::DateTime => (Physical::INT64, Some(LogicalType::timestamp(false, TimeUnit::MICROS))),
        Kind::Instant => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
    };
    Type::primitive_type_builder(name, physical).with_logical_type(logical).build()
}

/// What a column is, which is known when the file has begun.
fn kind(column: &Column) -> Kind {
    column.kind.unwrap_or(Kind::Text)
}

fn write_group(
    columns: &[Column],
    group: &mut Group,
    file: &mut SerializedFileWriter<File>,
) -> Result<(), String> {
    let failed = |error: ParquetError| error.to_string();
    let mut writer = file.next_row_group().map_err(failed)?;
    for (place, column) in columns.iter().enumerate() {
        let Some(mut target) = writer.next_column().map_err(failed)? else { break };
        let cells = group.rows.iter_mut().map(|row| std::mem::replace(&mut row[place], Cell::Null));
        write_column(&mut target, column, cells)?;
        target.close().map_err(failed)?;
    }
    writer.close().map(drop).map_err(failed)
}

fn write_column(
    target: &mut SerializedColumnWriter<'_>,
    column: &Column,
    cells: impl Iterator<Item = Cell>,
) -> Result<(), String> {
    match kind(column) {
        Kind::Bool => put::<BoolType>(target, column, cells, |cell| match cell {
            Cell::Bool(value) => Some(*value),
            _ => None,
        }),
        Kind::Float => put::<DoubleType>(target, column, cells, |cell| match cell {
            Cell::Float(value) => Some(*value),
            Cell::Int(value) => Some(*value as f64),
            _ => None,
        }),
        Kind::Text => put::<ByteArrayType>(target, column, cells, |cell| {
            Some(cell.clone().into_text()?.into_bytes().into())
        }),
        Kind::Bytes => put::<ByteArrayType>(target, column, cells, |cell| match cell {
            Cell::Bytes(bytes) => Some(ByteArray::from(bytes.clone())),
            _ => None,
        }),
        Kind::Date => put::<Int32Type>(target, column, cells, |cell| match cell {
            Cell::Date(day) => Some((*day - date(1970, 1, 1)).get_days()),
            _ => None,
        }),
        kind @ (Kind::Int | Kind::Unsigned | Kind::Time | Kind::DateTime | Kind::Instant) => {
            put::<Int64Type>(target, column, cells, |cell| whole(kind, cell))
        }
    }
}

/// A value of a column whose values are whole numbers of 64 bits there.
fn whole(kind: Kind, cell: &Cell) -> Option<i64> {
    match (kind, cell) {
        (Kind::Int, Cell::Int(value)) => Some(*value),
        (Kind::Unsigned, Cell::Int(value)) => u64::try_from(*value).ok().map(u64::cast_signed),
        (Kind::Unsigned, Cell::Decimal(text)) => text.parse::<u64>().ok().map(u64::cast_signed),
        (Kind::Time, Cell::Time(time)) => micros(time.duration_since(Time::midnight())),
        (Kind::DateTime, Cell::DateTime(time)) => {
            micros(time.duration_since(date(1970, 1, 1).at(0, 0, 0, 0)))
        }
        (Kind::Instant, Cell::Instant(time)) => Some(time.as_microsecond()),
        _ => None,
    }
}

fn micros(since: jiff::SignedDuration) -> Option<i64> {
    i64::try_from(since.as_micros()).ok()
}

/// Writes a column's values, as what they are there. Nulls have none.
fn put<T: DataType>(
    target: &mut SerializedColumnWriter<'_>,
    column: &Column,
    cells: impl Iterator<Item = Cell>,
    value: impl Fn(&Cell) -> Option<T::T>,
) -> Result<(), String> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    for cell in cells {
        let is_there = cell != Cell::Null;
        levels.push(i16::from(is_there));
        if is_there {
            values.push(value(&cell).ok_or_else(|| {
                let (name, kind, shown) = (&column.name, kind(column).shown(), cell.shown());
                let shown: String = shown.chars().take(80).collect();
                format!("`{shown}` in column `{name}` is no {kind}: write `CAST({name} AS text)`")
            })?);
        }
    }
    let written = target.typed::<T>().write_batch(&values, Some(&levels), None);
    written.map(drop).map_err(|error| error.to_string())
}
