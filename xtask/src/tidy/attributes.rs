//! No switched-off lint and no placeholder.
//!
//! Clippy's `allow_attributes`, `todo` and `unimplemented` say the same where they look; a build for one system with
//! one set of features does not look everywhere.

use super::{Finding, Project};

const REFUSED: &[(&str, &str)] = &[
    ("#[allow(", "`#[expect(lint, reason = \"...\")]` says so when it is needed no more"),
    ("#![allow(", "`#![expect(lint, reason = \"...\")]` says so when it is needed no more"),
    ("todo!", "write it, or return an error that says what is not supported"),
    ("unimplemented!", "write it, or return an error that says what is not supported"),
];

pub fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in project.tree.rust() {
        for (refused, mend) in REFUSED {
            for byte in rust.find(refused).filter(|byte| !goes_on_before(&rust.code, *byte)) {
                findings.push(Finding::at(&file.path, rust.line(byte), format!("no `{refused}`: {mend}")));
            }
        }
    }
    findings
}

/// Whether what stands at the byte is the end of a longer word.
fn goes_on_before(code: &str, byte: usize) -> bool {
    code[..byte].ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn expectations_comments_and_literals_are_fine() {
        let good = "#[expect(dead_code, reason = \"x\")]\nfn a() { b(\"todo!()\") } // no #[allow(x)]\nmy_todo!();\n";
        assert_eq!(places(check, &[("a.rs", good), ("a.md", "#[allow(x)]")]), <[&str; 0]>::default());
    }

    #[test]
    fn a_switched_off_lint_and_a_placeholder_are_found() {
        let bad = "#![allow(a)]\n#[allow(b)]\nfn a() { todo!() }\nfn b() { unimplemented!(\"x\") }\n";
        let mut found = places(check, &[("a.rs", bad)]);
        found.sort();
        assert_eq!(found, ["a.rs:1", "a.rs:2", "a.rs:3", "a.rs:4"]);
    }
}
