//! The driver: one loop that turns any machine.
//!
//! All chapters. A task owns the machine and its suite. It takes one thing that happened, lets the
//! machine handle it, writes the turn to the event log, executes every output in order, and waits
//! for the next thing or the machine's deadline. Nothing else touches the machine, so no rule of
//! the protocol depends on scheduling.
//!
//! ```text
//!   frames (bounded) --\
//!   answers ------------> turn: handle -> drain -> record -> execute --> writers, effects, dials
//!   commands (bounded) -/          ^-- exports are answered here --/
//! ```
//!
//! A machine hears of each channel's end once, also when it closed the channel itself, and of
//! nothing after that; a channel that a machine does not take is closed. The driver does not retry,
//! decode, or decide.

mod channels;
#[cfg(test)]
mod double;
mod handle;
mod task;
#[cfg(test)]
mod tests;

pub use handle::{Ended, Handle};
pub use task::{Config, Observed, Observer, spawn};
