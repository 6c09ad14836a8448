//! What a route takes from its query: each parameter is declared once, and read, checked and described from
//! that.

mod elsewhere;

use axum::extract::MatchedPath;
use jiff::{SignedDuration, Timestamp};
use updraft_store::{Bounds, TextFilter, Window};
use utoipa::{
    PartialSchema,
    openapi::{
        RefOr, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{Array, ObjectBuilder, Schema},
    },
};

use super::{
    error::{Error, Invalid},
    time::{self, Time},
};

/// Airflow's `maximum_page_limit`: a larger `limit` counts as this.
const MOST_PER_PAGE: u64 = 100;
/// Airflow's `fallback_page_limit`.
const PER_PAGE: u64 = 50;

/// A query's names and values, in their order.
pub(crate) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub fn of(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The value under this name; the last, where it is there more than once.
    fn last(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// Airflow's parameters of this route that it does not take. Passing over them, as over what nobody knows, would answer
    /// with more than was asked for.
    pub fn refused(&self, route: Option<&MatchedPath>) -> Vec<Invalid> {
        let not_here = route.map(|route| elsewhere::not_here(route.as_str())).unwrap_or_default();
        let refused = self.0.iter().filter(|(key, _)| not_here.contains(&key.as_str()));
        let fault = |(key, value): &(String, String)| {
            let msg = format!("Updraft has no `{key}` here: leave it out");
            Invalid::query(key, "extra_forbidden", msg, value)
        };
        refused.map(fault).collect()
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One or several parameters that belong together.
pub(crate) trait Param: Sized {
    /// Reads it; what is not there has a default, or is required.
    fn read(pairs: &Pairs, name: &str) -> Result<Self, Invalid>;
    /// Describes it for the OpenAPI document.
    fn describe(name: &str, text: &str) -> Vec<Parameter>;
}

/// A value of one parameter.
pub(crate) trait FromText: Sized {
    fn from_text(name: &str, text: &str) -> Result<Self, Invalid>;
    fn schema() -> RefOr<Schema>;
}

impl FromText for String {
    fn from_text(_: &str, text: &str) -> Result<Self, Invalid> {
        Ok(text.to_owned())
    }

    fn schema() -> RefOr<Schema> {
        <String as PartialSchema>::schema()
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl FromText for $type {
            fn from_text(name: &str, text: &str) -> Result<Self, Invalid> {
                text.parse().map_err(|_| {
                    let least = <$type>::MIN;
                    let msg = format!("Input should be a valid integer of at least {least}, `{text}` is none");
                    Invalid::query(name, "int_parsing", msg, text)
                })
            }

            fn schema() -> RefOr<Schema> {
                <$type as PartialSchema>::schema()
            }
        }
    )*};
}

integers!(i32, i64, u32, u64);

impl FromText for f64 {
    fn from_text(name: &str, text: &str) -> Result<Self, Invalid> {
        let msg = "Input should be a valid number, unable to parse string as a number";
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| Invalid::query(name, "float_parsing", msg, text))
    }

    fn schema() -> RefOr<Schema> {
        <f64 as PartialSchema>::schema()
    }
}

impl FromText for bool {
    /// Whatever Pydantic takes for a yes or a no.
    fn from_text(name: &str, text: &str) -> Result<Self, Invalid> {
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
            "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
            _ => {
                let msg = "Input should be a valid boolean, unable to interpret input";
                Err(Invalid::query(name, "bool_parsing", msg, text))
            }
        }
    }

    fn schema() -> RefOr<Schema> {
        <bool as PartialSchema>::schema()
    }
}

impl FromText for Timestamp {
    fn from_text(name: &str, text: &str) -> Result<Self, Invalid> {
        time::parse(text).ok_or_else(|| {
            let msg = format!("`{text}` is no time: write it like 2026-01-31T12:00:00Z");
            Invalid::query(name, "datetime_parsing", msg, text)
        })
    }

    fn schema() -> RefOr<Schema> {
        Time::schema()
    }
}

impl FromText for SignedDuration {
    /// Seconds.
    fn from_text(name: &str, text: &str) -> Result<Self, Invalid> {
        let seconds = f64::from_text(name, text)?;
        SignedDuration::try_from_secs_f64(seconds)
            .map_err(|error| Invalid::query(name, "float_parsing", error.to_string(), text))
    }

    fn schema() -> RefOr<Schema> {
        <f64 as PartialSchema>::schema()
    }
}

fn parameter(name: String, text: &str, schema: RefOr<Schema>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(text.trim()))
        .schema(Some(schema))
        .build()
}

impl<T: FromText> Param for Option<T> {
    fn read(pairs: &Pairs, name: &str) -> Result<Self, Invalid> {
        pairs.last(name).map(|text| T::from_text(name, text)).transpose()
    }

    fn describe(name: &str, text: &str) -> Vec<Parameter> {
        vec![parameter(name.into(), text, T::schema())]
    }
}

