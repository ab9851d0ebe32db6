"""The published Python client of orq.ai against a control plane: every operation on API keys, unchanged.

KEYWARD_URL says where it is, KEYWARD_ADMIN_TOKEN is the token for it. Any surprise ends it with a traceback.
"""

import os
from datetime import datetime, timezone

from orq_ai_sdk import Orq, models

TOKEN = os.environ["KEYWARD_ADMIN_TOKEN"]
URL = os.environ["KEYWARD_URL"]
END = datetime(2030, 1, 1, tzinfo=timezone.utc)


def refused(status, act):
    """The error of an act that must be refused with this status."""
    try:
        act()
    except models.OrqError as error:
        assert error.status_code == status, (status, error.status_code, error.body)
        return error
    raise AssertionError(f"not refused with {status}")


def create_and_get(keys):
    made = keys.create(
        name="Support automation key",
        owner={"type": "user", "user_id": "u1"},
        project_scope={"mode": "single", "project_id": "p1"},
        permission_mode="restricted",
        access={"agent": "write", "deployment": "read"},
        constraints={"expires_at": END},
    )
    assert made.token.startswith(f"sk-orq-{made.id}-"), made.token_prefix
    assert made.active and made.status == "active" and not made.is_legacy
    assert made.expiration == END
    assert made.owner == {"type": "user", "user_id": "u1"}
    assert made.project_scope == {"mode": "single", "project_id": "p1"}
    assert made.permission_mode == "restricted"
    assert made.access == {"agent": "write", "deployment": "read"}
    assert made.additional_properties["api_key"]["api_key_id"] == made.id

    got = keys.get(api_key_id=made.id)
    assert got.token == got.token_prefix == f"sk-orq-{made.id}"
    assert (got.name, got.created, got.workspace_id) == (made.name, made.created, made.workspace_id)
    return made


def create_in_the_former_way(keys):
    made = keys.create(name="Legacy", projects=None, expiration=END)
    assert made.permission_mode == "all" and made.project_scope == {"mode": "all"}
    published = keys.create(
        name="Published",
        project_scope={"single": {"project_id": "p2"}},
        permission_mode="PERMISSION_MODE_READ_ONLY",
    )
    assert published.permission_mode == "read_only" and published.projects == ["p2"]


def list_keys(keys):
    listed = keys.list()
    assert [key.name for key in listed] == ["Published", "Legacy", "Support automation key"]
    assert all(key.token.endswith("********") for key in listed)
    assert [key.name for key in keys.list(project_id="p1", source="workspace")] == ["Support automation key"]
    assert keys.list(source="router") == []


def update(keys, key):
    updated = keys.update(
        api_key_id=key.id,
        name="Renamed",
        active=False,
        access={"dataset": "read"},
        project_scope={"all": {}},
    )
    assert (updated.name, updated.status, updated.active) == ("Renamed", "disabled", False)
    assert updated.access == {"dataset": "read"} and updated.projects == []
    assert keys.update(api_key_id=key.id, status="active", permission_mode="all").active
    assert keys.update(api_key_id=key.id, status="revoked").status == "revoked"
    refused(409, lambda: keys.update(api_key_id=key.id, status="active"))


def list_capabilities(keys):
    domains = {domain.id: domain for domain in keys.list_capabilities().domains}
    assert domains["deployment"].group == "DOMAIN_GROUP_PLATFORM"
    assert domains["chat_completions"].writable


def delete(keys, key):
    assert keys.delete(api_key_id=key.id) is None
    for act in (keys.get, keys.delete):
        refused(404, lambda: act(api_key_id=key.id))


def refusals(keys):
    error = refused(400, lambda: keys.create(name="", permission_mode="all"))
    assert '"code":"invalid_request_body"' in error.body, error.body
    with Orq(api_key="sk-orq-01HZXW2K7Y8Q9M0N1P2R3S4T5V-unknown", server_url=URL) as stranger:
        refused(401, lambda: stranger.api_keys.list())
        error = refused(401, lambda: stranger.api_keys.list_capabilities())
        assert isinstance(error, models.ErrorResponse), error
        assert error.data.message, error.data


def main():
    with Orq(api_key=TOKEN, server_url=URL) as client:
        keys = client.api_keys
        key = create_and_get(keys)
        create_in_the_former_way(keys)
        list_keys(keys)
        list_capabilities(keys)
        update(keys, key)
        delete(keys, key)
        refusals(keys)


main()
