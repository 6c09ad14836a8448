//! What waiting costs: 100,000 waits for a time and 10,000 sensors that ask a web server.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    counting::Counting,
    installation::Installation,
    table::{Figure, Goal, Table},
};

/// Tasks of a run of either kind.
const WIDTH: usize = 1000;
const WAIT_RUNS: usize = 100;
const SENSOR_RUNS: usize = 10;
const SENSORS: usize = WIDTH * SENSOR_RUNS;
const POKE: Duration = Duration::from_secs(60);
/// How long it is watched: a whole number of intervals, so that what each sensor should ask is known.
const WATCHED: Duration = Duration::from_secs(120);

#[tokio::main]
pub async fn run() -> Result<Table> {
    let counting = Counting::start().await?;
    let mut updraft = Installation::started(&[]).await?;
    let wait =
        json!({ "operator": "TimeDeltaSensor", "delta": { "__type__": "datetime.timedelta", "days": 1 } });
    let waits = (0..WIDTH).map(|number| (format!("t{number}"), wait.clone()));
    updraft.put_dag("waits", waits.collect()).await?;
    let sensor = |number: usize| {
        let endpoint = format!("{}/{{{{ run_id }}}}/{number}", counting.url);
        json!({ "operator": "HttpSensor", "endpoint": endpoint, "poke_interval": POKE.as_secs() })
    };
    let sensors = (0..WIDTH).map(|number| (format!("t{number}"), sensor(number)));
    updraft.put_dag("sensors", sensors.collect()).await?;

    let began = Instant::now();
    for _ in 0..WAIT_RUNS {
        updraft.trigger("waits").await?;
    }
    let waiting = began.elapsed();
    for _ in 0..SENSOR_RUNS {
        updraft.trigger("sensors").await?;
    }
    // Every sensor has looked twice: from here on each looks once in an interval.
    settled(&counting).await?;
    let looking = began.elapsed();
    let (cpu, from) = (updraft.cpu_seconds().await?, Instant::now());
    let mut memory = [0.0_f64; 2];
    while from.elapsed() < WATCHED {
        tokio::time::sleep((WATCHED - from.elapsed()).min(Duration::from_secs(10))).await;
        let now = updraft.megabytes().await?;
        memory = if now[0] + now[1] > memory[0] + memory[1] { now } else { memory };
    }
    let until = Instant::now();
    let cpu = (updraft.cpu_seconds().await? - cpu) / (until - from).as_secs_f64();
    let asked = Asked::of(&counting, from, until);
    updraft.stop().await?;

    let title = format!(
        "{} TimeDelta waits and {SENSORS} HTTP sensors with a poke interval of {} s, {} s long, server and keeper",
        WIDTH * WAIT_RUNS,
        POKE.as_secs(),
        WATCHED.as_secs()
    );
    let mut table = Table::new(title, "as it should be");
    table.row(
        "memory (PSS), the most of it",
        Figure::Megabytes(memory[0] + memory[1]),
        Goal::AtMost(Figure::Megabytes(300.0)),
    );
    table.row("  of it the server", Figure::Megabytes(memory[0]), Goal::None);
    table.row("  of it the keeper", Figure::Megabytes(memory[1]), Goal::None);
    table.row("of one processor", Figure::Share(cpu), Goal::AtMost(Figure::Share(0.10)));
    let due = SENSORS as f64 * (until - from).as_secs_f64() / POKE.as_secs_f64();
    let count = Figure::Count(asked.count as f64);
    table.compare("requests", count, Figure::Count(due.round()), Goal::None);
    table.compare(
        "sensors that asked",
        Figure::Count(asked.sensors as f64),
        Figure::Count(SENSORS as f64),
        Goal::None,
    );
    table.compare(
        "longest time between two looks",
        Figure::Seconds(asked.longest),
        Figure::Seconds(POKE.as_secs_f64()),
        Goal::RatioAtMost(1.05),
    );
    table.compare(
        "shortest",
        Figure::Seconds(asked.shortest),
        Figure::Seconds(POKE.as_secs_f64()),
        Goal::RatioAtLeast(0.95),
    );
    table.row("until all waits waited", Figure::Seconds(waiting.as_secs_f64()), Goal::None);
    table.row("until all sensors had looked twice", Figure::Seconds(looking.as_secs_f64()), Goal::None);
    Ok(table)
}

/// Waits until every sensor has looked twice.
async fn settled(counting: &Counting) -> Result<()> {
    let began = Instant::now();
    loop {
        let twice = counting.asked().values().filter(|times| times.len() >= 2).count();
        if twice == SENSORS {
            return Ok(());
        }
        ensure!(
            began.elapsed() < POKE * 5,
            "after {:?} only {twice} sensors have looked twice",
            began.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What the web server was asked in the time watched.
struct Asked {
    count: usize,
    sensors: usize,
    /// Seconds between two looks of one sensor.
    longest: f64,
    shortest: f64,
}

impl Asked {
    fn of(counting: &Counting, from: Instant, until: Instant) -> Self {
        let mut asked = Self { count: 0, sensors: 0, longest: 0.0, shortest: f64::INFINITY };
        for times in counting.asked().values() {
            let within = times.iter().filter(|at| (from..until).contains(at)).count();
            asked.count += within;
            asked.sensors += usize::from(within > 0);
            // The second look comes early, so that sensors that begin together don't stay together.
            for pair in times.get(1..).unwrap_or_default().windows(2) {
                let between = (pair[1] - pair[0]).as_secs_f64();
                asked.longest = asked.longest.max(between);
                asked.shortest = asked.shortest.min(between);
            }
        }
        asked
    }
}
