//! Where the protocol's sources can be mutated, and how.

use std::ops::Range;

use proc_macro2::Span;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Block, Expr, ImplItemFn, ItemFn, Macro, Pat, Signature, Stmt, Token};

use crate::edit::Wrap;

/// What is done.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A statement is left out.
    Delete,
    /// A condition, or a part of one, always holds.
    True,
    /// It never holds.
    False,
    /// `<` for `<=`, and so on.
    Boundary,
    /// `-` for `+`, `max` for `min`, and so on.
    Swap,
    /// A function does nothing and gives a value.
    Value,
    /// An arm of a `match` with a wildcard is left out.
    Arm,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Delete, Self::True, Self::False, Self::Boundary, Self::Swap, Self::Value, Self::Arm];

    pub fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::True => "true",
            Self::False => "false",
            Self::Boundary => "boundary",
            Self::Swap => "swap",
            Self::Value => "value",
            Self::Arm => "arm",
        }
    }
}

/// One mutation of one file.
pub struct Mutation {
    /// Its number, which switches it on.
    pub number: usize,
    /// Its file, under `protocol/src`.
    pub file: String,
    /// Lines of the file that it touches.
    pub lines: Range<usize>,
    /// The function that it is in.
    pub function: String,
    pub kind: Kind,
    /// What is changed, and into what where that is not plain.
    pub text: String,
    pub wrap: Wrap,
}

/// What names a mutation as long as its text stands: file, function, kind, text.
pub type Key = (String, String, String, String);

impl Mutation {
    pub fn key(&self) -> Key {
        (self.file.clone(), self.function.clone(), self.kind.name().into(), self.text.clone())
    }

    /// One line of JSON.
    pub fn line(&self, outcome: Option<&str>) -> String {
        serde_json::json!({
            "place": format!("protocol/src/{}:{}", self.file, self.lines.start),
            "function": self.function, "kind": self.kind.name(), "text": self.text,
            "outcome": outcome,
        })
        .to_string()
    }
}

/// All mutations of a file, numbered from `first` on.
pub fn mutations(file: &str, text: &str, first: usize) -> Result<Vec<Mutation>, syn::Error> {
    let parsed = syn::parse_file(text)?;
    let mut finder =
        Finder { file, text, first, function: String::new(), found: Vec::new(), seen: Vec::new() };
    finder.visit_file(&parsed);
    Ok(finder.found)
}

struct Finder<'t> {
    file: &'t str,
    text: &'t str,
    first: usize,
    function: String,
    found: Vec<Mutation>,
    /// Conditions and parts of conditions that were seen as such.
    seen: Vec<Range<usize>>,
}

