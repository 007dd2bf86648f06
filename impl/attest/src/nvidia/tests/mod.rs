//! Real Evidence, and everything that must not pass for it.

mod chains;
mod expected;
mod files;
mod forged;
mod handshake;
mod harm;
mod owner;
mod rims;
mod rules;
mod sets;
mod token;
