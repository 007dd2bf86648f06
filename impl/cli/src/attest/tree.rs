//! A tree for the terminal: marks, labels, and advice under what failed.

use std::fmt::Write as _;
use std::io::IsTerminal;

/// One line and what hangs below it.
pub struct Node {
    mark: Option<Mark>,
    text: String,
    below: Vec<Node>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    Pass,
    Fail,
    NotReached,
    NotAsked,
    Advice,
}

impl Mark {
    const fn text(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::NotReached => "not reached",
            Self::NotAsked => "not asked",
            Self::Advice => "->",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Pass => "32",
            Self::Fail => "1;31",
            Self::NotReached | Self::NotAsked => "2",
            Self::Advice => "33",
        }
    }
}

impl Node {
    pub fn new(text: impl Into<String>) -> Self {
        Self { mark: None, text: text.into(), below: Vec::new() }
    }

    pub fn marked(mark: Mark, text: impl Into<String>) -> Self {
        Self { mark: Some(mark), ..Self::new(text) }
    }

    #[must_use]
    pub fn with(mut self, below: impl IntoIterator<Item = Self>) -> Self {
        self.below.extend(below);
        self
    }

    pub fn print(&self) {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        print!("{}", self.render(colour));
    }

    fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        self.write(&mut out, "", "", colour);
        out
    }

    fn write(&self, out: &mut String, first: &str, rest: &str, colour: bool) {
        out.push_str(first);
        if let Some(mark) = self.mark {
            let text = mark.text();
            // INVARIANT: writing to a `String` cannot fail.
            let written = if colour {
                write!(out, "\x1b[{}m{text}\x1b[0m  ", mark.colour())
            } else {
                write!(out, "{text}  ")
            };
            written.expect("a `String` takes all text");
        }
        out.push_str(self.text.trim_end());
        out.push('\n');
        for (at, node) in self.below.iter().enumerate() {
            let (branch, line) =
                if at + 1 == self.below.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            node.write(out, &format!("{rest}{branch}"), &format!("{rest}{line}"), colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_end_where_the_tree_ends() {
        let tree = Node::new("root").with([
            Node::marked(Mark::Pass, "one").with([Node::new("below")]),
            Node::marked(Mark::Fail, "two").with([Node::marked(Mark::Advice, "do this")]),
        ]);
        let expected = "root\n├─ pass  one\n│  └─ below\n└─ FAIL  two\n   └─ ->  do this\n";
        assert_eq!(tree.render(false), expected);
        assert!(tree.render(true).contains("\x1b[1;31mFAIL\x1b[0m  two"));
    }
}
