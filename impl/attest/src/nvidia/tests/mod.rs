//! Real Evidence, and everything that must not pass for it.

mod chains;
mod expected;
mod files;
mod harm;
mod rims;
mod rules;
mod sets;
mod token;
