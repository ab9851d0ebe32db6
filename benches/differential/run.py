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
- it is framed once and has one host, names that are names, and values without control bytes;
- no raw key, no header that only the gateway may write or that ends at a hop, comes from the client.

Requests come in one piece or several, alone or with others behind them, and some clients end their half of the connection. The
mutations follow from the seed alone. After each server faults of every kind are planted into what it reported, and the comparison
must find all of them. A table says PASS or FAIL; a disagreement is printed with its bytes, and the exit code is 1.
"""

import argparse
import asyncio
import json
import os
import pathlib
import random
import re
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
OURS = ("x-keyward-", "x-prismeai-", "x-forwarded-", "forwarded", "x-real-ip", "proxy")
# Never passed on: they belong to one hop, or claim another request line.
NEVER = ("keep-alive", "proxy-connection", "te", "trailer", "x-http-method-override", "x-original-url", "x-rewrite-url")
AT_ONCE = 32
START_SECONDS_MAX = 30
# How long a connection is read on after something came, and before anything did.
PAUSE_SECONDS = 0.02
SILENCE_SECONDS = 0.4
PROGRESS_SECONDS = 5

CONFIG = """
listen: [ {{ address: "127.0.0.1:{gateway}" }} ]
ops: {{ listen: "127.0.0.1:{ops}" }}
server: {{ threads: 1, graceful_shutdown: 2s }}
keys: {{ embedded: {{ listen: "127.0.0.1:{control}", database: "sqlite://{data}/keyward.db" }} }}
log_refusals_per_second: 1000000
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
    "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked,", "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: \"chunked\"", "Transfer-Encoding:\r\n chunked", "Transfer-Encoding: chun\tked", "Transfer-Encoding: chunked\r",
    "Transfer\r-Encoding: chunked", "Transfer-Encoding", "Transfer-Encoding: chunked\nX: y", "Content-Length: 18446744073709551621",
    "Content-Length: 4294967301", "Content-Length: 99999999999999999999999999", "Content-Length: 0x5", "Content-Length: 5 5", "Content-Length: -5",
    "Content-Length: 5.0", "Content-Length: 5,", "Content-Length: 5;", "Content-Length: 5\x00", "Content-Length:\r\n 5", "Content-Length: 5, 6",
    "Content-Length: \xb2", "Connection: x", "Connection: host", "Connection: content-length", "Connection: transfer-encoding",
    "Connection: authorization", "Connection: x-correlation-id", "Connection: x-keyward-key-id", "Connection: x-forwarded-for", "Connection: cookie",
    "Connection: close, keep-alive", "Connection: \"close\"", "Connection: upgrade, http2-settings", "HTTP2-Settings: AAMAAABk", "Upgrade: websocket",
    "Upgrade: HTTP/2.0", "Upgrade: h2c, websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "Expect: 100-Continue",
    "Expect: 100-continue, x", "Expect:", "Expect: 200-ok", "Expect : 100-continue", "TE: chunked", "TE: trailers, gzip", "Trailer: content-length",
    "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", f"Proxy: {MARK}", f"X-Real-IP: {MARK}", f"X-Forwarded-Host: {MARK}",
    f"X-Forwarded-Proto: {MARK}", f"X-KEYWARD-KEY-ID: {MARK}", f"x-keyward-key-id : {MARK}", f"x-keyward_key-id: {MARK}", "Host:", "Host: gw.test:80",
    f"X-Method-Override: {MARK}", "Content-Encoding: gzip", "Content-Type: application/x-www-form-urlencoded", "Range: bytes=0-1",
    f"Authorization: bearer {KEY}", f"Authorization: Bearer  {KEY}", f"Authorization: Bearer {KEY}, {OTHER}", f"Authorization: Basic {KEY}",
    f"x-prismeai-api-key: {KEY}, {OTHER}", f"x-prismeai-api-key:{KEY}\x00", f"Cookie: a=b; token={MARK}", "x: y", "x:", ": y", "x y: z", "x: a\r\n b", "x: a\r\n\tb", "x: a\rb", "x: a\nb", "x: \x80\xff", "x: \x01", "x\x00: y", "A" * 300 + ": b",
]
PIECES = [
    "/..", "/../", "/.", "//", "%2e%2e/", "%2f", "%5c", "\\", ";", ";x=y", "%00", "%0d%0a", "%25", "%2e", "#", "?", "&", "*", "%", "%zz", "%C3%A9",
    "%ff", "\xe9", "~", "%7e", "[", "]", "{", "|", "^", "\"", "<", "'", "@", ":", "..;/", "a", "/closed/x", "/open/y", "http://gw.test", "http://evil",
]
BYTES = ["\x00", "\t", "\x0b", "\x0c", " ", "\r", "\n", "\r\n", "\x7f", "\x80", "\xa0", "\xff", ",", ";", ":", "0", "-", "_", "\"", "\x85"]
HOSTS = [
    "", "gw.test:80", "gw.test:", "gw.test:0", "gw.test:99999", "gw.test:080", "a@gw.test", "gw.test, other.test", "gw.test/x", "gw.test?x", "GW.TEST",
    "gw.test.", "[::1]", "[::1", "::1", "127.0.0.1", "0x7f.1", "gw.test\x00", "gw test", "\xe9.test", "gw.test#", "%67w.test", "other.test", "-", "_",
]
TARGETS = [
    "*", "http://gw.test/open/x", "http://gw.test:80/open/x", "http://a@gw.test/open/x", "http://other.test/open/x", "https://gw.test/open/x", "?x",
    "//gw.test/open/x", "gw.test:80", "http:///open/x", "http://gw.test", "http://gw.test?x", "HTTP://GW.TEST/open/x", "/open/../closed/x", "/OPEN/a",
    "/open/%2e%2e/closed/x", "/open/a%2fb", "/open//a", "/open/a?x#y", "/open", "/open/", "/open/" + "a" * 9000, "/open/a?" + "b" * 9000, "ws://gw.test/open/x",
    "/open/a?b?c", "/open/%00", "/open/a%", "/open/\xc3\xa9", "/open/a?\xc3\xa9", "/open/%E9", "/open/a;b=c", "/open/a?x=%0d%0aX: y", "open/a", "",
]
CHUNKS = [
    *(f"{size}\r\nhello\r\n0\r\n\r\n" for size in (
        "5", "05", "0000000000000005", "00000000000000005", "0x5", "+5", "-5", " 5", "5 ", "5\t", "5;", "5;a", "5;a=b;c=\"d\"", "5;\x00", "5;a\n", "5;a\r",
        "5_", "5,", "5.0", "5 5", "4", "6", "ffffffffffffffff", "10000000000000005", "8000000000000005", "", "\r\n5", "5\n", "5\r", "\xb5")),
    "5\nhello\n0\n\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n00\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n0\r\n\r\n",
    "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", "5\r\nhello\n\r0\r\n\r\n", "5\r\nhello\r\n0;a=b\r\n\r\n", "A\r\n0123456789\r\n000\r\n\r\n", "0\r\n\r\n", "0\n\n",
    *(f"5\r\nhello\r\n0\r\n{trailer}\r\n\r\n" for trailer in (
        "a: b", f"x-keyward-key-id: {MARK}", "Content-Length: 3", "Host: other.test", "Transfer-Encoding: chunked", f"x-prismeai-api-key: {KEY}", " x", ": y",
        "GET /open/smuggled HTTP/1.1", "a: b\n", "a\x00: b", "x" * 3000 + ": y")),
]
GAPS = ["  ", "\t", "\x0b", "", " \t", "\r", "\x00", "\xa0"]
ENDS = ["\n", "\r", "\r\r\n", "\n\r", "\r\n ", "\r\n\t", "\r\n\r\n", "", "\x0b\r\n"]
BEGINNINGS = ["\r\n", "\n", " ", "\r\n\r\n", "\x00", "X", "\r", "0\r\n\r\n"]
METHODS = ["get", "GETT", "HEAD", "TRACE", "CONNECT", "OPTIONS", "G\tT", "POST", "X-Y", "", "PRI"]
VERSIONS = ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "HTTP/0.9", "", "HTTP/1.10"]


