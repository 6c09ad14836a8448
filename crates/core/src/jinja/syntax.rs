//! A template's syntax tree. minijinja reads the text; what it makes of it is taken over into a tree of our
//! own, which a macro can keep, and in which what Jinja2 reads otherwise is refused. Everything that depends
//! on the inner workings of minijinja, which it does not promise to keep, is in this file and in those beside it.

mod chain;
mod depth;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use minijinja::{
    machinery::{Span, ast, parse},
    syntax::SyntaxConfig,
    value::ValueKind,
};

pub use self::chain::{Called, Certain, Chain, Named, Step};
use self::chain::{called, chain};
pub(super) use self::depth::check_depth;
use super::{
    fault::{Fault, Result, at, fault},
    filters::{check_filter, check_test},
    value::Value,
};

/// An expression and the line it is on.
pub(super) struct Expr {
    pub(super) line: u32,
    pub(super) node: Node,
}

pub(super) enum Node {
    Const(Value),
    Var(Rc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attr(Box<Expr>, Rc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Vec<Arg>),
    Filter { name: Rc<str>, of: Option<Box<Expr>>, args: Vec<Arg> },
    Test { name: Rc<str>, of: Box<Expr>, args: Vec<Arg> },
    Not(Box<Expr>),
    Neg(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    If { test: Box<Expr>, then: Box<Expr>, otherwise: Option<Box<Expr>> },
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
    Concat,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

pub(super) enum Arg {
    One(Expr),
    Named(Rc<str>, Expr),
    Splat(Expr),
    NamedSplat(Expr),
}

/// What a value is assigned to.
pub(super) enum Target {
    Name(Rc<str>),
    /// `namespace.attribute`
    Attr(Rc<str>, Rc<str>),
    Several(Vec<Target>),
}

pub(super) enum Stmt {
    Text(Rc<str>),
    Emit(Expr),
    For(Rc<ForLoop>),
    If { test: Expr, then: Body, otherwise: Body },
    With(Vec<(Target, Expr)>, Body),
    Set(Target, Expr),
    SetBlock { target: Target, filter: Option<Expr>, body: Body },
    Filter(Expr, Body),
    Include { name: Expr, ignore_missing: bool },
    Import { of: Expr, name: Rc<str> },
    FromImport { of: Expr, names: Vec<(Rc<str>, Rc<str>)> },
    Macro(Rc<MacroDef>),
    Call { callee: Expr, args: Vec<Arg>, caller: Rc<MacroDef> },
    Do(Expr),
}

pub(super) type Body = Vec<Stmt>;

/// `{% for … %}`: a loop that calls itself goes through it again.
pub(super) struct ForLoop {
    pub(super) target: Target,
    pub(super) of: Expr,
    pub(super) filter: Option<Expr>,
    pub(super) body: Body,
    pub(super) otherwise: Body,
    pub(super) recursive: bool,
}

/// A macro as it is defined.
pub(super) struct MacroDef {
    pub(super) name: Rc<str>,
    /// Its parameters; the last ones have the defaults.
    pub(super) parameters: Vec<Rc<str>>,
    pub(super) defaults: Vec<Expr>,
    pub(super) body: Body,
}

/// Reads a template.
///
/// # Errors
///
/// Where it can't be read: what is wrong, and on which line.
pub(super) fn read(source: &str) -> Result<Body> {
    lowered(source).map(|(body, _)| body)
}

/// Reads a template, and says what it is certain to ask the context for.
///
/// # Errors
///
/// Where it can't be read.
pub fn certain(source: &str) -> Result<Certain> {
    lowered(source).map(|(_, certain)| certain)
}

fn lowered(source: &str) -> Result<(Body, Certain)> {
    // Jinja2 makes one kind of line end of all; a text of 65,536 lines is more than minijinja can count.
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    check_depth(&source)?;
    let root = parse(&source, "template", SyntaxConfig::default()).map_err(|error| {
        let line = error.line().and_then(|line| u32::try_from(line).ok());
        let reason = match error.detail() {
            Some(detail @ "unexpected `+`") => {
                format!("{detail}: as a sign it is not supported, leave it out")
            }
            Some(detail @ "unexpected end of comment") => {
                format!(
                    "{detail}: `{{#` begins a comment, in `${{#name}}` of a shell too; write \
                     `{{% raw %}}${{#name}}{{% endraw %}}`, or put the script into a file that `script_file` names"
                )
            }
            Some(detail) => detail.to_owned(),
            None => error.kind().to_string(),
        };
        Box::new(Fault { line, reason, cause: None })
    })?;
    let lower = Lower { source: &source, ..Lower::default() };
    let body = match root {
        ast::Stmt::Template(template) => lower.body(&template.children)?,
        other => lower.body(std::slice::from_ref(&other))?,
    };
    let assigned = lower.assigned.into_inner();
    let mut certain = lower.certain.into_inner();
    certain.asked.retain(|chain| !assigned.contains(&chain.root));
    certain.named.retain(|Named { name, .. }| !assigned.contains(name));
    Ok((body, certain))
}

/// Reads an expression, as it stands within `{{ }}`.
pub(super) fn read_expression(text: &str) -> Result<Expr> {
    expression(text).map(|(expression, _)| expression)
}

/// The names that an expression looks at, some of them more than once.
pub(super) fn names_of_expression(text: &str) -> Result<Vec<Rc<str>>> {
    expression(text).map(|(_, names)| names)
}

fn expression(text: &str) -> Result<(Expr, Vec<Rc<str>>)> {
    if super::is_template(text) {
        return fault(
            "it is read as an expression already: leave out what stands around it, as in `{{ … }}`",
        );
    }
    let (mut body, Certain { names, .. }) = lowered(&format!("{{{{ {text} }}}}"))?;
    match (body.pop(), body.pop()) {
        (Some(Stmt::Emit(expression)), None) => Ok((expression, names)),
        _ => fault("it must be one expression"),
    }
}

#[derive(Default)]
struct Lower<'a> {
    source: &'a str,
    /// Within how many branches: what stands in one may never be carried out.
    branches: Cell<u32>,
    /// How many of these are the conditions of branches, which are come to themselves.
    conditions: Cell<u32>,
    /// Within how much else of which that holds.
    uncertain: Cell<u32>,
    /// Within how much where a name that is not there does no harm yet.
    harmless: Cell<u32>,
    /// The names that it gives values of its own, anywhere.
    assigned: RefCell<Vec<Rc<str>>>,
    certain: RefCell<Certain>,
}

fn line(span: Span) -> u32 {
    span.start_line.into()
}

impl Lower<'_> {
    /// What is in a branch.
    fn in_branch<T>(&self, read: impl FnOnce(&Self) -> T) -> T {
        self.branches.set(self.branches.get() + 1);
        let read = read(self);
        self.branches.set(self.branches.get() - 1);
        read
    }

    /// What decides which branch is taken.
    fn condition<T>(&self, read: impl FnOnce(&Self) -> T) -> T {
        self.conditions.set(self.conditions.get() + 1);
        let read = self.in_branch(read);
        self.conditions.set(self.conditions.get() - 1);
        read
    }

    /// What is passed on as it is, or looked at with care, so that it may be missing.
    fn harmless<T>(&self, read: impl FnOnce(&Self) -> T) -> T {
        self.harmless.set(self.harmless.get() + 1);
        let read = read(self);
        self.harmless.set(self.harmless.get() - 1);
        read
    }

    /// Notes a name where it has to be there.
    fn needs(&self, line: u32, name: &str, called: bool) {
        self.certain.borrow_mut().names.push(name.into());
        let certain = self.branches.get() == self.conditions.get();
        if certain && self.uncertain.get() + self.harmless.get() == 0 {
            self.certain.borrow_mut().named.push(Named { line, name: name.into(), called });
        }
    }

    /// Notes a chain of attributes that begins at a name.
    fn asks(&self, expr: &ast::Expr<'_>, called: bool) {
        let mut steps = Vec::new();
        if self.branches.get() + self.uncertain.get() == 0
            && let Some(root) = chain(expr, called, &mut steps)
            && !steps.is_empty()
        {
            let (line, harmless) = (line(expr.span()), self.harmless.get() > 0);
            self.certain.borrow_mut().asked.push(Chain { line, root: root.into(), steps, harmless });
        }
    }

    /// What is elsewhere where it may never be come to.
    fn perhaps<T>(&self, read: impl FnOnce(&Self) -> T) -> T {
        self.uncertain.set(self.uncertain.get() + 1);
        let read = read(self);
        self.uncertain.set(self.uncertain.get() - 1);
        read
    }

    /// A name that is given a value.
    fn assigned(&self, name: &str) -> Rc<str> {
        let name: Rc<str> = name.into();
        self.assigned.borrow_mut().push(Rc::clone(&name));
        name
    }

    fn body(&self, stmts: &[ast::Stmt<'_>]) -> Result<Body> {
        stmts.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    fn stmt(&self, stmt: &ast::Stmt<'_>) -> Result<Stmt> {
        let refuse = |span, what: &str| at(line(span), fault(format!("`{{% {what} %}}` is not supported")));
        Ok(match stmt {
            ast::Stmt::EmitRaw(raw) => Stmt::Text(raw.raw.into()),
            ast::Stmt::EmitExpr(emit) => Stmt::Emit(self.expr(&emit.expr)?),
            ast::Stmt::ForLoop(node) => Stmt::For(Rc::new(ForLoop {
                target: self.target(&node.target)?,
                of: self.expr(&node.iter)?,
                filter: self.perhaps(|lower| {
                    node.filter_expr.as_ref().map(|filter| lower.expr(filter)).transpose()
                })?,
                body: self.perhaps(|lower| lower.body(&node.body))?,
                otherwise: self.perhaps(|lower| lower.body(&node.else_body))?,
                recursive: node.recursive,
            })),
            ast::Stmt::IfCond(node) => Stmt::If {
                test: self.condition(|lower| lower.expr(&node.expr))?,
                then: self.in_branch(|lower| lower.body(&node.true_body))?,
                otherwise: self.in_branch(|lower| lower.body(&node.false_body))?,
            },
            ast::Stmt::WithBlock(node) => {
                let pairs = node.assignments.iter();
                let value = |value| self.harmless(|lower| lower.expr(value));
                let pairs = pairs.map(|(name, given)| Ok((self.target(name)?, value(given)?)));
                Stmt::With(pairs.collect::<Result<_>>()?, self.body(&node.body)?)
            }
            ast::Stmt::Set(node) => {
                Stmt::Set(self.target(&node.target)?, self.harmless(|lower| lower.expr(&node.expr))?)
            }
            ast::Stmt::SetBlock(node) => Stmt::SetBlock {
                target: self.target(&node.target)?,
                filter: node.filter.as_ref().map(|filter| self.expr(filter)).transpose()?,
                body: self.body(&node.body)?,
            },
            ast::Stmt::FilterBlock(node) => Stmt::Filter(self.expr(&node.filter)?, self.body(&node.body)?),
            ast::Stmt::Include(node) => {
                Stmt::Include { name: self.expr(&node.name)?, ignore_missing: node.ignore_missing }
            }
            ast::Stmt::Import(node) => {
                Stmt::Import { of: self.expr(&node.expr)?, name: self.name(&node.name)? }
            }
            ast::Stmt::FromImport(node) => {
                let names = node
                    .names
                    .iter()
                    .map(|(name, alias)| Ok((self.name(name)?, self.name(alias.as_ref().unwrap_or(name))?)));
                Stmt::FromImport { of: self.expr(&node.expr)?, names: names.collect::<Result<_>>()? }
            }
            ast::Stmt::Macro(node) => Stmt::Macro(self.macro_def(node)?),
            ast::Stmt::CallBlock(node) => Stmt::Call {
                callee: self.callee(&node.call.expr)?,
                args: self.args_of(&node.call)?,
                caller: self.macro_def(&node.macro_decl)?,
            },
            ast::Stmt::Do(node) => Stmt::Do(Expr {
                line: line(node.span()),
                node: Node::Call(Box::new(self.callee(&node.call.expr)?), self.args_of(&node.call)?),
            }),
            ast::Stmt::Template(node) => return refuse(node.span(), "template"),
            ast::Stmt::AutoEscape(node) => return refuse(node.span(), "autoescape"),
            ast::Stmt::Block(node) => return refuse(node.span(), "block"),
            ast::Stmt::Extends(node) => return refuse(node.span(), "extends"),
        })
    }

    fn macro_def(&self, node: &ast::Macro<'_>) -> Result<Rc<MacroDef>> {
        Ok(Rc::new(MacroDef {
            name: self.assigned(node.name),
            parameters: node.args.iter().map(|arg| self.name(arg)).collect::<Result<_>>()?,
            defaults: self.perhaps(|lower| lower.all(&node.defaults))?,
            body: self.perhaps(|lower| lower.body(&node.body))?,
        }))
    }

    fn name(&self, expr: &ast::Expr<'_>) -> Result<Rc<str>> {
        match expr {
            ast::Expr::Var(var) => Ok(self.assigned(var.id)),
            other => at(line(other.span()), fault("a name is expected here")),
        }
    }

    fn target(&self, expr: &ast::Expr<'_>) -> Result<Target> {
        match expr {
            ast::Expr::Var(var) => Ok(Target::Name(self.assigned(var.id))),
            ast::Expr::GetAttr(attr) => Ok(Target::Attr(self.name(&attr.expr)?, attr.name.into())),
            ast::Expr::List(list) => {
                list.items.iter().map(|item| self.target(item)).collect::<Result<_>>().map(Target::Several)
            }
            other => at(line(other.span()), fault("nothing can be assigned to this")),
        }
    }

    fn boxed(&self, expr: &ast::Expr<'_>) -> Result<Box<Expr>> {
        self.expr(expr).map(Box::new)
    }

    fn all(&self, exprs: &[ast::Expr<'_>]) -> Result<Vec<Expr>> {
        exprs.iter().map(|expr| self.expr(expr)).collect()
    }

    fn args(&self, args: &[ast::CallArg<'_>]) -> Result<Vec<Arg>> {
        let one = |arg: &ast::CallArg<'_>| {
            Ok(match arg {
                ast::CallArg::Pos(value) => Arg::One(self.expr(value)?),
                ast::CallArg::Kwarg(name, value) => Arg::Named((*name).into(), self.expr(value)?),
                ast::CallArg::PosSplat(value) => Arg::Splat(self.expr(value)?),
                ast::CallArg::KwargSplat(value) => Arg::NamedSplat(self.expr(value)?),
            })
        };
        args.iter().map(one).collect()
    }

    fn expr(&self, expr: &ast::Expr<'_>) -> Result<Expr> {
        let line = line(expr.span());
        let node = match expr {
            ast::Expr::Var(var) => {
                self.needs(line, var.id, false);
                Node::Var(var.id.into())
            }
            ast::Expr::Const(constant) => Node::Const(at(line, self.constant(constant))?),
            ast::Expr::Slice(slice) => {
                let part = |part: &Option<ast::Expr<'_>>| part.as_ref().map(|e| self.boxed(e)).transpose();
                let parts = [part(&slice.start)?, part(&slice.stop)?, part(&slice.step)?];
                Node::Slice(self.boxed(&slice.expr)?, parts)
            }
            ast::Expr::UnaryOp(unary) => {
                let of = self.boxed(&unary.expr)?;
                match unary.op {
                    ast::UnaryOpKind::Not => Node::Not(of),
                    ast::UnaryOpKind::Neg => Node::Neg(of),
                }
            }
            ast::Expr::BinOp(binary) => self.binary(binary)?,
            ast::Expr::Compare(compare) => {
                let rest = compare.ops.iter().map(|op| Ok((comparison(op.op), self.expr(&op.expr)?)));
                let rest = self.perhaps(|_| rest.collect::<Result<_>>())?;
                Node::Compare(self.boxed(&compare.expr)?, rest)
            }
            ast::Expr::IfExpr(node) => Node::If {
                test: self.condition(|lower| lower.boxed(&node.test_expr))?,
                then: self.in_branch(|lower| lower.boxed(&node.true_expr))?,
                otherwise: {
                    let otherwise = node.false_expr.as_ref();
                    self.in_branch(|lower| otherwise.map(|expr| lower.boxed(expr)).transpose())?
                },
            },
            ast::Expr::Filter(filter) => self.filter(line, filter)?,
            ast::Expr::Test(test) => self.test(line, test)?,
            ast::Expr::GetAttr(attr) => {
                self.asks(expr, false);
                Node::Attr(self.boxed(&attr.expr)?, attr.name.into())
            }
            ast::Expr::GetItem(item) => {
                Node::Item(self.boxed(&item.expr)?, self.boxed(&item.subscript_expr)?)
            }
            ast::Expr::Call(call) => {
                if self.branches.get() + self.uncertain.get() == 0 {
                    self.certain.borrow_mut().called.extend(called(line, call));
                }
                Node::Call(Box::new(self.callee(&call.expr)?), self.args_of(call)?)
            }
            ast::Expr::List(list) => Node::List(self.harmless(|lower| lower.all(&list.items))?),
            ast::Expr::Tuple(tuple) => Node::Tuple(self.harmless(|lower| lower.all(&tuple.items))?),
            ast::Expr::Map(map) => {
                let pairs = map.keys.iter().zip(&map.values);
                let pairs = pairs.map(|(key, value)| Ok((self.expr(key)?, self.expr(value)?)));
                Node::Dict(self.harmless(|_| pairs.collect::<Result<_>>())?)
            }
        };
        Ok(Expr { line, node })
    }

    fn filter(&self, line: u32, filter: &ast::Filter<'_>) -> Result<Node> {
        // Jinja2 does so too where it reads a template, and in a branch where it comes to it.
        if self.branches.get() == 0 {
            at(line, check_filter(filter.name))?;
        }
        let name = filter.name.into();
        Ok(match (filter.name, &filter.expr) {
            ("default" | "d", Some(expr)) => Node::Filter {
                name,
                of: Some(self.perhaps(|lower| lower.boxed(expr))?),
                args: self.harmless(|lower| lower.args(&filter.args))?,
            },
            (_, of) => Node::Filter {
                name,
                of: of.as_ref().map(|expr| self.boxed(expr)).transpose()?,
                args: self.args(&filter.args)?,
            },
        })
    }

    fn test(&self, line: u32, test: &ast::Test<'_>) -> Result<Node> {
        if self.branches.get() == 0 {
            at(line, check_test(test.name))?;
        }
        Ok(Node::Test {
            name: test.name.into(),
            of: match test.name {
                "defined" | "undefined" => self.perhaps(|lower| lower.boxed(&test.expr))?,
                // `x is none` is something to ask of what is not there, too.
                _ => self.harmless(|lower| lower.boxed(&test.expr))?,
            },
            args: self.args(&test.args)?,
        })
    }

    /// What is called.
    fn callee(&self, expr: &ast::Expr<'_>) -> Result<Expr> {
        let ast::Expr::Var(var) = expr else {
            self.asks(expr, true);
            return self.expr(expr);
        };
        let line = line(expr.span());
        self.needs(line, var.id, true);
        Ok(Expr { line, node: Node::Var(var.id.into()) })
    }

    /// What a function is given, who may do without it.
    fn args_of(&self, call: &ast::Call<'_>) -> Result<Vec<Arg>> {
        match &call.expr {
            // A macro of the template's own looks at it itself.
            ast::Expr::Var(_) => self.harmless(|lower| lower.args(&call.args)),
            _ => self.args(&call.args),
        }
    }

    fn binary(&self, binary: &ast::BinOp<'_>) -> Result<Node> {
        use ast::BinOpKind as Kind;
        let left = self.boxed(&binary.left)?;
        let right = match binary.op {
            Kind::ScAnd | Kind::ScOr => self.perhaps(|lower| lower.boxed(&binary.right))?,
            _ => self.boxed(&binary.right)?,
        };
        let compare = |op, left, right: Box<Expr>| Node::Compare(left, vec![(op, *right)]);
        Ok(match binary.op {
            Kind::ScAnd => Node::And(left, right),
            Kind::ScOr => Node::Or(left, right),
            Kind::Add => Node::Binary(Op::Add, left, right),
            Kind::Sub => Node::Binary(Op::Sub, left, right),
            Kind::Mul => Node::Binary(Op::Mul, left, right),
            Kind::Div => Node::Binary(Op::Div, left, right),
            Kind::FloorDiv => Node::Binary(Op::FloorDiv, left, right),
            Kind::Rem => Node::Binary(Op::Rem, left, right),
            Kind::Pow => Node::Binary(Op::Pow, left, right),
            Kind::Concat => Node::Binary(Op::Concat, left, right),
            Kind::Eq => compare(Comparison::Eq, left, right),
            Kind::Ne => compare(Comparison::Ne, left, right),
            Kind::Lt => compare(Comparison::Lt, left, right),
            Kind::Lte => compare(Comparison::Le, left, right),
            Kind::Gt => compare(Comparison::Gt, left, right),
            Kind::Gte => compare(Comparison::Ge, left, right),
            Kind::In => compare(Comparison::In, left, right),
        })
    }

    fn constant(&self, constant: &ast::Spanned<ast::Const>) -> Result<Value> {
        let value = &constant.value;
        match value.kind() {
            ValueKind::None => Ok(Value::None),
            ValueKind::Bool => Ok(Value::Bool(value.is_true())),
            ValueKind::Number if value.is_integer() => match i128::try_from(value.clone()) {
                Ok(number) => Ok(Value::Int(number)),
                Err(_) => fault("this number is too large"),
            },
            ValueKind::Number => match f64::try_from(value.clone()) {
                Ok(number) => Ok(Value::Float(number)),
                Err(error) => fault(error.to_string()),
            },
            ValueKind::String => {
                let span = constant.span();
                self.escapes(span.start_offset as usize, span.end_offset as usize)?;
                Ok(Value::str(value.as_str().unwrap_or_default()))
            }
            other => fault(format!("a constant of this kind ({other}) is not supported")),
        }
    }

    /// Refuses escapes in a text that Python reads otherwise than minijinja.
    fn escapes(&self, start: usize, end: usize) -> Result<()> {
        let mut rest = self.source.get(start..end).unwrap_or_default().chars();
        while let Some(c) = rest.next() {
            if c == '\\'
                && let Some(escaped @ ('/' | 'a' | 'v' | 'N' | 'U' | '\n')) = rest.next()
            {
                return fault(format!("the escape \\{} is not supported", escaped.escape_default()));
            }
        }
        Ok(())
    }
}

fn comparison(op: ast::CompareOpKind) -> Comparison {
    match op {
        ast::CompareOpKind::Eq => Comparison::Eq,
        ast::CompareOpKind::Ne => Comparison::Ne,
        ast::CompareOpKind::Lt => Comparison::Lt,
        ast::CompareOpKind::Lte => Comparison::Le,
        ast::CompareOpKind::Gt => Comparison::Gt,
        ast::CompareOpKind::Gte => Comparison::Ge,
        ast::CompareOpKind::In => Comparison::In,
        ast::CompareOpKind::NotIn => Comparison::NotIn,
    }
}
