//! The reference model: what `docs/spec/authorization.md` says, section by section, as lists and loops.
//!
//! It shares nothing with `keyward::authz` but plain data (values, records, the names of reasons): no index, no
//! compilation, no cache, no limit on time. When the two differ, the specification tells which one is wrong.

pub mod condition;
pub mod credential;
pub mod decision;
pub mod grants;
pub mod pattern;
pub mod request;
pub mod requirement;
pub mod route;
pub mod rule;
