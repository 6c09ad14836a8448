//! Decisions about runs, and what conditions come to, against those of Airflow.

mod conditions;
mod dag;
mod retries;
mod runs;
