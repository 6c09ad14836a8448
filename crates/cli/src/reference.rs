//! The pages of reference in `docs/src/reference`, made of what the program itself knows.
//!
//! They are made by tests, so that the program does not carry what only its documentation needs. A test fails where
//! a page is out of date; `cargo xtask docs` writes them anew.

mod commands;
mod configuration;
mod operators;

use std::path::PathBuf;

/// What stands at the top of each.
const MADE: &str = "<!-- Made by `cargo xtask docs`: what is changed here is lost. -->\n";

/// Where all pages are.
fn pages() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this")).join("../../docs/src")
}

/// Sees that a page is as it should be, or writes it.
fn keep(page: &str, text: &str) {
    let path = pages().join("reference").join(page);
    if std::env::var_os("UPDRAFT_WRITE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/src/reference/{page} is out of date: write it with `cargo xtask docs`");
}

/// A text as a cell of a table: on one line, without what would end the cell or begin a tag.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut cell = String::with_capacity(line.len());
    let mut in_code = false;
    for letter in line.chars() {
        match letter {
            '|' => cell.push_str("\\|"),
            '<' if !in_code => cell.push_str("&lt;"),
            '*' | '_' if !in_code => cell.extend(['\\', letter]),
            _ => cell.push(letter),
        }
        in_code ^= letter == '`';
    }
    cell
}

#[test]
fn what_would_end_a_cell_or_begin_a_tag_is_escaped() {
    assert_eq!(cell("a | b\n  <c> `<d>|e_f`"), "a \\| b &lt;c> `<d>\\|e_f`");
    assert_eq!(cell("UPDRAFT__X *"), "UPDRAFT\\_\\_X \\*");
}
