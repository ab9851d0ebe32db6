#!/usr/bin/env python3
"""Times `keyward keys import` against a running quickstart: gateway attached, SQLite on this disk.

Writes KEYS lines of all three families (8 of 10 are organisation keys), tenant by tenant, imports them, imports them once more (all are
unchanged then), exports them, and prints one line of figures for each.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import time
import uuid

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


# Keys of an organisation or a workspace.
KEYS_EACH = 1000


def line(i, dice, scattered):
    """The i-th key. Its secret is random, so that it falls anywhere into the table of digests."""
    token = uuid.UUID(int=dice.getrandbits(128), version=4)
    tenant = i % KEYS_EACH if scattered else i // KEYS_EACH
    if i % 10 == 8:
        rule = {"action": "read", "subject": "pages", "conditions": {"id": f"p{i % 97}"}}
        return {"family": "workspace", "workspace": f"w{tenant}", "name": f"Key {i}", "rules": [rule], "token": str(token)}
    if i % 10 == 9:
        ulid = "01" + "".join(dice.choices(CROCKFORD, k=24))
        return {"family": "access", "name": f"Key {i}", "permission_mode": "restricted",
                "access": {"deployment": "read"}, "token": f"sk-orq-{ulid}-{token.hex}"}
    org = f"org-{tenant}"
    return {"family": "org", "org": org, "slug": f"key-{i}", "name": f"Key {i}", "permissions": ["agent-factory:agents:read"],
            "scopes": ["agents:a1"], "expiresAt": "2099-01-01T00:00:00Z", "token": f"iak_{org}_{token}"}


def timed(what, keys, command, environment, **more):
    start = time.monotonic()
    done = subprocess.run(command, env=environment, check=True, text=True, **more)
    seconds = time.monotonic() - start
    told = (done.stdout or "").strip()
    print(f"{what:<14} {seconds:7.1f} s  {keys / seconds:9.0f} keys/s  {told}", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--keyward", default="target/release/keyward", help="the binary")
    arguments.add_argument("--keys", type=int, default=1_000_000)
    arguments.add_argument("--scattered", action="store_true",
                           help="each line is of another tenant than the one before, which touches more of the disk")
    arguments.add_argument("--dir", help="where the data is put while it runs; a directory for temporary files otherwise")
    given = arguments.parse_args()
    keyward = os.path.abspath(given.keyward)
    with tempfile.TemporaryDirectory(dir=given.dir) as directory:
        file = os.path.join(directory, "keys.ndjson")
        dice = random.Random(1)
        with open(file, "w", encoding="utf-8") as out:
            for i in range(given.keys):
                out.write(json.dumps(line(i, dice, given.scattered), separators=(",", ":")) + "\n")
        serving = subprocess.Popen(
            [keyward, "quickstart", "--json", "--listen", "127.0.0.1:0", "--dir", os.path.join(directory, "data")],
            stdout=subprocess.PIPE, text=True)
        try:
            ready = json.loads(serving.stdout.readline())
            environment = {**os.environ, "KEYWARD_ADMIN_TOKEN": ready["admin_token"]}
            command = [keyward, "keys", "--control", ready["control"]]
            capture = {"stdout": subprocess.PIPE}
            timed("import", given.keys, [*command, "import", file], environment, **capture)
            timed("import again", given.keys, [*command, "import", file], environment, **capture)
            with open(os.devnull, "w", encoding="utf-8") as nowhere:
                timed("export", given.keys, [*command, "export"], environment, stdout=nowhere)
            with open(f"/proc/{serving.pid}/status", encoding="utf-8") as status:
                peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
            print(f"control plane and gateway: {int(peak) // 1024} MiB at most, "
                  f"{os.path.getsize(os.path.join(directory, 'data', 'keyward.db')) >> 20} MiB of database")
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.wait()


if __name__ == "__main__":
    main()
