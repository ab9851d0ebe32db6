#!/usr/bin/env python3
"""What hostile clients cost, measured on this machine: one table, a line an attack.

    benches/hostile/run.py --bin-dir target/dist                # everything
    benches/hostile/run.py --bin-dir target/dist http2 --seconds 5 --only rapid-reset

Parts: see PARTS. Everything runs on loopback and on throw-away data. The gateway has a core of its own; attackers, the upstream and a
client of good faith share the other one, the attackers at the lowest priority. A part is a function of (options, stage) in a module
of its own.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import http2

PARTS = {"http2": http2.part}
GATEWAY_CORE, OTHER_CORE = 0, 1
START_SECONDS_MAX = 30
SAMPLE_SECONDS = 0.1

CONFIG = """
listen: [ {{ address: "127.0.0.1:{gateway}", h2c: true }} ]
ops: {{ listen: "127.0.0.1:{ops}" }}
server: {{ threads: 1, graceful_shutdown: 1s }}
keys: {{ embedded: {{ listen: "127.0.0.1:{control}", database: "sqlite://{folder}/keyward.db" }} }}
access_log: "{access_log}"
upstreams: {{ app: {{ endpoints: [ "127.0.0.1:{upstream}" ] }} }}
routes:
  - {{ name: open, path: "/open/{{*rest}}", methods: [ GET, POST ], require: anonymous, upstream: app }}
  - {{ name: closed, path: "/closed/{{*rest}}", methods: [ GET, POST ], require: authenticated, upstream: app }}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url):
    """Status and body of a GET; None where there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, ""
    except OSError:
        return None


def resident_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Upstream(asyncio.Protocol):
    """Answers every request without a body at once."""

    ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        *heads, self.buffer = self.buffer.split(b"\r\n\r\n")
        self.transport.write(self.ANSWER * len(heads))


def pin(core):
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {core})


def serve_upstream(port):
    pin(OTHER_CORE)

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Upstream, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


def ask_politely(port, rate, seconds, out):
    """Asks at a fixed rate over one connection, and says how long each answer took since it was due."""
    pin(OTHER_CORE)
    request = b"GET /open/x HTTP/1.1\r\nHost: gw.test\r\n\r\n"
    took, failed = [], 0
    started, connection = time.perf_counter(), None
    for i in range(int(rate * seconds)):
        due = started + i / rate
        time.sleep(max(0, due - time.perf_counter()))
        try:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", port), timeout=5)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(request)
            if b" 200 " not in connection.recv(4096):
                failed += 1
            took.append(time.perf_counter() - due)
        except OSError:
            connection, failed = None, failed + 1
    took.sort()
    at = lambda part: 1000 * took[min(len(took) - 1, int(part * len(took)))] if took else float("inf")
    out.send({"p50": at(0.5), "p99": at(0.99), "count": len(took), "failed": failed})


class Stage:
    """The gateway, its upstream and a client of good faith."""

    def __init__(self, options, access_log="off"):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="keyward-hostile-"))
        self.port, self.ops, upstream = free_port(), free_port(), free_port()
        self.upstream = multiprocessing.Process(target=serve_upstream, args=(upstream,), daemon=True)
        self.upstream.start()
        config = self.folder / "keyward.yaml"
        config.write_text(CONFIG.format(gateway=self.port, ops=self.ops, control=free_port(), folder=self.folder,
                                        upstream=upstream, access_log=access_log))
        env = {k: v for k, v in os.environ.items() if not k.startswith("KEYWARD_")}
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(["taskset", "-c", str(GATEWAY_CORE), options.bin_dir / "keyward", "run", "--config", config],
                                        stdout=self.log, stderr=self.log, env=env)
        deadline = time.monotonic() + START_SECONDS_MAX
        while (get(f"http://127.0.0.1:{self.ops}/readyz") or (0,))[0] != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the gateway does not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.05)

    def end(self):
        for process in (self.process, self.upstream):
            process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def metric(self, name):
        """The sum of a metric over its labels."""
        answer = get(f"http://127.0.0.1:{self.ops}/metrics")
        lines = answer[1].splitlines() if answer else []
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def polite(self, seconds):
        """Latencies of the client of good faith."""
        mine, theirs = multiprocessing.Pipe()
        client = multiprocessing.Process(target=ask_politely, args=(self.port, self.options.rate, seconds, theirs))
        client.start()
        figures = mine.recv()
        client.join()
        return figures

    def watched(self, attack, *arguments):
        """What an attack (run in a process of its own, given a pipe to say what it did) does to memory and to others."""
        before = resident_mib(self.process.pid)
        most, over = [before], threading.Event()

        def watch():
            while not over.wait(SAMPLE_SECONDS):
                most.append(resident_mib(self.process.pid))

        watching = threading.Thread(target=watch)
        watching.start()
        mine, theirs = multiprocessing.Pipe()
        attacker = multiprocessing.Process(target=attack_by, args=(attack, self.port, theirs, *arguments))
        attacker.start()
        figures = self.polite(self.options.seconds)
        said = mine.recv()
        attacker.join()
        over.set()
        watching.join()
        return {**figures, "grown": max(most) - before, "attack": said}


def attack_by(attack, port, out, *arguments):
    pin(OTHER_CORE)
    os.nice(19)
    out.send(attack(port, *arguments))


def say(what, figures, holds):
    print(f"{what:34} {figures:104} {'yes' if holds else 'NO'}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them by default")
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True, help="where the binary keyward is")
    parser.add_argument("--seconds", type=float, default=5, help="of each attack")
    parser.add_argument("--rate", type=int, default=200, help="requests a second of the client of good faith")
    parser.add_argument("--connections", type=int, default=100, help="of the attacker, at a time")
    parser.add_argument("--only", help="one attack of a part")
    options = parser.parse_args()
    for name in options.parts or PARTS:
        print(f"## {name}: {json.dumps({k: str(v) for k, v in vars(options).items() if k != 'parts'})}")
        stage = Stage(options)
        try:
            PARTS[name](options, stage, say)
        finally:
            stage.end()


if __name__ == "__main__":
    main()
