#!/usr/bin/env python3
"""What a fleet promises, measured on this machine: one table, a line a promise.

    benches/fleet/run.py --bin-dir target/dist                  # everything, full size (about half an hour)
    benches/fleet/run.py --bin-dir target/dist revocation --keys 1000 --revocations 20
    benches/fleet/run.py --bin-dir target/dist --smoke          # everything, small

Parts: revocation, churn, kills, offline, streams, simulation. Everything runs on loopback and on throw-away data; a PostgreSQL of
its own is started where a part needs one. Two cores are shared by all processes unless a part says otherwise.
"""

import argparse
import json
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS_MAX = 120
ADMIN = "benchmark-" * 4
TOKEN = "gateway-of-the-benchmark-" * 2
ORG_KEYS = 1000
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

CONFIG = """
listen: [ {{ address: "127.0.0.1:{gateway}" }} ]
ops: {{ listen: "127.0.0.1:{ops}" }}
server: {{ threads: 1, graceful_shutdown: 1s }}
keys: {{ remote: {{ url: [ {urls} ], token: "{token}", state: "{state}", max_staleness: 60s, on_stale: {on_stale}, name: "{name}" }} }}
access_log: "off"
upstreams: {{ sample: {{ endpoints: [ "127.0.0.1:{upstream}" ] }} }}
routes:
  - name: agent
    path: /v1/agents/{{agentId}}
    methods: [ GET ]
    require: {{ permissions: [ "agent-factory:agents:read" ], scopes: [ "agents:{{agentId}}" ] }}
    upstream: sample
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def get(url, key=None):
    """The status of a GET; None where there is no answer."""
    request = urllib.request.Request(url, headers={"x-prismeai-api-key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return None


def wait_for(what, holds, process=None):
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            sys.exit(f"{what}: the process ended with {process.returncode}")
        if holds():
            return
        time.sleep(0.01)
    sys.exit(f"{what}: not within {START_SECONDS_MAX} s")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Postgres:
    """A server of its own on a free port, ended by its own id."""

    def __init__(self, folder):
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        name = str(found[-1]) if found else shutil.which("postgres")
        if not name:
            sys.exit("PostgreSQL is missing: install the package postgresql")
        self.bin, self.port, self.process = pathlib.Path(name).resolve().parent, free_port(), None
        self.folder = folder / "postgres"
        self.folder.mkdir(mode=0o700)
        self.user = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("postgres" if any(u.pw_name == "postgres" for u in pwd.getpwall()) else "nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self.user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.data = self.folder / "data"
        subprocess.run([self.bin / "initdb", "-D", self.data, "-U", "keyward", "-A", "trust", "-E", "UTF8", "--no-sync"],
                       check=True, stdout=subprocess.DEVNULL, cwd="/", **self.user)
        self.start()
        wait_for("PostgreSQL", lambda: subprocess.run(
            [self.bin / "createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "keyward", "keyward"],
            stderr=subprocess.DEVNULL, check=False).returncode == 0, self.process)

    def start(self):
        self.process = subprocess.Popen(
            [self.bin / "postgres", "-D", self.data, "-p", str(self.port), "-k", "", "-c", "listen_addresses=127.0.0.1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self.user)

    def stop(self, how=signal.SIGQUIT):
        """SIGQUIT is PostgreSQL's immediate shutdown: as after a crash, it recovers from its log."""
        self.process.send_signal(how)
        self.process.wait()

    @property
    def url(self):
        return f"postgres://keyward@127.0.0.1:{self.port}/keyward"