impl<T: FromText> Param for Vec<T> {
    fn read(pairs: &Pairs, name: &str) -> Result<Self, Invalid> {
        pairs.all(name).map(|text| T::from_text(name, text)).collect()
    }

    fn describe(name: &str, text: &str) -> Vec<Parameter> {
        vec![parameter(name.into(), text, Schema::Array(Array::new(T::schema())).into())]
    }
}

/// A parameter that has to be there.
pub(crate) struct Needed<T>(pub T);

impl<T: FromText> Param for Needed<T> {
    fn read(pairs: &Pairs, name: &str) -> Result<Self, Invalid> {
        match pairs.last(name) {
            Some(text) => T::from_text(name, text).map(Self),
            None => Err(Invalid::query(name, "missing", "Field required", "")),
        }
    }

    fn describe(name: &str, text: &str) -> Vec<Parameter> {
        let mut parameter = parameter(name.into(), text, T::schema());
        parameter.required = Required::True;
        vec![parameter]
    }
}

const ENDS: [&str; 4] = ["_gte", "_gt", "_lte", "_lt"];

/// `<name>_gte`, `<name>_gt`, `<name>_lte`, `<name>_lt`.
impl<T: FromText> Param for Bounds<T> {
    fn read(pairs: &Pairs, name: &str) -> Result<Self, Invalid> {
        let bound = |end: &str| Option::<T>::read(pairs, &format!("{name}{end}"));
        let [gte, gt, lte, lt] = ENDS;
        Ok(Self { gte: bound(gte)?, gt: bound(gt)?, lte: bound(lte)?, lt: bound(lt)? })
    }

    fn describe(name: &str, text: &str) -> Vec<Parameter> {
        ENDS.map(|end| parameter(format!("{name}{end}"), text, T::schema())).into()
    }
}

/// `<name>_pattern` (contains, `|` for or, `%` and `_` as in SQL) and `<name>_prefix_pattern` (begins with).
#[derive(Clone, Debug, Default)]
pub(crate) struct Pattern(pub TextFilter);

impl Pattern {
    /// Also exactly one of these, where any are named.
    pub fn exactly(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> TextFilter {
        self.0.exactly.extend(names.into_iter().map(Into::into));
        self.0
    }
}

impl Param for Pattern {
    fn read(pairs: &Pairs, name: &str) -> Result<Self, Invalid> {
        // `~` is everything.
        let terms = |text: &str| -> Vec<String> {
            text.split('|')
                .map(str::trim)
                .filter(|term| !term.is_empty() && *term != "~")
                .map(Into::into)
                .collect()
        };
        let terms_of = |kind: &str| pairs.last(&format!("{name}{kind}")).map(terms).unwrap_or_default();
        let (contains, begins) = (terms_of("_pattern"), terms_of("_prefix_pattern"));
        Ok(Self(TextFilter { contains, begins, ..TextFilter::default() }))
    }

    fn describe(name: &str, text: &str) -> Vec<Parameter> {
        let contains = format!("{} Contains this, in either case; `|` is or, `%` any text.", text.trim());
        let begins = format!("{} Begins with this; `|` is or.", text.trim());
        vec![
            parameter(format!("{name}_pattern"), &contains, <String as FromText>::schema()),
            parameter(format!("{name}_prefix_pattern"), &begins, <String as FromText>::schema()),
        ]
    }
}

/// `<name>` (exactly), and the two of [`Pattern`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Named(pub TextFilter);

impl Param for Named {
    fn read(pairs: &Pairs, name: &str) -> Result<Self, Invalid> {
        Ok(Self(Pattern::read(pairs, name)?.exactly(pairs.last(name))))
    }

    fn describe(name: &str, text: &str) -> Vec<Parameter> {
        let mut all = vec![parameter(name.into(), text, <String as FromText>::schema())];
        all.extend(Pattern::describe(name, text));
        all
    }
}

/// `limit` and `offset`.
impl Param for Window {
    fn read(pairs: &Pairs, _: &str) -> Result<Self, Invalid> {
        let limit = Option::<u64>::read(pairs, "limit")?.unwrap_or(PER_PAGE).min(MOST_PER_PAGE);
        let offset = Option::<u64>::read(pairs, "offset")?.unwrap_or(0);
        // What is beyond what a database can count is beyond the end of every list.
        let offset = offset.min(i64::MAX.unsigned_abs());
        Ok(Self { limit, offset, ..Self::default() })
    }

    fn describe(_: &str, _: &str) -> Vec<Parameter> {
        let number = |default: u64| -> RefOr<Schema> {
            let integer = utoipa::openapi::schema::Type::Integer;
            let default = Some(default.into());
            ObjectBuilder::new().schema_type(integer).minimum(Some(0)).default(default).build().into()
        };
        vec![
            parameter("limit".into(), "So many at most; 100 if it is more.", number(PER_PAGE)),
            parameter("offset".into(), "So many are passed over.", number(0)),
        ]
    }
}

/// `cursor`: where a list goes on, instead of `offset`. Empty for the first page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cursor(Option<u64>);

impl Cursor {
    /// The part of the list that is meant.
    pub fn window(&self, window: Window) -> Window {
        Window { offset: self.0.unwrap_or(window.offset), ..window }
    }

