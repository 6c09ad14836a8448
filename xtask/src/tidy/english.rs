//! English everywhere, so that everybody can read everything; other writing is for translations and test data.

use super::{Finding, Project};

pub fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &project.tree.files {
        let is_translation =
            file.path.starts_with("web/") && file.folders().any(|folder| folder == "locales");
        if file.is_test_data() || is_translation {
            continue;
        }
        let text = file.text.as_deref().unwrap_or_default();
        let mut last_line = 0;
        for (byte, _) in text.char_indices().filter(|(_, c)| is_of_another_script(*c)) {
            let line = text[..byte].matches('\n').count() + 1;
            // In a test of Rust code a literal is test data, a comment is not.
            let is_literal = file.rust.as_ref().is_some_and(|rust| {
                (file.is_test() || rust.is_test(byte)) && rust.code_and_comments.as_bytes()[byte] == b' '
            });
            if line != last_line && !is_literal {
                last_line = line;
                findings.push(Finding::at(&file.path, line, "letters of another script: write English here"));
            }
        }
    }
    findings
}

/// Letters from Cyrillic to the scripts of India and South-East Asia, and those of China, Japan and Korea.
fn is_of_another_script(c: char) -> bool {
    c.is_alphabetic()
        && matches!(c, '\u{400}'..='\u{1cff}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7ff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn other_scripts_are_fine_in_translations_and_test_data() {
        let good = [
            ("README.md", "é, ß, µs, →, “quoted”, 10 × 3"),
            ("web/src/locales/ru.json", "{\"run\": \"запуск\"}"),
            ("crates/a/tests/data/names.yaml", "名前"),
            ("crates/a/tests/it/unicode.rs", "fn a() { b(\"привет\") }"),
            ("crates/a/src/lib.rs", "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c(\"名\") } }"),
        ];
        assert_eq!(places(check, &good), <[&str; 0]>::default());
    }

    #[test]
    fn other_scripts_are_found_elsewhere_once_a_line() {
        let bad = [
            ("README.md", "fine\nпривет всем\n"),
            ("crates/a/src/lib.rs", "fn a() { b(\"привет\") }"),
            ("crates/a/tests/it/main.rs", "// 名前\n"),
        ];
        let found = places(check, &bad);
        assert_eq!(found, ["README.md:2", "crates/a/src/lib.rs:1", "crates/a/tests/it/main.rs:1"]);
    }
}
