//! How deep a template may be.

use minijinja::{
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
};

use super::line;
use crate::jinja::fault::{Result, at, fault};

/// How deep operators may be within each other in one expression. minijinja bounds its brackets and blocks
/// itself, but not chains of operators, which take a stack frame each like brackets do.
const DEEPEST: usize = 100;

/// How many `elif` a template may have: each is within the one before.
const MOST_ELIF: usize = 100;

/// Refuses what would fill the stack while it is read, carried out or forgotten.
pub(in crate::jinja) fn check_depth(source: &str) -> Result<()> {
    // How many operators stand before the next comma, for each bracket that is open; the innermost apart.
    let (mut around, mut here) = (Vec::<usize>::new(), 0usize);
    let mut elif = 0;
    for token in tokenize(source, false, SyntaxConfig::default()) {
        // What is no token, the parser reports.
        let Ok((token, span)) = token else { return Ok(()) };
        match token {
            Token::VariableStart | Token::BlockStart => (around, here) = (Vec::new(), 0),
            Token::Comma | Token::Colon => here = 0,
            Token::BracketOpen | Token::ParenOpen | Token::BraceOpen => {
                around.push(here + 1);
                here = 0;
            }
            Token::BracketClose | Token::ParenClose | Token::BraceClose => {
                here = around.pop().unwrap_or(0);
            }
            Token::Ident("elif") => elif += 1,
            Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::FloorDiv
            | Token::Pow
            | Token::Mod
            | Token::Tilde
            | Token::Dot
            | Token::Pipe
            | Token::Ident("not" | "and" | "or" | "if" | "is") => here += 1,
            _ => {}
        }
        if here + around.iter().sum::<usize>() > DEEPEST || elif > MOST_ELIF {
            let mend =
                "too many operators, brackets or `elif` in one another: use `{% set %}` for parts of it";
            return at(line(span), fault(mend));
        }
    }
    Ok(())
}
