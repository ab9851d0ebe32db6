#!/usr/bin/env python3
"""What abuse costs those who do not abuse, measured on this machine: one table, a line a promise.

    benches/hostile/run.py --bin-dir target/dist                  # everything, full size (a quarter of an hour)
    benches/hostile/run.py --bin-dir target/dist flood --times 3  # what the flood promises, three times
    benches/hostile/run.py --bin-dir target/dist slow --only readers --slow-seconds 25
    benches/hostile/run.py --bin-dir target/dist http2 --only rapid-reset --attackers 10
    benches/hostile/run.py --bin-dir target/dist --smoke          # everything, small

Parts: flood, slow, refusal, http2. Everything runs on loopback and on throw-away data. Where there is `taskset`, the gateway has
a core of its own, on one worker thread, and everything else shares another. Each line ends with PASS or FAIL, and one that
fails makes the exit code 1.
"""

import argparse
import contextlib
import importlib.util
import multiprocessing
import os
import pathlib
import re
import resource
import subprocess
import sys
import threading
import time

import http2 as frames

HERE = pathlib.Path(__file__).resolve().parent
SPEC = importlib.util.spec_from_file_location("fleet", HERE.parent / "fleet" / "run.py")
fleet = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fleet)
result, cpu_seconds, resident_mib = fleet.result, fleet.cpu_seconds, fleet.resident_mib

# Milliseconds within which almost all requests of others are answered while thousands are slow.
SERVED_P99_MAX = 1000
failed = []


def say(what, figure, promise, holds):
    print(f"{what:78} {figure:44} {promise:20} {'PASS' if holds else 'FAIL'}", flush=True)
    if not holds:
        failed.append(what)

CONFIG = """
listen: [ {{ address: "127.0.0.1:{gateway}", h2c: true }} ]
ops: {{ listen: "127.0.0.1:{ops}" }}
server: {{ threads: 1, graceful_shutdown: 1s }}
keys: {{ embedded: {{ listen: "127.0.0.1:{control}", database: "sqlite://{data}/keyward.db" }} }}
upstreams: {{ sample: {{ endpoints: [ "127.0.0.1:{upstream}" ] }} }}
routes:
  - name: agent
    path: /v1/agents/{{agentId}}
    methods: [ GET ]
    require: {{ permissions: [ "agent-factory:agents:read" ], scopes: [ "agents:{{agentId}}" ] }}
    upstream: sample
  - name: public
    path: /public/{{*rest}}
    methods: [ GET, POST ]
    require: anonymous
    upstream: sample
"""


