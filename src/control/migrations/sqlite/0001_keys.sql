-- One row: the identity of this history and how far it has come.
CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch    BLOB    NOT NULL CHECK (length(epoch) = 16),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    pepper   BLOB    NOT NULL CHECK (length(pepper) = 32)
) STRICT;

-- Keys of all three families. A slug is null where the family has none. Moments are milliseconds since 1970.
CREATE TABLE keys (
    seq          INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    family       TEXT    NOT NULL CHECK (family IN ('access', 'org', 'workspace')),
    tenant       TEXT    NOT NULL,
    slug         TEXT,
    name         TEXT    NOT NULL,
    owner_kind   TEXT,
    owner_id     TEXT,
    status       TEXT    NOT NULL CHECK (status IN ('active', 'disabled', 'revoked')),
    expires_at   INTEGER,
    grants       TEXT    NOT NULL,
    revision     INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    uses         INTEGER NOT NULL DEFAULT 0,
    UNIQUE (family, tenant, slug),
    CHECK ((owner_kind IS NULL) = (owner_id IS NULL))
) STRICT;

CREATE INDEX keys_by_creation ON keys (family, tenant, created_at, id);
CREATE INDEX keys_by_owner ON keys (family, tenant, owner_kind, owner_id);

-- Digests of the secrets of keys: the current one, those whose grace runs, and tombstones of former ones.
CREATE TABLE secrets (
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    kind       TEXT    NOT NULL CHECK (kind IN ('blake3', 'sha256')),
    key_seq    INTEGER NOT NULL REFERENCES keys (seq) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    retired_at INTEGER,
    PRIMARY KEY (digest, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX secrets_by_key ON secrets (key_seq);
CREATE INDEX secrets_by_retirement ON secrets (retired_at) WHERE retired_at IS NOT NULL;

-- Which keys each revision put or removed.
CREATE TABLE changes (
    revision INTEGER NOT NULL,
    key_id   TEXT    NOT NULL,
    effect   TEXT    NOT NULL CHECK (effect IN ('put', 'removed')),
    PRIMARY KEY (revision, key_id)
) STRICT, WITHOUT ROWID;

-- Who did what to which key and when; before and after as JSON without secrets.
CREATE TABLE audit (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    at           INTEGER NOT NULL,
    revision     INTEGER NOT NULL,
    actor        TEXT    NOT NULL,
    action       TEXT    NOT NULL,
    family       TEXT    NOT NULL,
    tenant       TEXT    NOT NULL,
    key_id       TEXT    NOT NULL,
    before_state TEXT,
    after_state  TEXT
) STRICT;

CREATE INDEX audit_by_key ON audit (key_id);
