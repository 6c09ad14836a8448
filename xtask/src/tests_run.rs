//! How many tests ran, read from the closing lines of the test runners.

use std::ops::AddAssign;
use std::process::Command;

use crate::process;

/// Tests that ran, by their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestsRun {
    /// Ended well.
    pub passed: u64,
    /// Ended badly: failed, timed out, could not be started.
    pub failed: u64,
    /// Named by the runner but not run.
    pub skipped: u64,
}

impl AddAssign for TestsRun {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl TestsRun {
    /// Runs a test runner, adds what it counted, and fails as it fails.
    pub fn count(&mut self, command: &mut Command) -> anyhow::Result<()> {
        let (status, text) = process::tee(command)?;
        *self += Self::parse(&text);
        process::succeeded(command, status)
    }

    /// Reads nextest's summary (`Summary [ 0.4s] 3 tests run: 2 passed (1 slow), 1 timed out, 0 skipped`) and each of
    /// libtest's (`test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; ...`).
    ///
    /// nextest prints one; should a failed test have printed another, the last one is the real one.
    fn parse(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines() {
            if let Some(result) = line.strip_prefix("test result: ") {
                let parts = result.split_once(". ").map_or("", |(_, parts)| parts);
                counts += Self::parse_parts(parts.split(';'));
            }
        }
        let mut summaries = text.lines().filter(|line| line.trim_start().starts_with("Summary ["));
        if let Some((_, parts)) = summaries.next_back().and_then(|line| line.split_once(" run: ")) {
            counts += Self::parse_parts(parts.split(','));
        }
        counts
    }

    fn parse_parts<'a>(parts: impl Iterator<Item = &'a str>) -> Self {
        let mut counts = Self::default();
        for part in parts {
            let Some((number, end)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match end.split(' ').next().unwrap_or_default() {
                "passed" => counts.passed += number,
                "failed" | "timed" | "exec" | "error" => counts.failed += number,
                "ignored" | "skipped" => counts.skipped += number,
                // libtest's "measured" and "filtered out": no end of a test.
                _ => {}
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_nextest_is_read() {
        let text = "\
        PASS [   0.004s] xtask a::b
    Summary [   0.412s] 25 tests run: 22 passed (1 slow), 2 failed, 1 timed out, 3 skipped
        FAIL [   0.004s] xtask a::c
";
        assert_eq!(TestsRun::parse(text), TestsRun { passed: 22, failed: 3, skipped: 3 });
    }

    #[test]
    fn the_summaries_of_libtest_are_summed() {
        let text = "\
test a ... ok
test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s
test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        assert_eq!(TestsRun::parse(text), TestsRun { passed: 6, failed: 2, skipped: 1 });
    }

    #[test]
    fn a_run_that_did_not_compile_counts_nothing() {
        assert_eq!(TestsRun::parse("error: could not compile `xtask`\n"), TestsRun::default());
    }
}