class Edge(fleet.Fleet):
    """One gateway with its keys, as people begin."""

    def __init__(self, options):
        super().__init__(options, core=1)
        self.config = self.folder / "keyward.yaml"
        self.port, self.ops, control = fleet.free_port(), fleet.free_port(), fleet.free_port()
        self.config.write_text(CONFIG.format(gateway=self.port, ops=self.ops, control=control, data=self.folder / "data",
                                             upstream=self.upstream))
        self.gateway = self.spawn([options.bin_dir / "keyward", "run", "--config", self.config], 0,
                                  {"KEYWARD_ADMIN_TOKEN": fleet.ADMIN, "KEYWARD_LOG": "warn"})
        self.gateway.port = control
        fleet.wait_for("the gateway", lambda: fleet.get(f"http://127.0.0.1:{self.ops}/readyz") == 200, self.gateway)
        self.import_keys(self.gateway, 1000)
        self.where = {"gateways": f"127.0.0.1:{self.port}"}
        self.log = self.folder / f"{self.processes.index(self.gateway)}.log"

    def good(self, seconds, rate, connections=4):
        """A client with valid keys, in the background."""
        return self.tool("load", keys=self.key_file, connections=connections, rate=rate, seconds=seconds, **self.where)

    def flood(self, shown, seconds, rate, status=401, connections=64, batch=8):
        # It yields the core that it shares to the client whose times are taken.
        tool = [str(self.options.bin_dir / "examples/fleet-tool"), "flood", f"shown={shown}", f"seconds={seconds}", f"rate={rate}",
                f"status={status}", f"connections={connections}", f"batch={batch}", f"keys={self.key_file}",
                *(f"{name}={value}" for name, value in self.where.items())]
        pinned = ["taskset", "-c", str(self.core)] if self.options.pin else []
        return subprocess.Popen(["nice", "-n", "10", *pinned, *tool], stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def watched(process):
    """Samples the memory of a process meanwhile; in the list is what it had at first, and what it came to."""
    over, samples = threading.Event(), [resident_mib(process.pid)]

    def sample():
        while not over.wait(0.5):
            samples.append(resident_mib(process.pid))
    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def say_others(what, quiet, busy):
    """What became of those who do not abuse."""
    ratio = busy["p99"] / quiet["p99"]
    say(f"{what}: p99 of others", f"{quiet['p99']:.2f} → {busy['p99']:.2f} ms, ratio {ratio:.2f}", "ratio ≤ 2", ratio <= 2)
    say("  the same: p50, worst", f"{quiet['p50']:.2f} → {busy['p50']:.2f} ms, {quiet['max']:.1f} → {busy['max']:.1f} ms", "-", True)
    lost = busy["refused"] + busy["failed"]
    say("  requests of others refused or failed", f"{lost} of {busy['count']}", "0", lost == 0)


def say_grown(samples, most):
    """What was taken of memory, in MiB."""
    grown = max(samples) - samples[0]
    say("  memory grown", f"{samples[0]:.0f} + {grown:.1f} MiB", f"< {most} MiB", grown < most)


def flood(options):
    """Keys that are nobody's, by the ten thousand a second, beside somebody's."""
    for _ in range(options.times):
        one_flood(options)


def one_flood(options):
    edge = Edge(options)
    try:
        edge.measure("load", keys=edge.key_file, connections=4, rate=options.good, seconds=2, **edge.where)
        quiet = result(edge.good(options.seconds, options.good))
        # The first seconds fill buffers and thread caches.
        result(edge.flood("mixed", 3, options.rate))
        cpu, logged = cpu_seconds(edge.gateway.pid), edge.log.stat().st_size
        with watched(edge.gateway) as samples:
            hose = edge.flood("mixed", options.seconds, options.rate)
            busy = result(edge.good(options.seconds, options.good))
            poured = result(hose)
        cpu = (cpu_seconds(edge.gateway.pid) - cpu) / options.seconds
        say_others(f"flood of {poured['rate']} bad keys/s for {options.seconds} s", quiet, busy)
        say("  bad keys not answered 401", f"{poured['others'] + poured['failed']} of {poured['count']}", "0",
            poured["others"] + poured["failed"] == 0)
        say("  of the rate that was asked for", f"{100 * poured['rate'] / options.rate:.0f} %, {100 * cpu:.0f} % of a core", "≥ 98 %",
            poured["rate"] >= 0.98 * options.rate)
        say_grown(samples, 32)
        lines = (edge.log.stat().st_size - logged) / options.seconds
        say("  access log", f"{lines / 1024:.0f} KiB/s", "< 512 KiB/s", lines < 512 * 1024)
    finally:
        edge.end()


def refusal(options):
    """What a refusal costs the gateway, beside what it costs to forward."""
    edge = Edge(options)
    try:
        costs = {}
        for shown, status in (("valid", 200), ("unknown", 401), ("malformed", 401), ("missing", 401)):
            runs = []
            for _ in range(options.rounds):
                result(edge.flood(shown, 1, options.steady, status))
                before = cpu_seconds(edge.gateway.pid)
                poured = result(edge.flood(shown, max(2, options.seconds // 6), options.steady, status))
                runs.append((cpu_seconds(edge.gateway.pid) - before) / poured["count"] * 1e6)
                if poured["others"] + poured["failed"]:
                    sys.exit(f"{shown}: {poured}")
            costs[shown] = sorted(runs)[len(runs) // 2]
        allowed = costs.pop("valid")
        say("CPU of a request that is forwarded", f"{allowed:.1f} µs", "-", True)
        for shown, cost in costs.items():
            say(f"CPU of a refusal: {shown} key", f"{cost:.1f} µs, {cost / allowed:.2f} of one that is forwarded", "< 1", cost < allowed)
    finally:
        edge.end()


def slow(options):
    """Clients that send or read next to nothing, by the thousand."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    edge = Edge(options)
    try:
        url = f"http://127.0.0.1:{edge.port}/public"
        for name, mode in (
                ("heads", ["-H", "-i", "5", "-x", "24", "-u", f"{url}/x"]),
                ("bodies", ["-B", "-i", "5", "-s", "8192", "-x", "10", "-u", f"{url}/x"]),
                ("readers", ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "1", "-u", f"{url}/large"])):
            if options.only not in (None, name):
                continue
            with watched(edge.gateway) as samples:
                attack = subprocess.Popen(
                    ["nice", "-n", "10", *(["taskset", "-c", "1"] if options.pin else []), "slowhttptest", "-c", str(options.slow),
                     "-r", str(max(50, options.slow // 8)), "-l", str(options.slow_seconds), "-p", "5", *mode],
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                good = result(edge.good(options.slow_seconds, options.good))
                said = re.sub(r"\x1b\[[0-9;]*m", "", attack.communicate()[0])
            held = max([int(n) for n in re.findall(r"connected:\s+(\d+)", said)], default=0)
            verdicts = re.findall(r"service available:\s+(\w+)", said)
            served = bool(verdicts) and all(verdict == "YES" for verdict in verdicts)
            lost = good["refused"] + good["failed"]
            say(f"slow {name}, {options.slow} connections for {options.slow_seconds} s: others refused or failed",
                f"{lost} of {good['count']}", "0", lost == 0)
            say("  p50, p99, worst of others", f"{good['p50']:.2f}, {good['p99']:.2f}, {good['max']:.1f} ms",
                f"p99 ≤ {SERVED_P99_MAX} ms", good["p99"] <= SERVED_P99_MAX)
            say("  slowhttptest: held at once, service available", f"{held}, {'always' if served else 'NOT ALWAYS'}", "always", served)
            each = (max(samples) - samples[0]) * 1024 / max(held, 1)
            say("  memory for each that is held", f"{each:.0f} KiB", "-", True)
            # What is left of the attack goes before the next one.
            fleet.wait_for("the end of the attack", lambda: connections(edge) <= 2)
    finally:
        edge.end()


def http2(options):
    """Attacks by frames of HTTP/2, one after the other; see the module of that name."""
    edge = Edge(options)
    try:
        edge.measure("load", keys=edge.key_file, connections=4, rate=options.good, seconds=2, **edge.where)
        for name in frames.ATTACKS:
            if options.only in (None, name):
                one_attack(edge, name, options)
    finally:
        edge.end()


def one_attack(edge, name, options):
    seconds = max(options.attack_seconds, frames.SECONDS_MIN.get(name, 0))
    quiet = result(edge.good(options.attack_seconds, options.good))
    ended = metric(edge, "keyward_connections_ended_total")
    mine, theirs = multiprocessing.Pipe()
    attacker = multiprocessing.Process(target=attack_by, args=(edge.port, name, options, seconds, theirs))
    with watched(edge.gateway) as samples:
        attacker.start()
        busy = result(edge.good(seconds, options.good))
        said = mine.recv()
        attacker.join()
    ended = metric(edge, "keyward_connections_ended_total") - ended
    say_others(f"HTTP/2 {name}, {options.attackers} connections at a time for {seconds} s", quiet, busy)
    say("  connections of the attacker opened, ended by the gateway", f"{said['opened']}, {ended:.0f}", "all but the last",
        0 < said["opened"] - options.attackers <= ended or ended >= options.attackers)
    say_grown(samples, 64)


def attack_by(port, name, options, seconds, out):
    if options.pin:
        os.sched_setaffinity(0, {1})
    os.nice(19)
    out.send(frames.run(port, name, options.attackers, options.pause, seconds))


def connections(edge):
    return metric(edge, "keyward_connections")


def metric(edge, name):
    """A metric, summed over its labels."""
    text = fleet.urllib.request.urlopen(f"http://127.0.0.1:{edge.ops}/metrics", timeout=5).read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


PARTS = {f.__name__: f for f in (flood, slow, refusal, http2)}
SMALL = {"seconds": 3, "rate": 2000, "steady": 1000, "slow": 100, "slow_seconds": 6, "rounds": 1, "attackers": 5, "attack_seconds": 2}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="which (all when none is named): " + ", ".join(PARTS))
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--dir", help="where the data is put while it runs; a directory for temporary files otherwise")
    parser.add_argument("--keep", action="store_true", help="leave the data and the logs there")
    parser.add_argument("--smoke", action="store_true", help="everything small: whether it works, not how well")
    parser.add_argument("--seconds", type=int, default=60, help="of a flood")
    parser.add_argument("--rate", type=int, default=20_000, help="bad keys a second")
    parser.add_argument("--good", type=int, default=200, help="requests a second of those who do not abuse")
    parser.add_argument("--steady", type=int, default=4000, help="requests a second while CPU is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow", type=int, default=2000, help="slow connections")
    parser.add_argument("--slow-seconds", type=int, default=40)
    parser.add_argument("--only", choices=("heads", "bodies", "readers", *frames.ATTACKS), help="which of the slow ones, or of the attacks by HTTP/2")
    parser.add_argument("--attackers", type=int, default=50, help="connections of an attacker by HTTP/2 at a time")
    parser.add_argument("--attack-seconds", type=int, default=5, help="of each attack by HTTP/2, at least")
    parser.add_argument("--pause", type=float, default=0, help="seconds until such a connection is opened again once it was ended")
    parser.add_argument("--times", type=int, default=1, help="how often there is a flood, each at a gateway of its own")
    fleet.run_parts(parser, PARTS, SMALL)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
