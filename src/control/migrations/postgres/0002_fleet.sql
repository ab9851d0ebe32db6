-- Tokens by which gateways are known, beside those of the environment.
CREATE TABLE gateway_tokens (
    name       TEXT    COLLATE "C" PRIMARY KEY,
    digest     BYTEA   NOT NULL UNIQUE CHECK (length(digest) = 32),
    created_at BIGINT NOT NULL
);

-- Gateways that follow this store: what each has applied, and until when it may act on it. The session counts its
-- arrivals at control planes; the one where it arrived last speaks for it.
CREATE TABLE gateways (
    id               TEXT    COLLATE "C" PRIMARY KEY,
    name             TEXT    COLLATE "C" NOT NULL,
    on_stale         TEXT    COLLATE "C" NOT NULL CHECK (on_stale IN ('serve', 'deny')),
    max_staleness_ms BIGINT NOT NULL,
    token            TEXT    COLLATE "C" NOT NULL,
    plane            TEXT    COLLATE "C" NOT NULL,
    session          BIGINT NOT NULL,
    epoch            TEXT COLLATE "C",
    revision         BIGINT,
    contact_at       BIGINT NOT NULL,
    lease_until      BIGINT NOT NULL
);

-- The last report of uses of each life of a gateway: what was counted once is not counted again.
CREATE TABLE usage_reports (
    gateway     TEXT    COLLATE "C" NOT NULL,
    incarnation TEXT    COLLATE "C" NOT NULL,
    sequence    BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (gateway, incarnation)
);

CREATE INDEX usage_reports_by_time ON usage_reports (at);