/// The call that asks whether a mutation is on.
fn on(number: usize) -> String {
    format!("crate::mutant::on({number})")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Finder<'_> {
    fn add(
        &mut self,
        span: Span,
        kind: Kind,
        text: String,
        wrap: impl Fn(&str) -> (String, String),
    ) {
        let number = self.first + self.found.len();
        let (before, after) = wrap(&on(number));
        let (begin, end) = (span.start().line, span.end().line + 1);
        self.found.push(Mutation {
            number,
            file: self.file.into(),
            lines: begin..end,
            function: self.function.clone(),
            kind,
            text,
            wrap: Wrap { range: span.byte_range(), before, after },
        });
    }

    fn source(&self, span: Span) -> String {
        self.text[span.byte_range()].to_owned()
    }

    fn always(&mut self, span: Span, value: bool) {
        let kind = if value { Kind::True } else { Kind::False };
        if self.is_found(span, kind) {
            return;
        }
        let text = one_line(&self.source(span));
        match value {
            true => self.add(span, Kind::True, text, |on| (format!("({on} || ("), "))".into())),
            false => self.add(span, Kind::False, text, |on| (format!("(!{on} && ("), "))".into())),
        }
    }

    /// The same expression with another text, where the mutation is on.
    fn instead(&mut self, span: Span, kind: Kind, other: &str) {
        if self.is_found(span, kind) {
            return;
        }
        let text = format!("{} => {}", one_line(&self.source(span)), one_line(other));
        self.add(span, kind, text, |on| {
            (format!("(if {on} {{ {} }} else {{ ", one_line(other)), " })".into())
        });
    }

    /// A condition: as a whole, then its parts.
    fn condition(&mut self, condition: &Expr) {
        if !has_let(condition) {
            self.always(condition.span(), true);
            self.always(condition.span(), false);
        }
        self.parts(condition);
    }

    fn parts(&mut self, expr: &Expr) {
        self.seen.push(expr.span().byte_range());
        match expr {
            Expr::Paren(inner) => self.parts(&inner.expr),
            Expr::Unary(inner) if matches!(inner.op, syn::UnOp::Not(_)) => self.parts(&inner.expr),
            Expr::Binary(both) if is_logic(&both.op) => {
                let value = matches!(both.op, BinOp::And(_));
                for side in [&both.left, &both.right] {
                    if !matches!(&**side, Expr::Binary(b) if same(&b.op, &both.op))
                        && !has_let(side)
                    {
                        self.always(side.span(), value);
                    }
                    self.parts(side);
                }
            }
            Expr::Binary(both) => self.boundary(both),
            _ => {}
        }
    }

    fn boundary(&mut self, both: &syn::ExprBinary) {
        let other = match both.op {
            BinOp::Lt(_) => "<=",
            BinOp::Le(_) => "<",
            BinOp::Gt(_) => ">=",
            BinOp::Ge(_) => ">",
            BinOp::Add(_) => "-",
            BinOp::Sub(_) => "+",
            _ => return,
        };
        let kind = if is_comparison(&both.op) { Kind::Boundary } else { Kind::Swap };
        let (left, right) = (self.source(both.left.span()), self.source(both.right.span()));
        self.instead(both.span(), kind, &format!("{left} {other} {right}"));
    }

    fn values(&mut self, signature: &Signature, block: &Block) {
        let output = match &signature.output {
            syn::ReturnType::Default => String::new(),
            syn::ReturnType::Type(_, of) => one_line(&self.source(of.span())),
        };
        let values: &[&str] = match output.as_str() {
            "" => &[""],
            "bool" => &["true", "false"],
            "usize" | "u8" | "u16" | "u32" | "u64" => &["0", "1"],
            text if text.starts_with("Option<") => &["None"],
            text if text.starts_with("Result<()") => &["Ok(())"],
            text if text.starts_with("Vec<") => &["Vec::new()"],
            _ => &[],
        };
        if block.stmts.is_empty() {
            return;
        }
        // Behind the brace that opens the body: a wrap of nothing.
        let brace = block.brace_token.span.open();
        for value in values {
            let text = format!("{} => {value}", signature.ident);
            let number = self.first + self.found.len();
            let at = brace.byte_range().end;
            self.found.push(Mutation {
                number,
                file: self.file.into(),
                lines: brace.start().line..brace.end().line + 1,
                function: self.function.clone(),
                kind: Kind::Value,
                text,
                wrap: Wrap {
                    range: at..at,
                    before: format!(" if {} {{ return {value}; }} ", on(number)),
                    after: String::new(),
                },
            });
        }
    }

    fn function(&mut self, signature: &Signature, block: &Block, visit: impl FnOnce(&mut Self)) {
        if signature.constness.is_some() {
            return;
        }
        let outer = std::mem::replace(&mut self.function, signature.ident.to_string());
        self.values(signature, block);
        visit(self);
        self.function = outer;
    }

    fn delete(&mut self, stmt: &Stmt) {
        let text = one_line(&self.source(stmt.span()));
        self.add(stmt.span(), Kind::Delete, text, |on| (format!("if !{on} {{ "), " }".into()));
    }

    fn swapped_call(&mut self, call: &syn::ExprMethodCall) {
        const PAIRS: [(&str, &str); 8] = [
            ("min", "max"),
            ("any", "all"),
            ("is_some", "is_none"),
            ("is_ok", "is_err"),
            ("saturating_add", "saturating_sub"),
            ("checked_add", "checked_sub"),
            ("is_some_and", "is_none_or"),
            ("first", "last"),
        ];
        let name = call.method.to_string();
        let other = PAIRS.iter().find_map(|(one, two)| match name.as_str() {
            name if name == *one => Some(*two),
            name if name == *two => Some(*one),
            _ => None,
        });
        let Some(other) = other else { return };
        let (whole, method) = (call.span().byte_range(), call.method.span().byte_range());
        let (before, after) =
            (&self.text[whole.start..method.start], &self.text[method.end..whole.end]);
        let text = format!("{before}{other}{after}");
        self.instead(call.span(), Kind::Swap, &text);
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[Attribute] = match item {
            syn::Item::Fn(of) => &of.attrs,
            syn::Item::Mod(of) => &of.attrs,
            syn::Item::Impl(of) => &of.attrs,
            syn::Item::Const(_) | syn::Item::Static(_) | syn::Item::Macro(_) => return,
            _ => &[],
        };
        if !attributes.iter().any(is_conditional) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, of: &'ast ItemFn) {
        self.function(&of.sig, &of.block, |finder| visit::visit_block(finder, &of.block));
    }

    fn visit_impl_item_fn(&mut self, of: &'ast ImplItemFn) {
        if !of.attrs.iter().any(is_conditional) {
            self.function(&of.sig, &of.block, |finder| visit::visit_block(finder, &of.block));
        }
    }

    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}

    fn visit_stmt(&mut self, stmt: &'ast Stmt) {
        match stmt {
            Stmt::Expr(Expr::Return(_) | Expr::Break(_) | Expr::Continue(_), _) => {}
            Stmt::Expr(Expr::If(of), _) if of.else_branch.is_none() && has_let(&of.cond) => {
                self.delete(stmt);
            }
            Stmt::Expr(Expr::ForLoop(_) | Expr::While(_), _) => self.delete(stmt),
            Stmt::Expr(Expr::If(_), _) => {}
            Stmt::Expr(_, Some(_)) => self.delete(stmt),
            Stmt::Macro(of) if of.semi_token.is_some() => self.delete(stmt),
            _ => {}
        }
        visit::visit_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        match expr {
            Expr::If(of) => self.condition(&of.cond),
            Expr::While(of) if !has_let(&of.cond) => self.always(of.cond.span(), false),
            Expr::Match(of) if of.arms.last().is_some_and(|arm| is_wild(&arm.pat)) => {
                for arm in &of.arms[..of.arms.len() - 1] {
                    self.arm(arm);
                }
            }
            Expr::Binary(of)
                if is_logic(&of.op) && !has_let(expr) && !self.is_part(expr.span()) =>
            {
                self.condition(expr);
            }
            Expr::Binary(of) if is_comparison(&of.op) => {
                // A part of a condition has the one that matters already.
                if !self.is_part(of.span()) {
                    self.always(of.span(), true);
                    self.always(of.span(), false);
                }
                self.boundary(of);
            }
            Expr::Binary(of) => self.boundary(of),
            Expr::MethodCall(of) => self.swapped_call(of),
            _ => {}
        }
        visit::visit_expr(self, expr);
    }

    fn visit_macro(&mut self, of: &'ast Macro) {
        let name = of.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        if !matches!(name.as_str(), "require" | "perform" | "bound" | "matches") {
            return;
        }
        if name == "matches" {
            if !self.is_part(of.span()) {
                self.always(of.span(), true);
                self.always(of.span(), false);
            }
            return;
        }
        let arguments = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(of.tokens.clone());
        for argument in arguments.iter().flatten().skip(1) {
            // That the whole always holds is the statement left out.
            if name == "require" {
                self.parts(argument);
            }
            // The clone lives long enough: only spans and texts are kept.
            let mut inner = Finder {
                file: self.file,
                text: self.text,
                first: self.first,
                function: std::mem::take(&mut self.function),
                found: std::mem::take(&mut self.found),
                seen: std::mem::take(&mut self.seen),
            };
            inner.visit_expr(argument);
            (self.function, self.found, self.seen) = (inner.function, inner.found, inner.seen);
        }
    }
}

