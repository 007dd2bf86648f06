//! Model checks of the split-custody protocol: its own machines in a hostile world.

pub mod frame;
pub mod replay;
pub mod symbolic;
#[cfg(feature = "search")]
pub mod search;
pub mod shared;
pub mod slice;
pub mod world;
