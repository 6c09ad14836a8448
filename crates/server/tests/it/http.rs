//! The HTTP API of a real server: over the in-memory store, with a leader at work, and workers played by the
//! test.

mod airflow_client;
mod auth;
mod backfills;
mod bulk;
mod callbacks;
mod control;
mod dags;
mod deployments;
mod edge;
mod follow;
mod logs;
mod records;
mod retention;
mod runs;
mod server;
mod shapes;
mod tis;
mod worker;
mod worker_routes;
mod xcoms;

use server::Server;
