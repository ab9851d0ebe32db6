#!/usr/bin/env python3
"""Does every upstream see each request as Keyward judged it? Mutated requests, sent through Keyward to real servers.

    benches/differential/run.py --bin-dir target/release                       # every server that is installed, 20,000 each
    benches/differential/run.py --bin-dir target/release node --count 2000 --seed 7

Servers: nginx, haproxy (in front of aiohttp), gunicorn, uvicorn-h11, uvicorn-httptools, hypercorn, aiohttp, node. Those of
Python are looked for in the interpreter that runs this script. Each server reports each request that it has read to its
end; the gateway says in its access log what it judged. Per request, found by its correlation id:

- a request that a server read is one that the gateway let through, and it was read once: nothing was smuggled;
- what was let through and answered 200 was read;
- method, canonical path, query, length of the body and whose key it was are the same on both sides;
- no raw key, and no header that only the gateway may write, comes from the client.

The mutations follow from the seed alone. A disagreement is printed with its bytes, and the exit code is 1.
"""

import argparse
import asyncio
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ADMIN = "differential-" * 4
KEY = "iak_acme_0b8f2c1e-5a4d-4c3b-9e2f-1a2b3c4d5e6f"
OTHER = "iak_acme_1c8f2c1e-5a4d-4c3b-9e2f-1a2b3c4d5e6f"
MARK = "evil"
OURS = ("x-keyward-", "x-prismeai-", "x-forwarded-", "forwarded")
AT_ONCE = 32
START_SECONDS_MAX = 30
# How long a connection is read on after something came, and before anything did.
PAUSE_SECONDS = 0.02
SILENCE_SECONDS = 0.4

CONFIG = """
listen: [ {{ address: "127.0.0.1:{gateway}" }} ]
ops: {{ listen: "127.0.0.1:{ops}" }}
server: {{ threads: 1, graceful_shutdown: 2s }}
keys: {{ embedded: {{ listen: "127.0.0.1:{control}", database: "sqlite://{data}/keyward.db" }} }}
limits: {{ header_timeout: 2s, body_timeout: 1s, stream_idle: 5s }}
upstreams:
  server: {{ endpoints: [ "127.0.0.1:{upstream}" ], retries: {{ attempts: 1 }}, timeouts: {{ first_byte: 5s }} }}
routes:
  - {{ name: open, path: "/open/{{*rest}}", require: anonymous, upstream: server }}
  - {{ name: closed, path: "/closed/{{*rest}}", require: authenticated, upstream: server }}
"""

# ---------------------------------------------------------------------------------------------------------------------
# The servers' side: one line of JSON a request that was read to its end.


def report(method, target, headers, body):
    """What was seen. Header names as the application has them."""
    def text(value):
        return value.decode("latin-1") if isinstance(value, bytes) else value
    pairs = [[text(name).lower().replace("_", "-"), text(value)] for name, value in headers]
    line = json.dumps({"method": text(method), "target": text(target), "headers": pairs, "length": len(body)})
    with open(os.environ["RECORD"], "a") as record:
        record.write(line + "\n")


def wsgi(environ, start_response):
    """For gunicorn."""
    body = environ["wsgi.input"].read()
    headers = [(name[5:], value) for name, value in environ.items() if name.startswith("HTTP_")]
    report(environ["REQUEST_METHOD"], environ["RAW_URI"], headers, body)
    start_response("200 OK", [("content-length", "2")])
    return [b"ok"]


