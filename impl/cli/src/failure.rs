//! How a command ends when it does not end well: one line, and an exit code.

use std::error::Error;
use std::process::ExitCode;

/// Why a command did not do what it was asked. The text is one line.
#[derive(Debug)]
pub enum Failure {
    /// A check failed or an input was refused: exit code 1.
    Refused(String),
    /// Checks failed, and everything about them has been printed: exit code 1.
    Checks(String),
    /// The command line asks for something that does not exist: exit code 2.
    Usage(String),
    /// A device, module or driver is not there: exit code 3.
    Missing(String),
}

impl Failure {
    pub fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Refused(text) | Self::Checks(text) | Self::Usage(text) | Self::Missing(text) => {
                text
            }
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Checks(_) => 1,
            Self::Usage(_) => 2,
            Self::Missing(_) => 3,
        })
    }

    /// The same failure, told from further out.
    #[must_use]
    pub fn within(self, what: &str) -> Self {
        let say = |text: String| format!("{what}: {text}");
        match self {
            Self::Refused(text) => Self::Refused(say(text)),
            Self::Checks(text) => Self::Checks(say(text)),
            Self::Usage(text) => Self::Usage(say(text)),
            Self::Missing(text) => Self::Missing(say(text)),
        }
    }
}

/// Every error of the crates below is a refusal; its sources follow it on the same line.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Refused(chain(&error))
    }
}

/// An error and what caused it, outermost first.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        // Some libraries print their source themselves.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = source.source();
    }
    text.replace('\n', " ")
}

/// An input or output error of this file.
pub fn io_at(path: &std::path::Path, action: &str, error: &dyn Error) -> Failure {
    Failure::Refused(format!("`{}`: cannot {action}: {}", path.display(), chain(error)))
}
