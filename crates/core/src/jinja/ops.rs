//! Python's operators.

use std::rc::Rc;

use super::{
    eval::Machine,
    fault::{Fault, Result, fault, wrong},
    format::percent,
    object::Object,
    syntax::{Comparison, Op},
    time::Delta,
    value::{Mode, Value},
};

impl Machine<'_> {
    pub(super) fn binary(&self, op: Op, left: &Value, right: &Value) -> Result<Value> {
        if op != Op::Concat {
            self.defined(left)?;
            self.defined(right)?;
        }
        let value = match op {
            Op::Concat => Some(self.concat(left, right)?),
            Op::Add => self.add(left, right)?,
            Op::Sub => match (left, right) {
                (Value::DateTime(a), Value::DateTime(b)) => Some(Value::Delta(a.since(b)?)),
                (Value::DateTime(a), Value::Delta(b)) => Some(a.plus(b.negated())?.into()),
                (Value::Date(a), Value::Date(b)) => Some(Value::Delta(Delta::between_dates(*a, *b))),
                (Value::Date(a), Value::Delta(b)) => Some(super::time::date_plus(*a, b.negated())?),
                (Value::DateTime(a), Value::Object(Object::Relative(b))) => Some(b.negated().after(a)?),
                (Value::Date(a), Value::Object(Object::Relative(b))) => Some(b.negated().after_date(*a)?),
                (Value::Delta(a), Value::Delta(b)) => Some(Value::Delta(a.plus(b.negated()))),
                _ => number(left, right, i128::checked_sub, |a, b| a - b)?,
            },
            Op::Mul => self.multiply(left, right)?,
            Op::Div => match (left, right) {
                (Value::Delta(a), Value::Delta(b)) if b.micros != 0 => {
                    Some(Value::Float(a.micros as f64 / b.micros as f64))
                }
                (Value::Delta(a), _) if right.as_int().is_some_and(|by| by != 0) => {
                    Some(Value::Delta(a.divided(right.as_int().unwrap_or(1))))
                }
                _ => match (left.as_float(), right.as_float()) {
                    (Some(_), Some(0.0)) => return fault("division by zero"),
                    (Some(a), Some(b)) => Some(Value::Float(a / b)),
                    _ => None,
                },
            },
            Op::FloorDiv => match (left.as_int(), right.as_int()) {
                (Some(_), Some(0)) => return fault("integer division or modulo by zero"),
                (Some(a), Some(b)) => Some(Value::Int(floor_div(a, b).ok_or_else(too_large)?)),
                _ => match (left.as_float(), right.as_float()) {
                    (Some(_), Some(0.0)) => return fault("float floor division by zero"),
                    (Some(a), Some(b)) => Some(Value::Float(float_div_mod(a, b).0)),
                    _ => None,
                },
            },
            Op::Rem => match (left, left.as_int(), right.as_int()) {
                (Value::Str(template), ..) => Some(Value::str(percent(self, template, right)?)),
                (_, Some(_), Some(0)) => return fault("integer modulo by zero"),
                (_, Some(a), Some(b)) => {
                    let floor = floor_div(a, b).ok_or_else(too_large)?;
                    Some(Value::Int(a - floor * b))
                }
                _ => match (left.as_float(), right.as_float()) {
                    (Some(_), Some(0.0)) => return fault("float modulo"),
                    (Some(a), Some(b)) => Some(Value::Float(float_div_mod(a, b).1)),
                    _ => None,
                },
            },
            Op::Pow => power(left, right)?,
        };
        value.map_or_else(
            || {
                let (a, b) = (left.type_name(), right.type_name());
                fault(format!("unsupported operand types for {}: '{a}' and '{b}'", sign(op)))
            },
            Ok,
        )
    }

    /// `~`: both as text.
    fn concat(&self, left: &Value, right: &Value) -> Result<Value> {
        let (a, b) = (self.text(left)?, self.text(right)?);
        self.charge(a.len() + b.len())?;
        Ok(Value::str(a + &b))
    }

    fn add(&self, left: &Value, right: &Value) -> Result<Option<Value>> {
        Ok(Some(match (left, right) {
            (Value::Str(_), Value::Str(_)) => self.concat(left, right)?,
            // What is added to a text that is escaped already is escaped too.
            (Value::Markup(a), Value::Markup(b)) => Value::Markup(format!("{a}{b}").into()),
            (Value::Markup(a), Value::Str(b)) => Value::Markup(format!("{a}{}", escape(b)).into()),
            (Value::Str(a), Value::Markup(b)) => Value::Markup(format!("{}{b}", escape(a)).into()),
            (Value::List(a), Value::List(b)) => {
                let items: Vec<_> = a.borrow().iter().chain(&*b.borrow()).cloned().collect();
                self.charge(items.len())?;
                Value::list(items)
            }
            (Value::Tuple(a), Value::Tuple(b)) => {
                self.charge(a.len() + b.len())?;
                Value::tuple(a.iter().chain(&**b).cloned().collect())
            }
            (Value::DateTime(time), Value::Delta(delta)) | (Value::Delta(delta), Value::DateTime(time)) => {
                time.plus(*delta)?.into()
            }
            (Value::Date(date), Value::Delta(delta)) | (Value::Delta(delta), Value::Date(date)) => {
                super::time::date_plus(*date, *delta)?
            }
            (Value::Delta(a), Value::Delta(b)) => Value::Delta(a.plus(*b)),
            (Value::DateTime(time), Value::Object(Object::Relative(of)))
            | (Value::Object(Object::Relative(of)), Value::DateTime(time)) => of.after(time)?,
            (Value::Date(date), Value::Object(Object::Relative(of)))
            | (Value::Object(Object::Relative(of)), Value::Date(date)) => of.after_date(*date)?,
            _ => return number(left, right, i128::checked_add, |a, b| a + b),
        }))
    }

    fn multiply(&self, left: &Value, right: &Value) -> Result<Option<Value>> {
        let (times, of) = match (left.as_int(), right.as_int()) {
            (Some(times), None) => (times, right),
            (None, Some(times)) => (times, left),
            _ => return number(left, right, i128::checked_mul, |a, b| a * b),
        };
        let count = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
        Ok(Some(match of {
            Value::Str(text) => {
                self.charge(text.len().saturating_mul(count))?;
                Value::str(text.repeat(count))
            }
            Value::List(items) => {
                self.charge(items.borrow().len().saturating_mul(count))?;
                Value::list(repeated(&items.borrow(), count))
            }
            Value::Tuple(items) => {
                self.charge(items.len().saturating_mul(count))?;
                Value::tuple(repeated(items, count))
            }
            Value::Delta(delta) => Value::Delta(delta.times(times)),
            _ => return number(left, right, i128::checked_mul, |a, b| a * b),
        }))
    }

    /// Compares; `in` goes through what is on its right.
    pub(super) fn compare(&self, op: Comparison, left: &Value, right: &Value) -> Result<bool> {
        for value in [left, right] {
            let empty = matches!(value, Value::Undefined(undefined) if undefined.mode != Mode::Strict);
            let only_equal =
                matches!(op, Comparison::Eq | Comparison::Ne | Comparison::In | Comparison::NotIn);
            if !(empty && only_equal) {
                self.defined(value)?;
            }
        }
        self.charge(left.len().unwrap_or(1).min(right.len().unwrap_or(1)))?;
        Ok(match op {
            Comparison::Eq => left.equals(right),
            Comparison::Ne => !left.equals(right),
            Comparison::Lt => self.order(left, right)?.is_some_and(|order| order.is_lt()),
            Comparison::Le => self.order(left, right)?.is_some_and(|order| order.is_le()),
            Comparison::Gt => self.order(left, right)?.is_some_and(|order| order.is_gt()),
            Comparison::Ge => self.order(left, right)?.is_some_and(|order| order.is_ge()),
            Comparison::In => self.contains(right, left)?,
            Comparison::NotIn => !self.contains(right, left)?,
        })
    }

    /// `None` only where one is no number.
    fn order(&self, left: &Value, right: &Value) -> Result<Option<std::cmp::Ordering>> {
        let nan = |value: &Value| matches!(value, Value::Float(number) if number.is_nan());
        if nan(left) || nan(right) { Ok(None) } else { left.order(right).map(Some) }
    }

    fn contains(&self, all: &Value, one: &Value) -> Result<bool> {
        match (all, one) {
            (Value::Str(text) | Value::Markup(text), _) => match one.as_str() {
                Some(part) => Ok(text.contains(part)),
                None => {
                    fault(format!("'in <string>' requires string as left operand, not {}", one.type_name()))
                }
            },
            (Value::Dict(dict), _) => Ok(dict.borrow().get(one).is_some()),
            _ => match all.items() {
                Some(items) => {
                    self.charge(items.len())?;
                    Ok(items.iter().any(|item| item.equals(one)))
                }
                None => fault(format!("argument of type '{}' is not iterable", all.type_name())),
            },
        }
    }

    pub(super) fn negate(&self, value: &Value) -> Result<Value> {
        self.defined(value)?;
        match value {
            Value::Float(number) => Ok(Value::Float(-number)),
            Value::Delta(delta) => Ok(Value::Delta(delta.negated())),
            Value::Object(Object::Relative(of)) => Ok(Value::Object(Object::Relative(Rc::new(of.negated())))),
            _ => match value.as_int().map(i128::checked_neg) {
                Some(Some(number)) => Ok(Value::Int(number)),
                Some(None) => Err(too_large()),
                None => fault(format!("bad operand type for unary -: '{}'", value.type_name())),
            },
        }
    }
}

