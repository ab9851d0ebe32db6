-- Most keys that are imported have no owner, and need no place in the index of owners.
DROP INDEX keys_by_owner;
CREATE INDEX keys_by_owner ON keys (family, tenant, owner_kind, owner_id) WHERE owner_kind IS NOT NULL;
