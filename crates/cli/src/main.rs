//! The program `updraft`.
fn main() {}
