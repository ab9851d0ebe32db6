-- Tokens by which gateways are known, beside those of the environment.
CREATE TABLE gateway_tokens (
    name       TEXT    PRIMARY KEY,
    digest     BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Gateways that follow this store: what each has applied, and until when it may act on it. The session counts its
-- arrivals at control planes; the one where it arrived last speaks for it.
CREATE TABLE gateways (
    id               TEXT    PRIMARY KEY,
    name             TEXT    NOT NULL,
    on_stale         TEXT    NOT NULL CHECK (on_stale IN ('serve', 'deny')),
    max_staleness_ms INTEGER NOT NULL,
    token            TEXT    NOT NULL,
    plane            TEXT    NOT NULL,
    session          INTEGER NOT NULL,
    epoch            TEXT,
    revision         INTEGER,
    contact_at       INTEGER NOT NULL,
    lease_until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last report of uses of each life of a gateway: what was counted once is not counted again.
CREATE TABLE usage_reports (
    gateway     TEXT    NOT NULL,
    incarnation TEXT    NOT NULL,
    sequence    INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (gateway, incarnation)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_reports_by_time ON usage_reports (at);
