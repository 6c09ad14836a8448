//! SPDX licence expressions: `(MIT OR Apache-2.0) AND Unicode-3.0`.

use anyhow::bail;

/// Whether what is allowed satisfies the expression: one side of each `OR`, both sides of each `AND`.
///
/// The grammar is that of SPDX 2.3, annex D; `/` stands for `OR`, as crates wrote it before.
pub fn is_allowed(expression: &str, allowed: &[String]) -> anyhow::Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = Words { words: spaced.split_whitespace().collect(), next: 0 };
    let is_allowed = words.any_of(allowed)?;
    match words.peek() {
        None => Ok(is_allowed),
        Some(word) => bail!("`{expression}` is no licence expression: `{word}` is too much"),
    }
}

struct Words<'a> {
    words: Vec<&'a str>,
    next: usize,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        self.next += usize::from(is_next);
        is_next
    }

    fn any_of(&mut self, allowed: &[String]) -> anyhow::Result<bool> {
        let mut is_allowed = self.all_of(allowed)?;
        while self.take("OR") {
            is_allowed |= self.all_of(allowed)?;
        }
        Ok(is_allowed)
    }

    fn all_of(&mut self, allowed: &[String]) -> anyhow::Result<bool> {
        let mut is_allowed = self.one(allowed)?;
        while self.take("AND") {
            is_allowed &= self.one(allowed)?;
        }
        Ok(is_allowed)
    }

    fn one(&mut self, allowed: &[String]) -> anyhow::Result<bool> {
        if self.take("(") {
            let is_allowed = self.any_of(allowed)?;
            if !self.take(")") {
                bail!("a bracket of a licence expression is not closed");
            }
            return Ok(is_allowed);
        }
        let mut licence = self.name()?.to_owned();
        if self.take("WITH") {
            licence = format!("{licence} WITH {}", self.name()?);
        }
        Ok(allowed.contains(&licence))
    }

    fn name(&mut self) -> anyhow::Result<&'a str> {
        match self.peek() {
            Some(word) if !matches!(word, "(" | ")" | "OR" | "AND" | "WITH") => {
                self.next += 1;
                Ok(word)
            }
            Some(word) => bail!("a licence's name is missing before `{word}`"),
            None => bail!("a licence's name is missing at the end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(expression: &str) -> bool {
        let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        is_allowed(expression, &allowed).unwrap()
    }

    #[test]
    fn one_side_of_an_or_is_enough() {
        assert!(allows("MIT"));
        assert!(allows("GPL-3.0 OR MIT"));
        assert!(allows("Unlicense/MIT"));
        assert!(allows("Apache-2.0 WITH LLVM-exception OR GPL-3.0"));
        assert!(!allows("GPL-3.0"));
        assert!(!allows("GPL-3.0 OR Apache-2.0"));
    }

    #[test]
    fn both_sides_of_an_and_are_needed_and_it_binds_stronger() {
        assert!(allows("(GPL-3.0 OR MIT) AND Unicode-3.0"));
        assert!(!allows("MIT AND GPL-3.0"));
        assert!(allows("MIT OR GPL-3.0 AND LGPL-3.0"));
        assert!(!allows("(MIT OR GPL-3.0) AND LGPL-3.0"));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for expression in ["", "MIT OR", "MIT GPL-3.0", "(MIT", "MIT)", "AND MIT", "MIT WITH", "WITH"] {
            assert!(is_allowed(expression, &[]).is_err(), "{expression}");
        }
    }
}
