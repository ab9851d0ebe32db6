"""Attacks by frames of HTTP/2: each on many connections at a time, opened again as they are ended."""

import asyncio
import contextlib
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, WITH_PRIORITY = 1, 4, 0x20
GROWN_MIB_MAX = 64
P99_TIMES_MAX = 2
# Below this many milliseconds twice as much says nothing.
P99_FLOOR = 1.0


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(fields):
    out = b""
    for name, value in fields:
        out += b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return out


def head(path=b"/open/x", method=b"GET"):
    return block([(b":method", method), (b":scheme", b"http"), (b":authority", b"gw.test"), (b":path", path)])


def streams(make, count=2000):
    return b"".join(make(2 * i + 1) for i in range(count))


BOMB = head() + b"\x40\x01a\x00" + b"\xbe" * 16_000
ZERO_WINDOW = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
PLAIN = frame(SETTINGS, 0, 0)
WHOLE, OPEN = END_HEADERS | END_STREAM, END_HEADERS

# What is sent once the connection is open, again and again until it ends; None: nothing more, just waiting.
ATTACKS = {
    "rapid-reset": (PLAIN, streams(lambda at: frame(HEADERS, WHOLE, at, head()) + frame(RST_STREAM, 0, at, b"\0\0\0\x08"), 50_000), False),
    "window-update-0": (PLAIN, streams(lambda at: frame(HEADERS, OPEN, at, head()) + frame(WINDOW_UPDATE, 0, at, b"\0\0\0\0")), False),
    "window-overflow": (PLAIN, streams(lambda at: frame(HEADERS, OPEN, at, head()) + 2 * frame(WINDOW_UPDATE, 0, at, b"\x7f\xff\xff\xff")), False),
    "data-after-end": (PLAIN, streams(lambda at: frame(HEADERS, WHOLE, at, head()) + frame(DATA, 0, at, b"more")), False),
    "self-dependency": (PLAIN, streams(lambda at: frame(HEADERS, WHOLE | WITH_PRIORITY, at, struct.pack(">IB", at, 1) + head())), False),
    "continuation": (PLAIN + frame(HEADERS, END_STREAM, 1, head()), frame(CONTINUATION, 0, 1, b"\0\x01a\x01b") * 1000, True),
    "hpack-bomb": (ZERO_WINDOW, streams(lambda at: frame(HEADERS, END_STREAM, at, BOMB) + frame(CONTINUATION, END_HEADERS, at, b"\xbe" * 16_000), 128), False),
    "huge-literal": (PLAIN + frame(HEADERS, END_STREAM, 1, head() + b"\0\x01a\x7f\x80\x80\x80\x08"), frame(CONTINUATION, 0, 1, b"x" * 16_000), True),
    "settings": (PLAIN, frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535)) * 1000, True),
    "ping": (PLAIN, frame(PING, 0, 0, b"\7" * 8) * 1000, True),
    "priority": (PLAIN, frame(PRIORITY, 0, 1, b"\0\0\0\3\7") * 1000, True),
    "window-update": (PLAIN, frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 1000, True),
    "empty-data": (PLAIN + frame(HEADERS, OPEN, 1, head(method=b"POST")), frame(DATA, 0, 1) * 1000, True),
    "unknown": (PLAIN, frame(0xbb, 0, 0, b"x" * 100) * 1000, True),
    "zero-window": (ZERO_WINDOW, streams(lambda at: frame(HEADERS, WHOLE, at, head()), 128), False),
    "unread-refusals": (ZERO_WINDOW, streams(lambda at: frame(HEADERS, WHOLE, at, head(b"/closed/x")), 128), False),
    "unread-pings": (PLAIN, frame(PING, 0, 0, b"\7" * 8) * 1000, True),
}
# These are ended when nothing was taken for as long as `header_timeout`, which is 10 s.
SLOW = {"zero-window", "unread-refusals", "hpack-bomb"}
SLOW_SECONDS_MIN = 13


async def one(port, name, until, counts):
    """One place of the attacker's: a connection after the other."""
    opening, flood, again = ATTACKS[name]
    reads = name != "unread-pings"
    while time.monotonic() < until:
        writer = None
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            counts["opened"] += 1
            await asyncio.wait_for(attack(reader, writer, (opening, flood, again), reads, until, counts), until - time.monotonic() + 1)
        if writer is not None:
            writer.transport.abort()


async def attack(reader, writer, plan, reads, until, counts):
    opening, flood, again = plan
    received = bytearray()

    async def read():
        while data := await reader.read(65_536):
            del received[:-200]
            received.extend(data)

    reading = asyncio.create_task(read()) if reads else None
    try:
        writer.write(PREFACE + opening)
        while time.monotonic() < until:
            writer.write(flood)
            await writer.drain()
            if not again:
                break
            await asyncio.sleep(0)
        if reading:
            await asyncio.wait_for(asyncio.shield(reading), max(0, until - time.monotonic()))
            counts["ended"] += 1
    except (ConnectionError, OSError):
        counts["ended"] += 1
    finally:
        counts["told"] += bytes([GOAWAY, 0, 0, 0, 0, 0]) in bytes(received)
        if reading:
            reading.cancel()


def run(port, name, connections, seconds):
    counts = {"opened": 0, "ended": 0, "told": 0}

    async def all_of_them():
        until = time.monotonic() + seconds
        await asyncio.gather(*(one(port, name, until, counts) for _ in range(connections)), return_exceptions=True)

    asyncio.run(all_of_them())
    return counts


def part(options, stage, say):
    print(f"{'attack':34} {'connections opened, ended; memory; p50 and p99 of the good client before → during; its failures':104} holds")
    stage.polite(2)
    for name in ATTACKS:
        if options.only not in (None, name):
            continue
        seconds = max(options.seconds, SLOW_SECONDS_MIN if name in SLOW else 0)
        quiet = stage.polite(options.seconds)
        before = stage.metric("keyward_connections_ended_total")
        found = stage.watched(run, name, options.connections, seconds)
        counted = stage.metric("keyward_connections_ended_total") - before
        said = found["attack"]
        ratio_holds = found["p99"] <= max(P99_TIMES_MAX * quiet["p99"], P99_FLOOR)
        ended = said["ended"] > 0 and counted > 0
        say(name, f"{said['opened']}, {said['ended']} ended, {said['told']} told, {counted:.0f} counted; +{found['grown']:.1f} MiB; "
            f"{quiet['p50']:.2f} {quiet['p99']:.2f} → {found['p50']:.2f} {found['p99']:.2f} ms; {found['failed']} failed",
            ended and found["grown"] < GROWN_MIB_MAX and ratio_holds and found["failed"] == 0)