def swapped(line):
    return "".join(c.swapcase() if c.isascii() else c for c in line)


class Request:
    """One request, in the parts that mutations take it by."""

    def __init__(self, dice):
        line, headers, self.body = dice.choice(SEEDS)
        self.method, self.target, self.version = line.split(" ")
        self.headers = list(headers)
        self.gaps = [" ", " "]
        self.beginning = ""
        self.ends = {}
        self.late = []

    def text(self, dice):
        one, two = self.gaps
        lines = [f"{self.beginning}{self.method}{one}{self.target}{two}{self.version}", *self.headers, ""]
        text = "".join(line + self.ends.get(at, "\r\n") for at, line in enumerate(lines)) + self.body
        for place in self.late:
            cut = int(place * len(text))
            text = text[:cut] + dice.choice(BYTES) + text[cut + dice.randrange(2):]
        return text


def insert(text, piece, dice):
    cut = dice.randrange(len(text) + 1)
    return text[:cut] + piece + text[cut:]


def mutate(request, dice):
    """One change of whatever kind the dice say."""
    headers, body = request.headers, request.body
    kind = dice.randrange(22)
    at = dice.randrange(max(len(headers), 1))
    if kind <= 4:
        headers.insert(dice.randrange(len(headers) + 1), dice.choice(LINES))
    elif kind <= 6:
        request.target = insert(request.target, dice.choice(PIECES), dice)
    elif kind == 7:
        request.target = dice.choice(TARGETS)
    elif kind == 8:
        request.method = dice.choice(METHODS)
    elif kind == 9:
        request.version = dice.choice(VERSIONS)
    elif kind == 10 and headers:
        headers.insert(at, swapped(headers[at]) if dice.random() < 0.5 else headers[at])
    elif kind == 11 and headers:
        headers.pop(at)
    elif kind == 12 and headers:
        headers[at] = insert(headers[at], dice.choice(BYTES), dice)
    elif kind == 13 and headers:
        headers[0] = f"Host: {dice.choice(HOSTS)}"
    elif kind == 14 and body:
        request.body = insert(body, dice.choice(BYTES + ["0\r\n\r\n", "5\r\n", "ff"]), dice)
    elif kind == 15 and body:
        cut = dice.randrange(len(body))
        request.body = body[:cut] + body[cut + 1:]
    elif kind == 16:
        request.body += dice.choice([SMUGGLED, "0\r\n\r\n" + SMUGGLED, "\r\n", "x"])
    elif kind == 17 and body:
        if not any("hunked" in line for line in headers):
            headers[:] = [*HEAD, "Transfer-Encoding: chunked"]
        request.body = dice.choice(CHUNKS)
    elif kind == 18:
        request.ends[dice.randrange(len(headers) + 2)] = dice.choice(ENDS)
    elif kind == 19:
        request.gaps[dice.randrange(2)] = dice.choice(GAPS)
    elif kind == 20:
        request.beginning = dice.choice(BEGINNINGS)
    else:
        request.late.append(dice.random())