class Fleet:
    """Processes on throw-away data, and how they are started again."""

    def __init__(self, options, core=None):
        """Where a core is given, what is not measured runs on that one."""
        self.options, self.core = options, core
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="keyward-fleet-", dir=options.dir))
        os.chmod(self.folder, 0o711)
        self.processes, self.database, self.key_file, self.tokens = [], None, None, []
        self.upstream = free_port()
        self.spawn([options.bin_dir / "examples/fleet-tool", "upstream", f"listen=127.0.0.1:{self.upstream}"], core)

    def spawn(self, command, core=None, env=None, **more):
        pinned = ["taskset", "-c", str(core)] if core is not None and self.options.pin else []
        env = {**{k: v for k, v in os.environ.items() if not k.startswith("KEYWARD_")}, **(env or {})}
        log = open(self.folder / f"{len(self.processes)}.log", "wb")
        process = subprocess.Popen([*pinned, *map(str, command)], stdout=log, stderr=log, env=env, **more)
        self.processes.append(process)
        return process

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        for process in self.processes:
            process.wait()
        if isinstance(self.database, Postgres):
            self.database.stop()
        if self.options.keep:
            print(f"kept: {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def control(self, url, port=None, core=None):
        port = port or free_port()
        command = [self.options.bin_dir / "keyward", "control", "--listen", f"127.0.0.1:{port}", "--database", url]
        process = self.spawn(command, core, {"KEYWARD_ADMIN_TOKEN": ADMIN, "KEYWARD_GATEWAY_TOKEN": TOKEN, "KEYWARD_LOG": "warn"})
        process.port = port
        return process

    def controls(self, count, core=None):
        self.database = Postgres(self.folder)
        started = []
        for _ in range(count):
            control = self.control(self.database.url, core=core)
            # One after the other: the first makes the tables.
            wait_for("a control plane", lambda c=control: get(f"http://127.0.0.1:{c.port}/readyz") == 200, control)
            started.append(control)
        return started

    def sqlite(self, core=None):
        control = self.control(f"sqlite://{self.folder}/data/keyward.db", core=core)
        wait_for("a control plane", lambda: get(f"http://127.0.0.1:{control.port}/readyz") == 200, control)
        return control

    def import_keys(self, control, count):
        """So many keys, in random order of secrets, for organisations of a thousand each."""
        dice, lines = random.Random(1), self.folder / "keys.ndjson"
        self.key_file = self.folder / "keys.txt"
        with open(lines, "w", encoding="utf-8") as out, open(self.key_file, "w", encoding="utf-8") as keys:
            for i in range(count):
                org = f"org-{i // ORG_KEYS}"
                token = f"iak_{org}_{uuid.UUID(int=dice.getrandbits(128), version=4)}"
                out.write(json.dumps({
                    "family": "org", "org": org, "slug": f"key-{i}", "name": "n0", "permissions": ["agent-factory:agents:read"],
                    "scopes": ["agents:a1"], "expiresAt": "2099-01-01T00:00:00Z", "token": token}, separators=(",", ":")) + "\n")
                keys.write(f"{org} key-{i} {token}\n")
        subprocess.run([self.options.bin_dir / "keyward", "keys", "--control", f"http://127.0.0.1:{control.port}", "import", lines],
                       check=True, stdout=subprocess.DEVNULL, env={**os.environ, "KEYWARD_ADMIN_TOKEN": ADMIN})
        os.unlink(lines)

    def some_keys(self, name, first, count):
        """A file with a part of the keys."""
        path = self.folder / name
        with open(self.key_file, encoding="utf-8") as keys:
            part = [line for i, line in enumerate(keys) if first <= i < first + count]
        path.write_text("".join(part))
        return path

    def gateway(self, controls, name, on_stale="serve", core=None, again=None):
        gateway, ops = (again.port, again.ops) if again else (free_port(), free_port())
        folder = self.folder / name
        config = self.folder / f"{name}.yaml"
        urls = ", ".join(f'"http://127.0.0.1:{c if isinstance(c, int) else c.port}"' for c in controls)
        config.write_text(CONFIG.format(gateway=gateway, ops=ops, urls=urls, token=TOKEN, state=folder, on_stale=on_stale,
                                        name=name, upstream=self.upstream))
        process = self.spawn([self.options.bin_dir / "keyward", "run", "--config", config], core, {"KEYWARD_LOG": "warn"})
        process.port, process.ops, process.name = gateway, ops, name
        return process

    def gateways(self, controls, count):
        started = []
        for i in range(count):
            # Those with an odd number begin at the other control plane.
            order = controls if i % 2 == 0 else list(reversed(controls))
            started.append(self.gateway(order, f"edge-{i}"))
        for gateway in started:
            self.ready(gateway)
        return started

    def ready(self, gateway):
        wait_for(gateway.name, lambda: get(f"http://127.0.0.1:{gateway.ops}/readyz") == 200, gateway)

    def tool(self, what, **options):
        options = [f"{name}={value}" for name, value in options.items()]
        pinned = ["taskset", "-c", str(self.core)] if self.core is not None and self.options.pin else []
        command = [*pinned, str(self.options.bin_dir / "examples/fleet-tool"), what, *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def measure(self, what, **options):
        return result(self.tool(what, **options))


def result(process):
    out, _ = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{process.args[:3]} failed")
    return json.loads(out)


def places(processes):
    return ",".join(f"127.0.0.1:{process.port}" for process in processes)


def say(what, figure, promise, holds):
    print(f"{what:58} {figure:44} {promise:34} {'yes' if holds else 'NO'}", flush=True)


def revocation(options):
    """From the answer of PATCH to the first 401 at every gateway."""
    fleet = Fleet(options)
    try:
        controls = fleet.controls(2)
        count = options.revocations
        fleet.import_keys(controls[0], max(options.keys, 2 * count + 100))
        gateways = fleet.gateways(controls, options.gateways)
        common = {"controls": places(controls), "gateways": places(gateways), "admin": ADMIN, "count": count,
                  "background": options.background}
        rest = max(options.keys, 2 * count + 100) - count
        plain = fleet.measure("revoke", keys=fleet.some_keys("a.txt", 0, rest), wait=0, **common)
        waited = fleet.measure("revoke", keys=fleet.some_keys("b.txt", count, rest), wait=10, **common)
        say(f"revocation at {len(gateways)} gateways, {count} keys: p50, p99, max",
            f"{plain['p50']:.1f} ms, {plain['p99']:.1f} ms, {plain['max']:.1f} ms", "p50 ≤ 5 ms, p99 ≤ 50 ms",
            plain["p50"] <= 5 and plain["p99"] <= 50 and plain["never"] == 0)
        say("  keys with a request allowed after an answer with wait", f"{waited['allowed_after']} of {waited['count']}", "0",
            waited["allowed_after"] == 0 and waited["never"] == 0)
        say("  answers with wait that not all had acknowledged", f"{waited['not_all']} of {waited['count']}", "0",
            waited["not_all"] == 0)
        quiet = [run["background"] for run in (plain, waited)]
        say("  other requests meanwhile: a second, refused, failed",
            f"{quiet[0]['rate']}, {sum(q['refused'] for q in quiet)}, {sum(q['failed'] for q in quiet)}",
            f"{options.background}, 0, 0", all(q["refused"] + q["failed"] == 0 for q in quiet))
    finally:
        fleet.end()


def churn(options):
    """What changes cost a gateway: its latency with and without, on a core of its own."""
    fleet = Fleet(options, core=1)
    try:
        control = fleet.sqlite(core=1)
        fleet.import_keys(control, options.many)
        gateway = fleet.gateway([control], "edge", core=0)
        fleet.ready(gateway)
        shown = fleet.some_keys("shown.txt", 0, 10_000)
        changed = fleet.some_keys("changed.txt", 20_000 if options.many > 30_000 else 0, options.writers)
        load = {"gateways": places([gateway]), "keys": shown}
        before = cpu_seconds(gateway.pid)
        full = fleet.measure("load", connections=32, rate=0, seconds=min(5, options.seconds), **load)
        cost = (cpu_seconds(gateway.pid) - before) / max(full["count"], 1)
        rate = int(1 / cost / 5)
        memory = [[resident_mib(p.pid) for p in (gateway, control)]]
        quiet, busy, written = [], [], []
        for _ in range(options.rounds):
            quiet.append(fleet.measure("load", connections=32, rate=rate, seconds=options.seconds, **load))
            writes = fleet.tool("writes", controls=places([control]), keys=changed, admin=ADMIN, clients=options.writers,
                                rate=options.changes, seconds=options.seconds)
            busy.append(fleet.measure("load", connections=32, rate=rate, seconds=options.seconds, **load))
            written.append(result(writes))
            memory.append([resident_mib(p.pid) for p in (gateway, control)])
        middle = {name: statistics.median(run["p99"] for run in runs) for name, runs in (("quiet", quiet), ("busy", busy))}
        rates = statistics.median(run["rate"] for run in written)
        ratio = middle["busy"] / middle["quiet"]
        say(f"{options.changes} changes/s at {options.many} keys, {rate} requests/s: p99", f"{middle['quiet']:.2f} → {middle['busy']:.2f} ms, "
            f"ratio {ratio:.2f}", "ratio ≤ 1.5", ratio <= 1.5)
        say(f"  changes made a second (median of {options.rounds} × {options.seconds} s)", f"{rates:.0f}", str(options.changes),
            rates >= 0.98 * options.changes)
        failed = sum(run["refused"] + run["failed"] for run in quiet + busy)
        say("  requests refused or failed", f"{failed}", "0", failed == 0)
        # The first two rounds fill what has a limit: the log of recent changes and the database's pages. After them nothing may grow.
        full, end = memory[min(2, len(memory) - 1)], memory[-1]
        for i, name in enumerate(("gateway", "control plane")):
            say(f"  memory of the {name}: before, after each round", f"{' '.join(f'{m[i]:.0f}' for m in memory)} MiB",
                "flat after two rounds", end[i] <= 1.1 * full[i] + 8)
    finally:
        fleet.end()


def kills(options):
    """Control planes killed, and PostgreSQL restarted, while they are written to and gateways are asked."""
    fleet = Fleet(options)
    try:
        controls = fleet.controls(2)
        fleet.import_keys(controls[0], 2000)
        gateways = fleet.gateways(controls, 2)
        shown, changed = fleet.some_keys("shown.txt", 1000, 1000), fleet.some_keys("changed.txt", 0, 16)
        admin = {"controls": places(controls), "keys": changed, "admin": ADMIN, "clients": 16, "rate": 300}
        dice = random.Random(2)

        def under_load(seconds, disturb):
            load = fleet.tool("load", gateways=places(gateways), keys=shown, connections=2, rate=options.background, seconds=seconds + 2)
            writes = fleet.tool("writes", seconds=seconds, **admin)
            disturb()
            return result(load), result(writes)

        def kill_controls():
            for _ in range(options.kills):
                time.sleep(dice.uniform(0.1, 0.4))
                which = dice.randrange(2)
                controls[which].kill()
                controls[which].wait()
                controls[which] = fleet.control(fleet.database.url, port=controls[which].port)
                wait_for("a control plane", lambda: get(f"http://127.0.0.1:{controls[which].port}/readyz") == 200)

        def restart_postgres():
            for _ in range(max(1, options.kills // 10)):
                time.sleep(1)
                fleet.database.stop()
                fleet.database.start()

        for name, disturb, seconds in (
                (f"{options.kills} × kill -9 of a control plane", kill_controls, options.kills * 1.2 + 5),
                (f"PostgreSQL restarted {max(1, options.kills // 10)} ×", restart_postgres, options.kills / 10 * 4 + 8)):
            load, writes = under_load(seconds, disturb)
            say(f"{name}: answered changes lost", f"{writes['lost']} of {writes['count']} ({writes['unanswered']} unanswered)", "0",
                writes["lost"] == 0 and writes["revisions_that_fell"] == 0)
            say("  requests refused or failed at gateways", f"{load['refused'] + load['failed']} of {load['count']} {load['example']:.80}", "0",
                load["refused"] + load["failed"] == 0)
    finally:
        fleet.end()


def offline(options):
    """A gateway killed and started again without a control plane."""
    fleet = Fleet(options)
    try:
        control = fleet.sqlite()
        fleet.import_keys(control, options.many)
        gateway = fleet.gateway([control], "edge")
        fleet.ready(gateway)
        with open(fleet.key_file, encoding="utf-8") as keys:
            key = keys.readline().split()[2]
        url = f"http://127.0.0.1:{gateway.port}/v1/agents/a1"
        wait_for("the first answer", lambda: get(url, key) == 200)
        # What is on disk may come after what is served.
        wait_for("the copy on disk", lambda: any(path.name == "keys.snapshot" for path in (fleet.folder / "edge").iterdir()))
        control.kill()
        control.wait()
        times = []
        for _ in range(options.rounds):
            gateway.kill()
            gateway.wait()
            began = time.monotonic()
            gateway = fleet.gateway([control], "edge", again=gateway)
            wait_for("the first answer", lambda: get(url, key) == 200, gateway)
            times.append(time.monotonic() - began)
        size = sum(path.stat().st_size for path in (fleet.folder / "edge").iterdir()) >> 20
        say(f"gateway started without a control plane, {options.many} keys", f"{statistics.median(times):.2f} s ({size} MiB on disk)",
            "≤ 2 s", statistics.median(times) <= 2)
    finally:
        fleet.end()


def streams(options):
    """Open streams of a key that is switched off."""
    fleet = Fleet(options)
    try:
        controls = fleet.controls(2)
        fleet.import_keys(controls[0], 1000)
        gateways = fleet.gateways(controls, 2)
        cut = fleet.measure("streams", controls=places(controls), gateways=places(gateways), keys=fleet.key_file, admin=ADMIN,
                            count=options.streams, wait=0)
        for name in ("sse", "websocket"):
            say(f"{name} cut after revocation: within 1 s, p99", f"{cut[name]['in_time']} of {options.streams}, {cut[name]['p99']:.1f} ms",
                f"{options.streams} of {options.streams}", cut[name]["in_time"] == options.streams)
    finally:
        fleet.end()


def simulation(options):
    """The seeds of the simulation, by the test that runs them."""
    command = ["cargo", "nextest", "run", "--locked", "--no-default-features", "--features", "remote", "--lib", "-E", "test(simulation)"]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "KEYWARD_SEEDS": str(options.seeds)}, check=False)
    ran = "no tests" not in done.stderr
    say(f"simulation, {options.seeds} seeds", f"{'passed' if done.returncode == 0 and ran else 'FAILED'}, {time.monotonic() - began:.0f} s with building",
        "all pass", done.returncode == 0 and ran)


PARTS = {f.__name__: f for f in (revocation, churn, kills, offline, streams, simulation)}
SMALL = {"keys": 300, "many": 5000, "revocations": 10, "gateways": 2, "background": 100, "changes": 100, "seconds": 2, "rounds": 1,
         "kills": 3, "streams": 3, "writers": 10, "seeds": 8}


def run_parts(parser, parts, small):
    """Reads the arguments and runs the parts that they name, one after another; `small`: what `--smoke` makes of them."""
    options = parser.parse_args()
    options.bin_dir = options.bin_dir.resolve()
    options.pin = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
    if options.smoke:
        vars(options).update(small)
    unknown = [part for part in options.parts if part not in parts]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    print(f"{'':58} {'measured':44} {'promised':34} held", flush=True)
    for part in options.parts or parts:
        parts[part](options)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="which (all when none is named): " + ", ".join(PARTS))
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--dir", help="where the data is put while it runs; a directory for temporary files otherwise")
    parser.add_argument("--keep", action="store_true", help="leave the data and the logs there")
    parser.add_argument("--smoke", action="store_true", help="everything small: whether it works, not how fast")
    parser.add_argument("--keys", type=int, default=10_000, help="of the parts with several gateways")
    parser.add_argument("--many", type=int, default=1_000_000, help="keys of the parts with one gateway")
    parser.add_argument("--gateways", type=int, default=5)
    parser.add_argument("--revocations", type=int, default=1000)
    parser.add_argument("--background", type=int, default=1000, help="other requests a second")
    parser.add_argument("--changes", type=int, default=1000, help="a second, of churn")
    parser.add_argument("--writers", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60, help="of a round of churn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--streams", type=int, default=100, help="of each kind")
    parser.add_argument("--seeds", type=int, default=256)
    run_parts(parser, PARTS, SMALL)


if __name__ == "__main__":
    main()
