//! A control plane elsewhere as the source of the keys: a whole snapshot, then every change, each acknowledged when it
//! holds.

pub mod disk;
