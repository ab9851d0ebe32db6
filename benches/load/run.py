#!/usr/bin/env python3
"""Load Keyward and a bare Pingora side by side and print what a request costs.

The proxy under test is pinned to core 0; wrk and the upstream (nginx, 100 bytes of JSON) share core 1.
Rounds are interleaved, so that a noisy neighbour disturbs all alike; figures are medians over the rounds.
CPU is user + system time of the proxy process from /proc, divided by the requests that wrk counted.

    benches/load/run.py --bin-dir target/dist [--keys 100000] [--rounds 4] [--seconds 5] [--connections 50]
"""

import argparse
import json
import os
import pathlib
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS_MAX = 60

NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{body}'; }} }} }}
"""

CONFIG = """
listen: [ {{ address: "127.0.0.1:{gateway}" }} ]
ops: {{ listen: "127.0.0.1:{ops}" }}
server: {{ threads: 1 }}
keys: {{ embedded: {{ listen: "127.0.0.1:{control}", database: "sqlite://{dir}/keyward.db" }} }}
access_log: {log}
upstreams: {{ sample: {{ endpoints: [ "127.0.0.1:{upstream}" ] }} }}
routes:
  - name: agent
    path: /v1/agents/{{agentId}}
    methods: [ GET ]
    require: {{ permissions: [ "agent-factory:agents:read" ], scopes: [ "agents:{{agentId}}" ] }}
    upstream: sample
"""

WRK = """
local keys = {}
for line in io.lines("%s") do keys[#keys + 1] = line end
local requests, next_one = {}, 0
init = function(args)
  for i, key in ipairs(keys) do
    requests[i] = wrk.format("GET", "/v1/agents/a1", { ["x-prismeai-api-key"] = key, ["Host"] = "bench" })
  end
end
request = function() next_one = next_one %% #requests + 1; return requests[next_one] end
done = function(summary, latency, _)
  io.write(string.format('{"requests":%%d,"us":%%d,"errors":%%d,"status":%%d,"p50":%%d,"p99":%%d}\\n', summary.requests, summary.duration,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout, summary.errors.status,
    latency:percentile(50), latency:percentile(99)))
end
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until_it_listens(port, process):
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"a process ended before it listened on {port}: {process.args}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on {port} after {START_SECONDS_MAX} s")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pinned(core, *command):
    return ["taskset", "-c", str(core), *map(str, command)]


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.processes = options, folder, []

    def start(self, core, *command, **kw):
        process = subprocess.Popen(pinned(core, *command), stdout=subprocess.DEVNULL, **kw)
        self.processes.append(process)
        return process

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                # Not SIGTERM: Pingora would sleep through its grace period of minutes.
                process.send_signal(signal.SIGINT)
        for process in self.processes:
            process.wait(timeout=60)

    def upstream(self):
        port = free_port()
        body = json.dumps({"pad": "x" * 90})
        conf = self.folder / "nginx.conf"
        conf.write_text(NGINX.format(dir=self.folder, port=port, body=body))
        wait_until_it_listens(port, self.start(1, "nginx", "-c", conf, "-p", self.folder))
        return port

    def passthrough(self, upstream):
        port = free_port()
        process = self.start(0, self.options.bin_dir / "examples/passthrough", f"127.0.0.1:{port}", f"127.0.0.1:{upstream}")
        wait_until_it_listens(port, process)
        return port, process.pid

    def keyward(self, upstream, log):
        folder = self.folder / f"keyward-{log}"
        folder.mkdir(mode=0o700)
        database = f"sqlite://{folder}/keyward.db"
        seeded = subprocess.run(
            [self.options.bin_dir / "examples/seed-keys", database, str(self.options.keys), "org"],
            check=True, capture_output=True, text=True)
        tokens = seeded.stdout.split()
        gateway, ops, control = free_port(), free_port(), free_port()
        config = folder / "keyward.yaml"
        config.write_text(CONFIG.format(gateway=gateway, ops=ops, control=control, dir=folder, upstream=upstream, log=log))
        env = dict(os.environ, KEYWARD_ADMIN_TOKEN="benchmark-" * 4)
        process = self.start(0, self.options.bin_dir / "keyward", "run", "--config", config, env=env)
        wait_until_it_listens(gateway, process)
        return gateway, process.pid, tokens

    def round(self, port, pid, script):
        before = cpu_seconds(pid)
        out = subprocess.run(
            pinned(1, "wrk", "-t1", f"-c{self.options.connections}", f"-d{self.options.seconds}s", "-s", script, f"http://127.0.0.1:{port}"),
            check=True, capture_output=True, text=True).stdout
        after = cpu_seconds(pid)
        result = json.loads(re.search(r"^\{.*\}$", out, re.M).group())
        if result["status"] or result["errors"] or not result["requests"]:
            sys.exit(f"requests failed: {result}")
        return {
            "rps": result["requests"] / (result["us"] / 1e6), "p50": result["p50"], "p99": result["p99"],
            "cpu": (after - before) * 1e6 / result["requests"],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--used", type=int, default=10_000, help="distinct keys that wrk shows, in random order")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="keyward-load-") as name:
        folder = pathlib.Path(name)
        os.chmod(folder, 0o755)
        bench = Bench(options, folder)
        try:
            run(bench, options, folder)
        finally:
            bench.stop()


def run(bench, options, folder):
    upstream = bench.upstream()
    targets = {"bare pingora": bench.passthrough(upstream)}
    scripts = {}
    for log in ("off", "json"):
        port, pid, tokens = bench.keyward(upstream, log)
        name = f"keyward, access log {log}"
        targets[name] = (port, pid)
        used = folder / f"keys-{log}.txt"
        used.write_text("\n".join(random.Random(1).sample(tokens, min(options.used, len(tokens)))))
        scripts[name] = folder / f"{log}.lua"
        scripts[name].write_text(WRK % used)
    scripts["bare pingora"] = scripts["keyward, access log off"]
    results = {name: [] for name in targets}
    for warm in range(options.rounds + 1):
        for name, (port, pid) in targets.items():
            result = bench.round(port, pid, scripts[name])
            if warm:
                results[name].append(result)
    print(f"{options.keys} keys loaded, {options.used} in use, {options.connections} connections, "
          f"{options.rounds} rounds of {options.seconds} s, medians")
    print(f"{'':28} {'requests/s':>11} {'p50 µs':>8} {'p99 µs':>8} {'CPU µs/req':>11} {'ratio':>6}")
    middle = {name: {k: statistics.median(r[k] for r in rounds) for k in rounds[0]} for name, rounds in results.items()}
    bare = middle["bare pingora"]["cpu"]
    for name, m in middle.items():
        print(f"{name:28} {m['rps']:11.0f} {m['p50']:8.0f} {m['p99']:8.0f} {m['cpu']:11.2f} {m['cpu'] / bare:6.2f}")


if __name__ == "__main__":
    main()
