-- Which server, branch of its history, database and table this is: of another than it says, it was brought from
-- elsewhere.
ALTER TABLE meta ADD COLUMN origin TEXT COLLATE "C";

-- The audit log, newest first, of one key or one tenant.
DROP INDEX audit_by_key;
CREATE INDEX audit_by_key ON audit (key_id, seq);
CREATE INDEX audit_by_tenant ON audit (family, tenant, seq);
