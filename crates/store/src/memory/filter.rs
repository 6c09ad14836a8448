//! Conditions, orders and pages, as the databases have them.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};

use crate::{Bounds, Order, Page, TextFilter, Window};

/// Whether a text passes; an absent one passes no filter that asks for something.
pub(super) fn matches(filter: &TextFilter, text: Option<&str>) -> bool {
    let Some(text) = text else { return *filter == TextFilter::default() };
    (filter.exactly.is_empty() || filter.exactly.iter().any(|name| name == text))
        && (filter.contains.is_empty() || filter.contains.iter().any(|term| contains(text, term)))
        && (filter.begins.is_empty() || filter.begins.iter().any(|prefix| text.starts_with(prefix)))
}

/// `LIKE '%term%'`, ASCII letters in either case.
fn contains(text: &str, term: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = format!("%{term}%").chars().collect();
    // Where to go on when what follows the last `%` did not fit: one letter further.
    let (mut t, mut p, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                star = Some((t, p));
                p += 1;
            }
            Some(letter) if *letter == '_' || letter.eq_ignore_ascii_case(&text[t]) => {
                t += 1;
                p += 1;
            }
            _ => {
                let Some((from, at)) = star else { return false };
                star = Some((from + 1, at));
                t = from + 1;
                p = at + 1;
            }
        }
    }
    pattern[p..].iter().all(|letter| *letter == '%')
}

/// Whether a value is in these bounds; an absent one is in no bounds but the empty ones.
pub(super) fn within<T: PartialOrd + Copy>(bounds: &Bounds<T>, value: Option<T>) -> bool {
    let Bounds { gte, gt, lte, lt } = *bounds;
    let holds = |bound: Option<T>, test: fn(&T, &T) -> bool| {
        bound.is_none_or(|bound| value.is_some_and(|value| test(&value, &bound)))
    };
    holds(gte, T::ge) && holds(gt, T::gt) && holds(lte, T::le) && holds(lt, T::lt)
}

/// From beginning to end, where it has ended.
pub(super) fn duration(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<SignedDuration> {
    from.zip(to).map(|(from, to)| to.duration_since(from))
}

/// Whether one of these is meant; all are, where none is named.
pub(super) fn among<T: PartialEq>(values: &[T], value: &T) -> bool {
    values.is_empty() || values.contains(value)
}

/// A value to order by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    Int(i64),
    Text(String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Timestamp> for Cell {
    fn from(time: Timestamp) -> Self {
        Self::Int(time.as_microsecond())
    }
}

impl From<SignedDuration> for Cell {
    fn from(duration: SignedDuration) -> Self {
        Self::Int(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Orders rows; what is absent comes last either way, the key decides last, in the last field's direction.
pub(super) fn sort<T, F: Copy, K: Ord>(
    rows: &mut [T],
    order: &[Order<F>],
    cell: impl Fn(&T, F) -> Option<Cell>,
    key: impl Fn(&T) -> K,
) {
    rows.sort_by(|a, b| {
        for Order { by, descending } in order {
            let ordering = match (cell(a, *by), cell(b, *by)) {
                (Some(a), Some(b)) if *descending => b.cmp(&a),
                (Some(a), Some(b)) => a.cmp(&b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
        let ordering = key(a).cmp(&key(b));
        if order.last().is_some_and(|order| order.descending) { ordering.reverse() } else { ordering }
    });
}

/// The part of the rows that the window shows.
pub(super) fn page<T>(rows: Vec<T>, window: Window) -> Page<T> {
    let total = u64::try_from(rows.len()).unwrap_or(u64::MAX).min(window.count_to);
    let offset = usize::try_from(window.offset).unwrap_or(usize::MAX);
    let limit = usize::try_from(window.limit).unwrap_or(usize::MAX);
    Page { rows: rows.into_iter().skip(offset).take(limit).collect(), total }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_stands_for_any_text_and_underscore_for_any_letter() {
        for (text, term, expected) in [
            ("daily_sales", "SALES", true),
            ("daily_sales", "d%s_l", true),
            ("daily_sales", "y_s", true),
            ("daily_sales", "weekly", false),
            ("Ärger", "ärger", false),
            ("", "", true),
            ("", "_", false),
            ("aab", "a_b", true),
            ("abab", "%b%b", true),
            (r"a\b", r"a\", true),
        ] {
            assert_eq!(contains(text, term), expected, "{text} like {term}");
        }
    }
}
