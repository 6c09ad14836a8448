//! Decisions about runs against those of Airflow.

mod dag;
mod retries;
mod runs;
