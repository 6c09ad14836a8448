//! Why a cron expression is refused, in words that say what to write instead.

use super::Field;

/// A cron expression that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It has another number of fields than 5, 6 or 7.
    #[error(transparent)]
    FieldCount(#[from] WrongFieldCount),
    /// It begins with `@` and is no preset.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// One of its fields is wrong.
    #[error(transparent)]
    Field(#[from] BadField),
    /// A list of expressions with nothing in it.
    #[error("a cron schedule needs at least one cron expression, and the list is empty")]
    NoExpression,
}

/// An expression with too few or too many fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cron {expression:?} has {found} field{}; give 5 (minute hour day-of-month month day-of-week), \
     6 (a second after them) or 7 (a year after that)",
    if *found == 1 { "" } else { "s" }
)]
pub struct WrongFieldCount {
    /// The expression, cut short where it is long.
    pub expression: String,
    /// How many fields it has.
    pub found: usize,
}

/// A word that begins with `@` and is none of the presets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cron {expression:?} is no preset{}", self.mend())]
pub struct UnknownPreset {
    /// The expression, cut short where it is long.
    pub expression: String,
    /// The preset that comes nearest.
    pub suggestion: Option<&'static str>,
}

impl UnknownPreset {
    fn mend(&self) -> String {
        match (self.expression.as_str(), self.suggestion) {
            ("@once" | "@continuous", _) => {
                " that stands for times; it is a schedule by itself and not one among cron expressions"
                    .to_owned()
            }
            (_, Some(near)) => format!("; did you mean {near:?}?"),
            // The last two are no cron, but where a cron is written they may be as well.
            (_, None) => format!("; there are {}, @once and @continuous", super::PRESET_NAMES.join(", ")),
        }
    }
}

/// A field that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cron {expression:?}: the {field} {token:?} {}", .fault.explain(*.field))]
pub struct BadField {
    /// The expression, cut short where it is long.
    pub expression: String,
    /// Which field.
    pub field: Field,
    /// The part of the field that is wrong, cut short where it is long.
    pub token: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Neither a number nor a name that the field knows, nor any other form.
    NotAValue,
    /// A number that the field does not have.
    OutOfRange,
    /// `/0`.
    ZeroStep,
    /// `?` beside other characters, or in another field than the two for days.
    MisplacedQuestionMark,
    /// `#` with anything but 1 to 5 after it.
    OccurrenceOutOfRange,
    /// Weekdays and occurrences of weekdays in one list.
    MixedOccurrences,
    /// `W` in a list.
    NearestWeekdayInList,
    /// `H`: Airflow gives croniter nothing to hash and so refuses it.
    Hashed,
    /// `R`: Airflow draws it anew at each question, so no two answers agree.
    Random,
}

impl Fault {
    fn explain(self, field: Field) -> String {
        let (low, high) = field.range();
        let allowed = match field {
            Field::Minute | Field::Hour | Field::Second | Field::Year => {
                format!("{low} to {high}, ranges ({low}-{high}), steps (*/5) and lists of them")
            }
            Field::DayOfMonth => "1 to 31, ranges, steps, lists, L (the last day) and 15W (the working day \
                                  nearest to the 15th)"
                .to_owned(),
            Field::Month => "1 to 12 or jan to dec, ranges, steps and lists of them".to_owned(),
            Field::DayOfWeek => "0 to 7 or sun to sat (0 and 7 are Sunday), ranges, steps, lists, 1#2 (the \
                                 second Monday) and L5 (the last Friday)"
                .to_owned(),
        };
        match self {
            Self::NotAValue => format!("cannot be read; give {allowed}"),
            Self::OutOfRange => format!("is out of range; give {allowed}"),
            Self::ZeroStep => "has a step of 0; give a step of 1 or more".to_owned(),
            Self::MisplacedQuestionMark => {
                "is not allowed: ? stands alone, as the day of month or the day of week; write * here"
                    .to_owned()
            }
            Self::OccurrenceOutOfRange => {
                "has no occurrence from 1 to 5 after the #; 1#2 is the second Monday, L1 the last".to_owned()
            }
            Self::MixedOccurrences => "has plain weekdays beside occurrences (1#2, L5); use two cron \
                                       expressions, one for each"
                .to_owned(),
            Self::NearestWeekdayInList => {
                "is in a list; W takes one single day, so use one cron expression for each".to_owned()
            }
            Self::Hashed => format!("is a hashed form, and a schedule has nothing to hash; give {allowed}"),
            Self::Random => {
                format!("is a random form, which would be drawn anew at each question; give {allowed}")
            }
        }
    }
}
