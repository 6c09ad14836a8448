//! The operators against real counterparts: bash, python3, HTTP and SMTP servers, and Airflow's own answers.

mod oracle;
mod template;
mod world;
