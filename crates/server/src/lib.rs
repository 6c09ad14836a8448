//! The loop, the HTTP API and the reading of DAG files.
