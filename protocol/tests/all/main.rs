//! The stories and tables of every chapter, in one binary.

mod audit;
mod crossing;
mod elsewhere;
mod gate;
mod handshake;
mod holder;
mod lease;
mod ledger;
mod pair;
mod quorum;
mod release;
mod reset;
mod review;
mod revocation;
mod rules;
mod sealing;
mod second;
mod shift;
mod tables;
mod vectors;
mod wire;
