//! The stories and tables of every chapter, in one binary.

mod audit;
mod gate;
mod handshake;
mod lease;
mod pair;
mod quorum;
mod release;
mod reset;
mod review;
mod revocation;
mod rules;
mod sealing;
mod second;
mod tables;
mod vectors;
mod wire;
