//! No sleeps in tests: on a slow machine they are too short, on a fast one too long. A test waits for the event.

use super::{Finding, Project};

/// The words that excuse a sleep, in a comment on its line or the one above, with the reason after them.
const ESCAPE: &str = "// tidy: sleep because ";

const MEND: &str = "wait for the event instead, or say on the line above why none can be waited for:";

pub fn check(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in project.tree.rust() {
        let lines: Vec<&str> = rust.code_and_comments.lines().collect();
        for byte in rust.find("sleep").filter(|byte| is_call(&rust.code, *byte)) {
            if !file.is_test() && !rust.is_test(byte) {
                continue;
            }
            let line = rust.line(byte);
            let above = line.checked_sub(2).map_or("", |index| lines[index]);
            if !is_excused(lines[line - 1]) && !is_excused(above) {
                let message = format!("no sleep in a test: {MEND} `{ESCAPE}...`");
                findings.push(Finding::at(&file.path, line, message));
            }
        }
    }
    findings
}

/// Whether `sleep` or `sleep_...` at the byte is called as a function: as a method it is somebody's own.
fn is_call(code: &str, byte: usize) -> bool {
    let before = code[..byte].trim_end();
    let is_own_word = before.len() < byte || !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let name_end = code[byte..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0);
    let is_called = code[byte + name_end..].starts_with('(');
    is_own_word && is_called && !before.ends_with('.') && !before.ends_with("fn")
}

fn is_excused(line: &str) -> bool {
    line.split_once(ESCAPE).is_some_and(|(_, reason)| !reason.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn sleeps_outside_of_tests_and_excused_ones_are_fine() {
        let good = [
            ("crates/a/src/lib.rs", "fn a() { thread::sleep(b); }\n#[cfg(test)]\nmod tests { fn c() {} }"),
            (
                "crates/a/tests/it/main.rs",
                "// tidy: sleep because the kernel tells nobody\nthread::sleep(b);",
            ),
            ("crates/a/tests/it/b.rs", "sleep(b); // tidy: sleep because nothing may happen"),
            ("crates/a/tests/it/c.rs", "fn sleep() { a.sleep(b); run(\"sleep(1)\"); asleep(b) } // sleep(b)"),
        ];
        assert_eq!(places(check, &good), <[&str; 0]>::default());
    }

    #[test]
    fn a_sleep_in_a_test_is_found_however_it_is_called() {
        let bad = [
            (
                "crates/a/tests/it/main.rs",
                "std::thread::sleep(a);\ntokio::time::sleep_until(a).await;\nsleep(a);",
            ),
            ("crates/a/src/b/tests.rs", "// tidy: sleep because \nthread::sleep(a);"),
            ("crates/a/src/lib.rs", "#[cfg(test)]\nmod tests {\n    fn a() { time::sleep(b).await }\n}"),
        ];
        let found = places(check, &bad);
        let expected = [
            "tests/it/main.rs:1",
            "tests/it/main.rs:2",
            "tests/it/main.rs:3",
            "src/b/tests.rs:2",
            "src/lib.rs:3",
        ];
        assert_eq!(found, expected.map(|place| format!("crates/a/{place}")));
    }
}