/// What `&`, `<`, `>` and quotes become in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&#34;")
}

/// `all[start:stop:step]`.
pub(super) fn slice(
    all: &Value,
    start: Option<i128>,
    stop: Option<i128>,
    step: Option<i128>,
) -> Result<Value> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return fault("slice step cannot be zero");
    }
    let Some(len) = all.len().filter(|_| !matches!(all, Value::Dict(_) | Value::Markup(_))) else {
        return fault(format!("'{}' can't be sliced", all.type_name()));
    };
    let len = len as i128;
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let bound = |index: Option<i128>, default| match index {
        None => default,
        Some(index) => (if index < 0 { index.saturating_add(len) } else { index }).clamp(low, high),
    };
    let (start, stop) = if step > 0 {
        (bound(start, low), bound(stop, high))
    } else {
        (bound(start, high), bound(stop, low))
    };
    let mut picked = Vec::new();
    let mut at = start;
    while if step > 0 { at < stop } else { at > stop } {
        picked.push(at as usize);
        at = match at.checked_add(step) {
            Some(next) => next,
            None => break,
        };
    }
    Ok(match all {
        Value::Str(text) => {
            let chars: Vec<char> = text.chars().collect();
            Value::str(picked.into_iter().map(|at| chars[at]).collect::<String>())
        }
        Value::List(items) => Value::list(picked.into_iter().map(|at| items.borrow()[at].clone()).collect()),
        Value::Tuple(items) => Value::tuple(picked.into_iter().map(|at| items[at].clone()).collect()),
        Value::View(view @ super::value::View::Range, items) => {
            Value::View(*view, picked.into_iter().map(|at| items[at].clone()).collect::<Rc<[_]>>())
        }
        _ => return fault(format!("'{}' can't be sliced", all.type_name())),
    })
}