impl Finder<'_> {
    fn is_part(&self, span: Span) -> bool {
        self.seen.contains(&span.byte_range())
    }

    fn is_found(&self, span: Span, kind: Kind) -> bool {
        let range = span.byte_range();
        self.found.iter().any(|m| m.kind == kind && m.wrap.range == range)
    }

    fn arm(&mut self, arm: &syn::Arm) {
        let text = one_line(&self.source(arm.pat.span()));
        match &arm.guard {
            Some((_, guard)) => {
                self.always(guard.span(), true);
                self.always(guard.span(), false);
            }
            None => self
                .add(arm.pat.span(), Kind::Arm, text, |on| (String::new(), format!(" if !{on}"))),
        }
    }
}

fn is_conditional(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
}

fn is_wild(pat: &Pat) -> bool {
    matches!(pat, Pat::Wild(_))
}

fn is_logic(op: &BinOp) -> bool {
    matches!(op, BinOp::And(_) | BinOp::Or(_))
}

fn is_comparison(op: &BinOp) -> bool {
    matches!(
        op,
        BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_)
    )
}

fn same(one: &BinOp, other: &BinOp) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Whether a condition binds names, so that it cannot be put into brackets.
fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(both) => has_let(&both.left) || has_let(&both.right),
        _ => false,
    }
}
