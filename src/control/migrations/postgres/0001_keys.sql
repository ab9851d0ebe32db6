-- One row: the identity of this history and how far it has come. Who makes a revision locks it.
CREATE TABLE meta (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    epoch    BYTEA  NOT NULL CHECK (length(epoch) = 16),
    revision BIGINT NOT NULL CHECK (revision >= 0),
    pepper   BYTEA  NOT NULL CHECK (length(pepper) = 32)
);

-- Keys of all three families. A slug is null where the family has none. Moments are milliseconds since 1970. Texts are
-- ordered by their bytes, whatever the database does, so that lists are the same on every server.
CREATE TABLE keys (
    seq          BIGINT PRIMARY KEY,
    id           TEXT   COLLATE "C" NOT NULL UNIQUE,
    family       TEXT   COLLATE "C" NOT NULL CHECK (family IN ('access', 'org', 'workspace')),
    tenant       TEXT   COLLATE "C" NOT NULL,
    slug         TEXT   COLLATE "C",
    name         TEXT   COLLATE "C" NOT NULL,
    owner_kind   TEXT   COLLATE "C",
    owner_id     TEXT   COLLATE "C",
    status       TEXT   COLLATE "C" NOT NULL CHECK (status IN ('active', 'disabled', 'revoked')),
    expires_at   BIGINT,
    grants       TEXT   COLLATE "C" NOT NULL,
    revision     BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    last_used_at BIGINT,
    uses         BIGINT NOT NULL DEFAULT 0,
    UNIQUE (family, tenant, slug),
    CHECK ((owner_kind IS NULL) = (owner_id IS NULL))
);

CREATE INDEX keys_by_creation ON keys (family, tenant, created_at, id);
-- Most keys that are imported have no owner, and need no place in the index of owners.
CREATE INDEX keys_by_owner ON keys (family, tenant, owner_kind, owner_id) WHERE owner_kind IS NOT NULL;

-- Digests of the secrets of keys: the current one, those whose grace runs, and tombstones of former ones.
CREATE TABLE secrets (
    digest     BYTEA  NOT NULL CHECK (length(digest) = 32),
    kind       TEXT   COLLATE "C" NOT NULL CHECK (kind IN ('blake3', 'sha256')),
    key_seq    BIGINT NOT NULL REFERENCES keys (seq) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    retired_at BIGINT,
    PRIMARY KEY (digest, kind)
);

CREATE INDEX secrets_by_key ON secrets (key_seq);
CREATE INDEX secrets_by_retirement ON secrets (retired_at) WHERE retired_at IS NOT NULL;

-- Which keys each revision put or removed.
CREATE TABLE changes (
    revision BIGINT NOT NULL,
    key_id   TEXT   COLLATE "C" NOT NULL,
    effect   TEXT   COLLATE "C" NOT NULL CHECK (effect IN ('put', 'removed')),
    PRIMARY KEY (revision, key_id)
);

-- Who did what to which key and when; before and after as JSON without secrets.
CREATE TABLE audit (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           BIGINT NOT NULL,
    revision     BIGINT NOT NULL,
    actor        TEXT   COLLATE "C" NOT NULL,
    action       TEXT   COLLATE "C" NOT NULL,
    family       TEXT   COLLATE "C" NOT NULL,
    tenant       TEXT   COLLATE "C" NOT NULL,
    key_id       TEXT   COLLATE "C" NOT NULL,
    before_state TEXT   COLLATE "C",
    after_state  TEXT   COLLATE "C"
);

CREATE INDEX audit_by_key ON audit (key_id);
