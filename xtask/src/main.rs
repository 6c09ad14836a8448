//! The project's own tasks. `cargo xtask ci` is the one entry to every check.
fn main() {}
