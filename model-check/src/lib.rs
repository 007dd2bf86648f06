//! Model checks of the split-custody protocol: its own machines in a hostile world.

pub mod frame;
pub mod symbolic;
pub mod world;
