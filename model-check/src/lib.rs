//! Model checks of the split-custody protocol: its own machines in a hostile world.
//!
//! What runs here is the code that ships: the two machines of `protocol::role`, unchanged, over a
//! symbolic [`Suite`](split_custody_protocol::Suite) and drivers that do what real ones do. There is
//! no second description of the protocol.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`symbolic`] | perfect cryptography as terms inside the protocol's own value types |
//! | [`world`] | machines, drivers, stores, wires, clocks, operators, adversary: one state, one step |
//! | [`mod@slice`] | which dimensions are open together, and within which bounds |
//! | [`intruder`] | whatever an adversary can compose, found by asking the machines; its twin |
//! | [`attacks`] | known attacks, and the doubles in which they work |
//! | [`custody`] | who may hold which share when, in a hundred lines that the world refines |
//! | [`property`] | what must never happen, with a witness that it could |
//! | [`doubles`] | rules left out and facts lied about, each to be caught by its property |
//! | [`story`], [`trace`] | a counterexample as sentences, as a diagram, as a file |
//! | [`cover`], [`paths`] | which rows of the state tables a run takes; few runs that take them all |
//! | [`replay`] | a running system's event log as enabled actions of the world |
//! | `search`, `harness` | stateright, one search per thread (feature `search`) |
//! | `two_phase` | a model of one word, to measure the search beside other checkers (feature `search`) |
//!
//! Modelled: a host that delivers, delays, drops, cuts and repeats; an adversary with its own key,
//! channels and genuine hardware, composing what it can derive in the slices named `intruder-*` and
//! the requests of [`world::Forgery`] in the others; stolen TLS keys; corrupt custodians; clocks that wander by one; crashes, unknown commits, failing HSMs, rolled-back
//! stores; host reads under both reactions. Abstracted: cryptography is perfect and has no algebra;
//! TLS is two FIFO queues and an exporter. Bounded: every number of [`world::Bounds`].

pub mod attacks;
pub mod cover;
pub mod custody;
pub mod doubles;
#[cfg(feature = "search")]
pub mod explore;
pub mod frame;
#[cfg(feature = "search")]
pub mod harness;
pub mod intruder;
pub mod paths;
#[cfg(feature = "search")]
pub mod progress;
pub mod property;
pub mod replay;
#[cfg(feature = "search")]
pub mod report;
#[cfg(feature = "search")]
pub mod search;
pub mod shared;
pub mod slice;
pub mod story;
pub mod symbolic;
pub mod term;
pub mod trace;
#[cfg(feature = "search")]
pub mod two_phase;
pub mod world;