def mutated(dice):
    """What one client sends: the pieces in which it does, and whether it then ends its half of the connection."""
    text = ""
    for _ in range(dice.choice([1] * 8 + [2, 3])):
        request = Request(dice)
        for _ in range(dice.choice([0, 1, 1, 1, 1, 2, 2, 3])):
            mutate(request, dice)
        text += request.text(dice)
    if dice.random() < 0.15:
        text += SMUGGLED.replace("smuggled", "next")
    data = text.encode("latin-1")
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice([0] * 6 + [1, 2, 5])))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)])]
    return [piece for piece in pieces if piece], dice.random() < 0.1


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


async def send(port, pieces, ends, turns):
    async with turns:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for piece in pieces:
                writer.write(piece)
                # The next piece is another one for whoever reads.
                await writer.drain()
                await asyncio.sleep(0)
            if ends:
                writer.write_eof()
            wait = SILENCE_SECONDS
            while await asyncio.wait_for(reader.read(65536), wait):
                wait = PAUSE_SECONDS
        except (asyncio.TimeoutError, OSError):
            pass
        writer.close()


async def send_all(name, port, requests):
    turns, done = asyncio.Semaphore(AT_ONCE), 0

    async def one(pieces, ends):
        nonlocal done
        await send(port, pieces, ends, turns)
        done += 1

    async def tell():
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            print(f"{name}: {done:,} of {len(requests):,} sent", file=sys.stderr, flush=True)
    telling = asyncio.create_task(tell())
    await asyncio.gather(*(one(pieces, ends) for pieces, ends in requests))
    telling.cancel()


# ---------------------------------------------------------------------------------------------------------------------
# The comparison.

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
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
        # Of a client that left a part was sent on; gunicorn takes that for the whole, where the others see it break off.
        part = what == "body" and line["status"] == 499 and saw < judged
        if judged != saw and not part:
            found.append(f"{what}: judged {judged!r}, seen {saw!r}")
    names = [name for name, _ in seen["headers"]]
    framed = names.count("content-length") + names.count("transfer-encoding")
    for what, count in (("framed", framed), ("host", names.count("host"))):
        if count > 1:
            found.append(f"{what}: {count} times")
    for name, value in seen["headers"]:
        # A key behind another name, or another scheme, is none.
        place = name == "x-prismeai-api-key" or (name == "authorization" and value.lower().startswith("bearer "))
        marked = name.replace(".", "-").startswith(OURS) and MARK in value
        if name in NEVER or marked or place and (KEY in value or OTHER in value):
            found.append(f"{name}: {value!r} was seen")
        if not TOKEN.fullmatch(name) or CONTROL.search(value):
            found.append(f"{name!r}: {value!r} is no header")
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
            "refused there": sum(line["reason"] == "allowed" and line["status"] >= 400 for line in judged)}, wrong


