//! The suites of the control plane once more: what they say of a database in a file holds for one at a server.

#![expect(
    clippy::duplicate_mod,
    reason = "the same tests, with other beginnings: `super::plane` and `super::directory`"
)]

use tempfile::TempDir;

use crate::control_support::{Plane, directory_at_server};

#[path = "../control_abuse.rs"]
mod control_abuse;
#[path = "../control_access.rs"]
mod control_access;
#[path = "../control_callers.rs"]
mod control_callers;
#[path = "../control_care.rs"]
mod control_care;
#[path = "../control_kill.rs"]
mod control_kill;
#[path = "../control_org.rs"]
mod control_org;
#[path = "../control_store.rs"]
mod control_store;
#[path = "../control_sync.rs"]
mod control_sync;
#[path = "../control_transfer.rs"]
mod control_transfer;
#[path = "../control_workspace.rs"]
mod control_workspace;

fn directory() -> TempDir {
    directory_at_server()
}

fn plane() -> Plane {
    Plane::start_with(directory_at_server())
}