async def asgi(scope, receive, send):
    """For uvicorn and hypercorn."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    report(scope["method"], scope["raw_path"].split(b"?")[0] + query, scope["headers"], body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def serve_aiohttp(port):
    from aiohttp import web

    async def handle(request):
        body = await request.read()
        report(request.method, request.raw_path, request.raw_headers, body)
        return web.Response(text="ok")
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{rest:.*}", handle)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


NODE = """
const fs = require('fs'), record = process.env.RECORD;
require('http').createServer((request, answer) => {
  let length = 0;
  request.on('data', (piece) => { length += piece.length; });
  request.on('end', () => {
    const headers = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2)
      headers.push([request.rawHeaders[i].toLowerCase().replace(/_/g, '-'), request.rawHeaders[i + 1]]);
    fs.appendFileSync(record, JSON.stringify({ method: request.method, target: request.url, headers, length }) + '\\n');
    answer.end('ok');
  });
}).listen(%d, '127.0.0.1');
"""

NGINX = """
daemon off; worker_processes 1; pid %(directory)s/nginx.pid; error_log %(directory)s/nginx.error;
events { worker_connections 512; }
http {
  access_log off; client_max_body_size 0; underscores_in_headers on;
  client_body_temp_path %(directory)s/body; proxy_temp_path %(directory)s/proxy; fastcgi_temp_path %(directory)s/f;
  uwsgi_temp_path %(directory)s/u; scgi_temp_path %(directory)s/s;
  upstream behind { server 127.0.0.1:%(behind)d; keepalive 16; }
  server { listen 127.0.0.1:%(port)d; location / {
    proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
"""

HAPROXY = """
global
  maxconn 512
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 2s
  option http-keep-alive
frontend in
  bind 127.0.0.1:%(port)d
  default_backend behind
backend behind
  http-reuse always
  server one 127.0.0.1:%(behind)d
"""


def module(name):
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0


def servers():
    """Each server with what it needs to be there."""
    return {
        "nginx": shutil.which("nginx") and module("aiohttp"),
        "haproxy": shutil.which("haproxy") and module("aiohttp"),
        "gunicorn": module("gunicorn"),
        "uvicorn-h11": module("uvicorn") and module("h11"),
        "uvicorn-httptools": module("uvicorn") and module("httptools"),
        "hypercorn": module("hypercorn"),
        "aiohttp": module("aiohttp"),
        "node": shutil.which("node"),
    }


def start_server(name, port, directory, record, started):
    here = str(pathlib.Path(__file__).resolve().parent)
    environment = {**os.environ, "RECORD": str(record), "PYTHONPATH": here}
    python = sys.executable

    def start(*command):
        log = open(directory / f"{name}.log", "ab")
        started.append(subprocess.Popen(command, env=environment, cwd=here, stdout=log, stderr=log))
    if name in ("nginx", "haproxy"):
        behind = free_port()
        start(python, __file__, "--serve-aiohttp", str(behind))
        wait_for(behind)
        text = (NGINX if name == "nginx" else HAPROXY) % {"directory": directory, "port": port, "behind": behind}
        (directory / name).write_text(text)
        if name == "nginx":
            start("nginx", "-c", str(directory / name), "-p", str(directory), "-e", str(directory / "nginx.error"))
        else:
            start("haproxy", "-db", "-f", str(directory / name))
    elif name == "gunicorn":
        start(python, "-m", "gunicorn", "-k", "gthread", "--threads", "8", "-w", "1", "--keep-alive", "30",
              "-b", f"127.0.0.1:{port}", "run:wsgi")
    elif name.startswith("uvicorn"):
        start(python, "-m", "uvicorn", "--http", name.split("-")[1], "--port", str(port), "--log-level", "error",
              "--no-access-log", "--lifespan", "off", "run:asgi")
    elif name == "hypercorn":
        start(python, "-m", "hypercorn", "-b", f"127.0.0.1:{port}", "--log-level", "error", "run:asgi")
    elif name == "aiohttp":
        start(python, __file__, "--serve-aiohttp", str(port))
    else:
        start("node", "-e", NODE % port)
    wait_for(port)


# ---------------------------------------------------------------------------------------------------------------------
# The requests.

HEAD = ["Host: gw.test"]
SEEDS = [
    ("GET /open/a?b=c HTTP/1.1", HEAD, ""),
    ("GET /closed/a HTTP/1.1", HEAD + [f"x-prismeai-api-key: {KEY}"], ""),
    ("GET /closed/a HTTP/1.1", HEAD + [f"Authorization: Bearer {KEY}"], ""),
    ("POST /open/a HTTP/1.1", HEAD + ["Content-Length: 5"], "hello"),
    ("POST /closed/a HTTP/1.1", HEAD + [f"x-prismeai-api-key: {KEY}", "Content-Length: 11"], "hello world"),
    ("POST /open/a HTTP/1.1", HEAD + ["Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"),
    ("PUT /open/a HTTP/1.1", HEAD + ["Transfer-Encoding: chunked"], "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n"),
    ("POST /open/a HTTP/1.0", HEAD + ["Content-Length: 5", "Connection: keep-alive"], "hello"),
    ("GET http://gw.test/open/a HTTP/1.1", HEAD, ""),
    ("GET /open/a HTTP/1.1", HEAD + ["Connection: Upgrade", "Upgrade: websocket"], ""),
    ("DELETE /open/a HTTP/1.1", HEAD + ["Cookie: a=b", "Cookie: c=d"], ""),
    ("POST /open/a HTTP/1.1", HEAD + ["Content-Length: 5", "Expect: 100-continue"], "hello"),
    ("OPTIONS /open/a HTTP/1.1", HEAD + ["Origin: http://x"], ""),
    ("PATCH /open/%61?%62=%63 HTTP/1.1", HEAD + ["Content-Type: text/plain", "Content-Length: 3"], "a=b"),
]
SMUGGLED = "GET /open/smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n"
LINES = [
    "Transfer-Encoding: chunked", "Transfer-Encoding : chunked", " Transfer-Encoding: chunked", "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity", "Transfer_Encoding: chunked",
    "transfer-encoding: CHUNKED", "Transfer-Encoding:\x0bchunked", "Transfer-Encoding: chunked\x00", "Content-Length: 0",
    "Content-Length: 5", "Content-Length: 6", "Content-Length: +5", "Content-Length: 05", "Content-Length: 5, 5", "Content_Length: 5",
    "Content-Length : 5", "Content-Length: 99", "Content-Length:", "Connection: close", "Connection: keep-alive", "Connection: x-keyward-org",
    "Connection: te, upgrade", "Upgrade: h2c", "Expect: 100-continue", "TE: trailers", "Trailer: x", "Host: gw.test", "Host: other.test",
    f"x-keyward-org: {MARK}", f"x_keyward_org: {MARK}", f"X-Keyward.Key-Id: {MARK}", f"x-prismeai-user-id: {MARK}", f"X-Forwarded-For: {MARK}",
    f"x_forwarded_for: {MARK}", f"Forwarded: for={MARK}", "X-HTTP-Method-Override: DELETE", "X-Original-URL: /closed/x", "X-Rewrite-URL: /closed/x",
    f"x-prismeai-api-key: {KEY}", f"x-prismeai-api-key: {OTHER}", f"x_prismeai_api_key: {KEY}", f"Authorization: Bearer {OTHER}", "Cookie: e=f",
    "x: y", "x:", ": y", "x y: z", "x: a\r\n b", "x: a\r\n\tb", "x: a\rb", "x: a\nb", "x: \x80\xff", "x: \x01", "x\x00: y", "A" * 300 + ": b",
]
PIECES = [
    "/..", "/../", "/.", "//", "%2e%2e/", "%2f", "%5c", "\\", ";", ";x=y", "%00", "%0d%0a", "%25", "%2e", "#", "?", "&", "*", "%", "%zz", "%C3%A9",
    "%ff", "\xe9", "~", "%7e", "[", "]", "{", "|", "^", "\"", "<", "'", "@", ":", "..;/", "a", "/closed/x", "/open/y", "http://gw.test", "http://evil",
]
BYTES = ["\x00", "\t", "\x0b", "\x0c", " ", "\r", "\n", "\r\n", "\x7f", "\x80", "\xa0", "\xff", ",", ";", ":", "0", "-", "_", "\"", "\x85"]
METHODS = ["get", "GETT", "HEAD", "TRACE", "CONNECT", "OPTIONS", "G\tT", "POST", "X-Y", "", "PRI"]
VERSIONS = ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "HTTP/0.9", "", "HTTP/1.10"]


def swapped(line):
    return "".join(c.swapcase() if c.isascii() else c for c in line)


def mutated(dice):
    """One request, or two on a connection, as bytes."""
    line, headers, body = dice.choice(SEEDS)
    method, target, version = line.split(" ")
    headers = list(headers)
    late = []
    for _ in range(dice.choice([0, 1, 1, 1, 2, 2, 3])):
        kind = dice.randrange(13)
        at = dice.randrange(len(headers) + 1)
        if kind <= 2:
            headers.insert(at, dice.choice(LINES))
        elif kind == 3:
            cut = dice.randrange(len(target) + 1)
            target = target[:cut] + dice.choice(PIECES) + target[cut:]
        elif kind == 4:
            method = dice.choice(METHODS)
        elif kind == 5:
            version = dice.choice(VERSIONS)
        elif kind == 6 and headers:
            at = dice.randrange(len(headers))
            headers.insert(at, swapped(headers[at]) if dice.random() < 0.5 else headers[at])
        elif kind == 7 and headers:
            headers.pop(dice.randrange(len(headers)))
        elif kind == 8 and headers:
            at = dice.randrange(len(headers))
            cut = dice.randrange(len(headers[at]) + 1)
            headers[at] = headers[at][:cut] + dice.choice(BYTES) + headers[at][cut:]
        elif kind == 9 and body:
            cut = dice.randrange(len(body) + 1)
            body = body[:cut] + dice.choice(BYTES + ["0\r\n\r\n", "5\r\n", "ff"]) + body[cut:]
        elif kind == 10 and body:
            cut = dice.randrange(len(body))
            body = body[:cut] + body[cut + 1:]
        elif kind == 11:
            body += dice.choice([SMUGGLED, "0\r\n\r\n" + SMUGGLED, "\r\n", "x"])
        else:
            late.append(dice.random())
    text = "\r\n".join([f"{method} {target} {version}", *headers, "", body])
    for place in late:
        cut = int(place * len(text))
        text = text[:cut] + dice.choice(BYTES) + text[cut + dice.randrange(2):]
    if dice.random() < 0.15:
        text += SMUGGLED.replace("smuggled", "next")
    return text.encode("latin-1")


# ---------------------------------------------------------------------------------------------------------------------
# The gateway's side.


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens at port {port}")


def lines_of(file):
    # Not `splitlines`, which also splits at other characters than the line feed.
    return file.read_text().split("\n")[:-1]


class Gateway:
    def __init__(self, binary, upstream, directory, started):
        ports = {name: free_port() for name in ("gateway", "ops", "control")}
        self.port = ports["gateway"]
        text = CONFIG.format(data=directory, upstream=upstream, **ports)
        (directory / "keyward.yaml").write_text(text)
        self.log = directory / "access.log"
        environment = {**os.environ, "KEYWARD_ADMIN_TOKEN": ADMIN}
        self.process = subprocess.Popen(
            [binary, "run", "--config", str(directory / "keyward.yaml")], env=environment,
            stdout=open(self.log, "wb"), stderr=open(directory / "events.log", "wb"))
        started.append(self.process)
        wait_for(self.port)
        line = {"family": "org", "org": "acme", "slug": "one", "name": "One", "token": KEY, "permissions": ["x:y"],
                "scopes": ["x:y"], "expiresAt": "2099-01-01T00:00:00Z"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{ports['control']}/v1/import", json.dumps(line).encode(), {"authorization": f"Bearer {ADMIN}"})
        assert json.load(urllib.request.urlopen(request))["created"] == 1

    def judged(self):
        """What it judged, once it has ended: it then has written all of it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        return [json.loads(line) for line in lines_of(self.log)]


async def send(port, request, turns):
    async with turns:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        wait = SILENCE_SECONDS
        try:
            while await asyncio.wait_for(reader.read(65536), wait):
                wait = PAUSE_SECONDS
        except (asyncio.TimeoutError, ConnectionError):
            pass
        writer.close()


async def send_all(port, requests):
    turns = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(send(port, request, turns) for request in requests))


# ---------------------------------------------------------------------------------------------------------------------
# The comparison.

UNRESERVED = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def canonical(target):
    """What must be forwarded of a target that was taken."""
    for scheme in ("http://", "https://"):
        if target.lower().startswith(scheme):
            rest = target[len(scheme):]
            target = rest[min([at for at in (rest.find("/"), rest.find("?")) if at >= 0], default=len(rest)):]
    path, question, query = target.partition("?")
    parts = path.split("%")
    path = parts[0]
    for part in parts[1:]:
        digits, rest = part[:2], part[2:]
        byte = chr(int(digits, 16))
        path += (byte if byte in UNRESERVED else "%" + digits.upper()) + rest
    for byte, escape in (('"', "%22"), ("<", "%3C"), (">", "%3E")):
        query = query.replace(byte, escape)
    return path, question and query


def differences(line, seen):
    """What server and gateway see differently of one request."""
    found = []
    path, query = canonical(line["path"])
    seen_path, _, seen_query = seen["target"].partition("?")
    headers = dict(map(tuple, seen["headers"]))
    for what, judged, saw in (
        ("method", line["method"], seen["method"]),
        ("path", path, seen_path),
        ("query", query, seen_query),
        ("route", line.get("route"), seen_path.split("/")[1]),
        ("key", line.get("key_id"), headers.get("x-keyward-key-id")),
        ("body", line["bytes_in"], seen["length"]),
    ):
        if judged != saw:
            found.append(f"{what}: judged {judged!r}, seen {saw!r}")
    for name, value in headers.items():
        # A key behind another name, or another scheme, is none.
        place = name == "x-prismeai-api-key" or (name == "authorization" and value.lower().startswith("bearer "))
        if place and (KEY in value or OTHER in value):
            found.append(f"{name}: {value} was seen")
        if name.replace(".", "-").startswith(OURS) and MARK in value:
            found.append(f"{name}: {value} was seen")
    for name in ("x-http-method-override", "x-original-url", "x-rewrite-url"):
        if name in headers:
            found.append(f"{name} was seen")
    return found


def compare(judged, seen):
    """Counts, and a text for each disagreement."""
    by_id = {line["correlation_id"]: line for line in judged}
    wrong, read = [], {}
    for request in seen:
        identity = dict(map(tuple, request["headers"])).get("x-correlation-id")
        line = by_id.get(identity)
        if line is None or identity in read:
            wrong.append(f"seen and not judged, or twice: {request}")
            continue
        read[identity] = request
        if line["reason"] != "allowed":
            wrong.append(f"refused ({line['reason']}) and seen all the same: {request}")
            continue
        wrong += [f"{difference}\n  {line}\n  {request}" for difference in differences(line, request)]
    for identity, line in by_id.items():
        if line["reason"] == "allowed" and line["status"] == 200 and identity not in read:
            wrong.append(f"answered and not seen: {line}")
    refused = sum(line["reason"] != "allowed" for line in judged)
    return {"judged": len(judged), "refused": refused, "seen": len(read),
            "refused by the server": sum(line["reason"] == "allowed" and line["status"] >= 400 for line in judged)}, wrong


def run(name, arguments):
    dice = random.Random(f"{arguments.seed} {name}")
    requests = [mutated(dice) for _ in range(arguments.count)]
    started = []
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        record = directory / "seen"
        record.touch()
        try:
            port = free_port()
            start_server(name, port, directory, record, started)
            gateway = Gateway(pathlib.Path(arguments.bin_dir) / "keyward", port, directory, started)
            begun = time.monotonic()
            asyncio.run(send_all(gateway.port, requests))
            took = time.monotonic() - begun
            judged = gateway.judged()
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait()
        seen = [json.loads(line) for line in lines_of(record)]
        counts, wrong = compare(judged, seen)
        numbers = ", ".join(f"{count} {what}" for what, count in counts.items())
        print(f"{name:18} {len(requests)} sent in {took:.0f} s: {numbers}; {len(wrong)} disagreements", flush=True)
        for text in wrong[:10]:
            print(f"  {text}")
        if len(judged) < len(requests) / 2:
            print((directory / "events.log").read_text()[-2000:])
            return False
        return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="*", help="all that are installed, where none is named")
    parser.add_argument("--bin-dir", default="target/release", help="where keyward is")
    parser.add_argument("--count", type=int, default=20_000, help="requests a server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve-aiohttp", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve_aiohttp:
        return serve_aiohttp(arguments.serve_aiohttp)
    there = servers()
    unknown = set(arguments.servers) - set(there)
    if unknown:
        sys.exit(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    good = True
    for name in arguments.servers or there:
        if not there[name]:
            print(f"{name:18} is not installed")
            good &= not arguments.servers
            continue
        good &= run(name, arguments)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
