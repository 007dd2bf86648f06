//! Rows that no path takes, each with its reason.

/// Row, and why the world does not take it.
pub const UNREACHED: &[(&str, &str)] = &[];
