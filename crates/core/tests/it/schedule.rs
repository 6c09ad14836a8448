//! Schedules: against Airflow, against rules that hold whatever is asked, and by example.

mod examples;
mod holidays;
mod oracle;
mod properties;
