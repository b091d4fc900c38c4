//! The target's full feature phase as ladders: what an initiator sends, what the owner is told, what the initiator gets.

mod appendix;
mod connections;
mod continuation;
mod data;
mod fast_abort;
mod fences;
mod ladder;
mod life;
mod lost_data;
mod management;
mod numbers;
mod random;
mod random_connections;
mod random_recovery;
mod recovery;
mod reject;
mod residual;
mod stragglers;
mod text;
mod violations;
