//! A statement being put together, and its arguments.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// A type that a column or an argument can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Real,
    Bool,
    Text,
    Bytes,
}

/// An argument. Also an absent one has a type, which PostgreSQL wants to know.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    Int(Option<i64>),
    Real(f64),
    Bool(bool),
    Text(Option<Arc<str>>),
    Bytes(Option<Vec<u8>>),
}

impl From<&str> for Arg {
    /// PostgreSQL's texts can't hold a NUL, and a commit must not fail for one in somebody's message: it is
    /// kept as U+FFFD, in SQLite too, so that both give the same.
    fn from(text: &str) -> Self {
        Self::Text(Some(if text.contains('\0') {
            text.replace('\0', "\u{fffd}").into()
        } else {
            text.into()
        }))
    }
}

impl From<Arc<str>> for Arg {
    fn from(text: Arc<str>) -> Self {
        if text.contains('\0') { (&*text).into() } else { Self::Text(Some(text)) }
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Arg {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl<T: Into<Arg>> From<Option<T>> for Arg
where
    Absent<T>: Into<Arg>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or_else(|| Absent::<T>(std::marker::PhantomData).into(), Into::into)
    }
}

/// An absent value of this type.
pub(super) struct Absent<T>(std::marker::PhantomData<T>);

macro_rules! absent {
    ($($type:ty => $arg:expr;)*) => {$(
        impl From<Absent<$type>> for Arg {
            fn from(_: Absent<$type>) -> Self {
                $arg
            }
        }
    )*};
}

absent! {
    i64 => Self::Int(None);
    u64 => Self::Int(None);
    i32 => Self::Int(None);
    u32 => Self::Int(None);
    u16 => Self::Int(None);
    Timestamp => Self::Int(None);
    &str => Self::Text(None);
    &String => Self::Text(None);
    String => Self::Text(None);
    Arc<str> => Self::Text(None);
    Vec<u8> => Self::Bytes(None);
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<i32> for Arg {
    fn from(value: i32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<u16> for Arg {
    fn from(value: u16) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<u64> for Arg {
    /// What is beyond the largest number that a database has is as good as that number.
    fn from(value: u64) -> Self {
        Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Arg {
    /// SQLite takes "not a number" for null; a mean that is none is as good as 0.
    fn from(value: f64) -> Self {
        Self::Real(if value.is_finite() { value } else { 0.0 })
    }
}

impl From<Timestamp> for Arg {
    fn from(value: Timestamp) -> Self {
        value.as_microsecond().into()
    }
}

impl From<SignedDuration> for Arg {
    fn from(value: SignedDuration) -> Self {
        micros(value).into()
    }
}

impl From<Vec<u8>> for Arg {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<&[u8]> for Arg {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.into()))
    }
}

/// A duration as it is kept.
pub(super) fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(if duration.is_negative() { i64::MIN } else { i64::MAX })
}

/// A statement with its arguments, which stand as `$1`, `$2`, … in both databases.
#[derive(Debug, Default)]
pub(super) struct Sql {
    pub text: String,
    pub args: Vec<Arg>,
}

impl Sql {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), args: Vec::new() }
    }

    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub fn arg(&mut self, arg: impl Into<Arg>) -> &mut Self {
        self.args.push(arg.into());
        self.text.push('$');
        self.text.push_str(&self.args.len().to_string());
        self
    }

    /// Arguments in parentheses, parted by commas.
    pub fn list<A: Into<Arg>>(&mut self, args: impl IntoIterator<Item = A>) -> &mut Self {
        self.push("(");
        for (i, arg) in args.into_iter().enumerate() {
            if i > 0 {
                self.push(", ");
            }
            self.arg(arg);
        }
        self.push(")")
    }

    /// For chains that begin with `Sql::new`.
    pub fn with(mut self, arg: impl Into<Arg>) -> Self {
        self.arg(arg);
        self
    }

    /// For chains that begin with `Sql::new`.
    pub fn then(mut self, text: &str) -> Self {
        self.push(text);
        self
    }
}
