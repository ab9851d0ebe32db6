-- When the file was last served from: another than the file beside it remembers, and it was brought from elsewhere.
ALTER TABLE meta ADD COLUMN incarnation BLOB CHECK (incarnation IS NULL OR length(incarnation) = 16);

-- The audit log, newest first, of one tenant.
CREATE INDEX audit_by_tenant ON audit (family, tenant, seq);
