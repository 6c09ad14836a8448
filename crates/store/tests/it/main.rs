//! The store's tests. What holds for every store is in `conformance`, and runs on all three.

mod conformance;
mod crash;
mod differential;
mod fixture;
mod full;
mod migrations;
mod outage;
mod rows;
