//! The target's full feature phase as ladders: what an initiator sends, what the owner is told, what the initiator gets.

mod appendix;
mod connections;
mod data;
mod ladder;
mod life;
mod management;
mod numbers;
mod random;
mod random_connections;
mod reject;
mod residual;
mod text;