def with_header(request, name, value):
    others = [[other, had] for other, had in request["headers"] if other != name]
    return {**request, "headers": others + ([[name, value]] if value else [])}


def missed(judged, seen):
    """Faults that the comparison does not find when they are planted into what was reported, and how many were."""
    refused = next(line for line in judged if line["reason"] != "allowed")
    by_id = {line["correlation_id"]: line for line in judged}
    pairs = [(by_id[dict(map(tuple, request["headers"]))["x-correlation-id"]], request) for request in seen]
    line, request = next((line, request) for line, request in pairs if line.get("key_id") and request["length"] and line["status"] == 200)
    target = request["target"]
    faults = {
        "a byte less of the path": [{**request, "target": target[:-1]}],
        "a byte more of the query": [{**request, "target": target + ("x" if "?" in target else "?x")}],
        "another route": [{**request, "target": target.replace("/closed/", "/open/")}],
        "another method": [{**request, "method": request["method"] + "X"}],
        "a byte less of the body": [{**request, "length": request["length"] - 1}],
        "read twice": [request, request],
        "not read": [],
        "nobody's": [request, with_header(request, "x-correlation-id", "another")],
        "refused": [request, with_header(request, "x-correlation-id", refused["correlation_id"])],
        "without the key's holder": [with_header(request, "x-keyward-key-id", None)],
        "another holder": [with_header(request, "x-keyward-key-id", "another")],
        "a raw key": [with_header(request, "x-prismeai-api-key", KEY)],
        "a claim of the client": [with_header(request, "x-forwarded-host", MARK)],
        "a hop's header": [with_header(request, "te", "trailers")],
        "framed twice": [{**request, "headers": request["headers"] + [["content-length", "1"], ["transfer-encoding", "chunked"]]}],
        "two hosts": [{**request, "headers": request["headers"] + [["host", "gw.test"], ["host", "other.test"]]}],
        "a byte in a value": [with_header(request, "x", "a\x00b")],
    }
    assert not compare([line, refused], [request])[1]
    return [what for what, reported in faults.items() if not compare([line, refused], reported)[1]], len(faults)


def run(name, arguments):
    """The line of the table, and whether it is a good one."""
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
            asyncio.run(send_all(name, gateway.port, requests))
            took = time.monotonic() - begun
            judged = gateway.judged()
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait()
        seen = [json.loads(line) for line in lines_of(record)]
        # Without anything to compare there is nothing to disagree about.
        if len(judged) < len(requests) or len(seen) < len(requests) / 5:
            print((directory / "events.log").read_text()[-2000:])
            return [len(requests), len(judged), "-", len(seen), "-", "too few", "-", f"{took:.0f}"], False
    counts, wrong = compare(judged, seen)
    unfound, planted = ([], 0) if wrong else missed(judged, seen)
    for text in wrong[:10] + [f"a fault that was planted is not found: {what}" for what in unfound]:
        print(f"  {name}: {text}", flush=True)
    line = [len(requests), *counts.values(), len(wrong), f"{planted - len(unfound)}/{planted}", f"{took:.0f}"]
    return line, not wrong and not unfound


COLUMNS = ["sent", "judged", "refused", "seen", "refused there", "disagreements", "planted, found", "seconds"]


def table(lines):
    rows = [["server", "", *COLUMNS]] + [[name, verdict, *map(str, line)] for name, verdict, line in lines]
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) if at < 2 else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths))).rstrip())


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
    lines = []
    for name in arguments.servers or there:
        if not there[name]:
            lines.append((name, "FAIL" if arguments.servers else "absent", ["not installed"]))
            continue
        line, good = run(name, arguments)
        lines.append((name, "PASS" if good else "FAIL", line))
        print(f"{name}: {lines[-1][1]}", file=sys.stderr, flush=True)
    table(lines)
    sys.exit(any(verdict == "FAIL" for _, verdict, _ in lines))


if __name__ == "__main__":
    main()
