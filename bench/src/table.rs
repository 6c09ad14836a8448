//! The table that a benchmark prints.

use std::fmt;

/// A number with what it counts.
#[derive(Clone, Copy, Debug)]
pub enum Figure {
    PerSecond(f64),
    Seconds(f64),
    Millis(f64),
    Micros(f64),
    Megabytes(f64),
    /// A part of a whole, printed in percent.
    Share(f64),
    Count(f64),
}

impl Figure {
    fn number(self) -> f64 {
        match self {
            Self::PerSecond(n)
            | Self::Seconds(n)
            | Self::Millis(n)
            | Self::Micros(n)
            | Self::Megabytes(n)
            | Self::Share(n)
            | Self::Count(n) => n,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::PerSecond(n) => format!("{n:.0}/s"),
            Self::Seconds(n) => format!("{n:.3} s"),
            Self::Millis(n) => format!("{n:.2} ms"),
            Self::Micros(n) => format!("{n:.0} us"),
            Self::Megabytes(n) => format!("{n:.1} MB"),
            Self::Share(n) => format!("{:.1} %", n * 100.0),
            Self::Count(n) => format!("{n:.0}"),
        };
        f.pad(&text)
    }
}

/// What is asked of a row.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// Ours is at most this.
    AtMost(Figure),
    /// Ours is at least this.
    AtLeast(Figure),
    /// Ours by what stands beside it is at most this.
    RatioAtMost(f64),
    /// Ours by what stands beside it is at least this.
    RatioAtLeast(f64),
    /// Nothing: for the picture.
    None,
}

/// One line.
#[derive(Debug)]
struct Row {
    what: String,
    ours: Figure,
    beside: Option<Figure>,
    ratio: Option<f64>,
    goal: Goal,
}

/// One benchmark's table.
#[derive(Debug)]
pub struct Table {
    /// How it was measured, and what stands in the column beside ours.
    title: String,
    beside: &'static str,
    rows: Vec<Row>,
}

impl Table {
    /// `beside` names what stands beside ours.
    pub fn new(title: impl Into<String>, beside: &'static str) -> Self {
        Self { title: title.into(), beside, rows: Vec::new() }
    }

    /// A row by itself.
    pub fn row(&mut self, what: impl Into<String>, ours: Figure, goal: Goal) {
        self.rows.push(Row { what: what.into(), ours, beside: None, ratio: None, goal });
    }

    /// A row with something beside it.
    pub fn compare(&mut self, what: impl Into<String>, ours: Figure, beside: Figure, goal: Goal) {
        let ratio = ours.number() / beside.number();
        self.compare_by(what, ours, beside, ratio, goal);
    }

    /// The same with a ratio of its own: the median of the rounds' ratios is steadier than that of medians,
    /// where the machine's speed drifts.
    pub fn compare_by(
        &mut self,
        what: impl Into<String>,
        ours: Figure,
        beside: Figure,
        ratio: f64,
        goal: Goal,
    ) {
        self.rows.push(Row { what: what.into(), ours, beside: Some(beside), ratio: Some(ratio), goal });
    }
}

impl Row {
    fn goal(&self) -> (String, &'static str) {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        let (text, met) = match self.goal {
            Goal::AtMost(most) => (format!("<= {most}"), self.ours.number() <= most.number()),
            Goal::AtLeast(least) => (format!(">= {least}"), self.ours.number() >= least.number()),
            Goal::RatioAtMost(most) => (format!("ratio <= {most:.2}"), ratio <= most),
            Goal::RatioAtLeast(least) => (format!("ratio >= {least:.2}"), ratio >= least),
            Goal::None => return (String::new(), ""),
        };
        (text, if met { "met" } else { "MISSED" })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let width = self.rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
        let beside_width = self.beside.len().max(12);
        writeln!(
            f,
            "{:width$}  {:>12}  {:>beside_width$}  {:>6}  {:<16} is",
            "", "ours", self.beside, "ratio", "goal"
        )?;
        for row in &self.rows {
            let beside = row.beside.map(|figure| figure.to_string()).unwrap_or_default();
            let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let (goal, met) = row.goal();
            let line = format!(
                "{:width$}  {:>12}  {beside:>beside_width$}  {ratio:>6}  {goal:<16} {met}",
                row.what, row.ours
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
