//! The follower by itself and in a world that a seed makes up.

mod follower;
mod simulation;
mod store;
mod world;
