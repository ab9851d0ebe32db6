//! The control plane: keys made, changed and ended, over HTTP, kept in one SQLite file or
//! in a PostgreSQL that several of them share.
//!
//! Commands are parsed into types, judged, and carried out by one writer: a transaction that makes the change, its
//! revision and its audit entry; then the gateway applies it; then it is answered. It knows no Pingora and no
//! configuration file, and asks for the time only through the clock that it was given.

mod api;
mod audit;
mod bearer;
mod caller;
mod catalogue;
mod command;
mod config;
mod delegation;
mod error;
mod feed;
mod fleet;
mod plane;
mod scoping;
mod service;
mod store;
mod tls;
mod token;

pub use api::{ServeError, openapi_json};
pub use bearer::{Admin, AdminToken, Gateway, GatewayToken, InvalidToken, Token};
pub use caller::{Caller, MANAGE_KEYS};
pub use command::{
    ACCESS_KEY_NAME_CHARACTERS_MAX, AccessMap, AccessOwner, Cursor, GRACE_SECONDS_MAX,
    InvalidInput, KeyName, KeySlug, ListAccessKeys, ListKeys, NewKey, OWNER_ID_CHARACTERS_MAX,
    OWNER_KIND_CHARACTERS_MAX, OrgSlug, PatchAccessKey, PatchOrgKey, PutWorkspaceKey, RotateOrgKey,
    SAMPLE_OWNER_KIND, Sort, SortField, WorkspaceId, new_access_grants, parse_access_name,
    parse_access_status, parse_owner, parse_permission_mode, parse_project,
};
pub use config::{Config, is_at_server, sqlite_path};
pub use delegation::{Authority, Excess};
pub use error::CommandError;
pub use plane::{Control, ReadOnly};
pub use service::{Applied, Keys, Minted, Page};
pub use store::{OpenError, StoreError, StoredKey, Usage};
pub use tls::{TlsError, TlsFiles};
pub use token::{GivenSecret, NoRandomness, RawKey};