fn repeated(items: &[Value], count: usize) -> Vec<Value> {
    std::iter::repeat_n(items, count).flatten().cloned().collect()
}

fn too_large() -> Box<Fault> {
    wrong("a number becomes too large")
}

fn number(
    left: &Value,
    right: &Value,
    int: fn(i128, i128) -> Option<i128>,
    float: fn(f64, f64) -> f64,
) -> Result<Option<Value>> {
    Ok(match (left.as_int(), right.as_int()) {
        (Some(a), Some(b)) => Some(Value::Int(int(a, b).ok_or_else(too_large)?)),
        _ => left.as_float().zip(right.as_float()).map(|(a, b)| Value::Float(float(a, b))),
    })
}

fn power(left: &Value, right: &Value) -> Result<Option<Value>> {
    Ok(match (left.as_int(), right.as_int()) {
        (Some(base), Some(exponent)) if exponent >= 0 => {
            let exponent = u32::try_from(exponent).map_err(|_| too_large())?;
            Some(Value::Int(base.checked_pow(exponent).ok_or_else(too_large)?))
        }
        (Some(0), Some(_)) => return fault("0.0 cannot be raised to a negative power"),
        _ => match (left.as_float(), right.as_float()) {
            (Some(a), Some(b)) => {
                let power = a.powf(b);
                if !power.is_finite() || (a < 0.0 && power.is_nan()) {
                    return Err(too_large());
                }
                Some(Value::Float(power))
            }
            _ => None,
        },
    })
}

fn floor_div(a: i128, b: i128) -> Option<i128> {
    let quotient = a.checked_div(b)?;
    let down = a % b != 0 && ((a < 0) != (b < 0));
    Some(if down { quotient - 1 } else { quotient })
}

/// Python's `divmod` of floats: the remainder has the divisor's sign.
fn float_div_mod(a: f64, b: f64) -> (f64, f64) {
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = 0.0_f64.copysign(b);
    } else if (rest < 0.0) != (b < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest)
}

fn sign(op: Op) -> &'static str {
    match op {
        Op::Add => "+",
        Op::Sub => "-",
        Op::Mul => "*",
        Op::Div => "/",
        Op::FloorDiv => "//",
        Op::Rem => "%",
        Op::Pow => "**",
        Op::Concat => "~",
    }
}