    /// The cursors of the pages after and before, where they were asked for and are there.
    pub fn around(&self, window: Window, rows: usize, total: u64) -> (Option<String>, Option<String>) {
        let after = window.offset.saturating_add(rows as u64);
        let before = window.offset.saturating_sub(window.limit);
        let next = (self.0.is_some() && rows > 0 && after < total).then(|| after.to_string());
        (next, (self.0.is_some() && window.offset > 0).then(|| before.to_string()))
    }
}

impl Param for Cursor {
    fn read(pairs: &Pairs, name: &str) -> Result<Self, Invalid> {
        let offset = match pairs.last(name) {
            None => return Ok(Self(None)),
            Some("") => 0,
            Some(text) => u64::from_text(name, text)?,
        };
        Ok(Self(Some(offset.min(i64::MAX.unsigned_abs()))))
    }

    fn describe(name: &str, _: &str) -> Vec<Parameter> {
        let text =
            "Empty for the first page, then `next_cursor` of the answer; `offset` does not count then.";
        vec![parameter(name.into(), text, <String as FromText>::schema())]
    }
}

/// Declares what a route takes from its query.
macro_rules! query {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $text:expr])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        pub(crate) struct $name { $($(#[doc = $text])* pub $field: $type,)* }

        impl<S: Send + Sync> axum::extract::FromRequestParts<S> for $name {
            type Rejection = $crate::http::Error;

            async fn from_request_parts(
                parts: &mut axum::http::request::Parts,
                _: &S,
            ) -> Result<Self, $crate::http::Error> {
                let pairs = $crate::http::query::Pairs::of(parts.uri.query());
                let mut faults = Vec::new();
                $(
                    let read = <$type as $crate::http::query::Param>::read(&pairs, stringify!($field));
                    let $field = read.map_err(|fault| faults.push(fault)).ok();
                )*
                faults.extend(pairs.refused(parts.extensions.get::<axum::extract::MatchedPath>()));
                match ($($field,)*) {
                    ($(Some($field),)*) if faults.is_empty() => Ok(Self { $($field,)* }),
                    _ => Err($crate::http::Error::Invalid(faults)),
                }
            }
        }

        impl utoipa::IntoParams for $name {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                let mut all = Vec::new();
                $(
                    let text = concat!($($text,)*);
                    all.extend(<$type as $crate::http::query::Param>::describe(stringify!($field), text));
                )*
                all
            }
        }
    };
}

pub(crate) use query;

/// Reads `order_by`: names of fields, a dash before one for the largest first.
pub(crate) fn order<F: Copy>(
    order_by: &[String],
    fields: &[(&str, F)],
) -> Result<Vec<updraft_store::Order<F>>, Error> {
    let known = |text: &String| {
        let name = text.trim_start_matches('-');
        let by = fields.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
        let order = by.map(|by| updraft_store::Order { by, descending: text.starts_with('-') });
        order.ok_or_else(|| {
            Error::bad_request(format!(
                "Ordering with '{name}' is disallowed or the attribute does not exist on the model"
            ))
        })
    };
    order_by.iter().filter(|text| !text.is_empty()).map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Pairs {
        Pairs::of(Some(query))
    }

    #[test]
    fn a_limit_is_capped_and_a_negative_one_refused() {
        let window = Window::read(&pairs("limit=1000&offset=7"), "window").unwrap();
        assert_eq!((window.limit, window.offset), (100, 7));
        let fault = Window::read(&pairs("limit=-1"), "window").unwrap_err();
        assert_eq!(fault.loc, ["query", "limit"]);
    }

    #[test]
    fn patterns_are_parted_by_bars_and_a_tilde_is_everything() {
        let pattern =
            Pattern::read(&pairs("dag_id_pattern=a%20%7C%20b&dag_id_prefix_pattern=~"), "dag_id").unwrap();
        assert_eq!(pattern.0.contains, ["a", "b"]);
        assert!(pattern.0.begins.is_empty());
    }

    #[test]
    fn bounds_are_read_by_their_endings() {
        let bounds = Bounds::<Timestamp>::read(
            &pairs("start_date_gte=2026-01-01&start_date_lt=2026-01-02"),
            "start_date",
        );
        let bounds = bounds.unwrap();
        assert!(bounds.gte < bounds.lt && bounds.gt.is_none());
        assert!(Bounds::<SignedDuration>::read(&pairs("duration_gt=nan"), "duration").is_err());
    }

    #[test]
    fn only_known_fields_order() {
        let fields = [("dag_id", 1), ("state", 2)];
        let order = order(&["-state".into(), "dag_id".into()], &fields).unwrap();
        assert_eq!((order[0].by, order[0].descending, order[1].by), (2, true, 1));
        assert!(super::order(&["hash".into()], &fields).is_err());
    }
}
