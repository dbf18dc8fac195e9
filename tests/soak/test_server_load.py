"""The server under ten times its capacity, with malformed, oversized, slow and broken requests."""

import asyncio
import base64
import io
import itertools
import json
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from helpers.command import finish, start
from PIL import Image

pytestmark = pytest.mark.slow

POSTS = 8
"""Posts of a request."""
MAX_BODY = 2**20
LIMITS = {
    "max_body": MAX_BODY,
    "max_held": 8 * MAX_BODY,
    "max_waiting": 64,
    "head_seconds": 2,
    "body_seconds": 2,
    "answer_seconds": 10,
    "max_connections": 256,
}
STATUSES = {200, 503, 504}
"""Statuses of a valid request: answered, refused, or too late."""


def make_head(size, path="/api/extract"):
    """Return the head of a request with a body of some bytes."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {size}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def make_request(posts):
    """Return a request for some posts."""
    body = json.dumps({"posts": posts}).encode()
    return make_head(len(body)) + body


def make_image():
    """Return a small picture in base64."""
    stream = io.BytesIO()
    Image.effect_noise((64, 48), 50).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


IMAGE = make_image()
VALID = make_request(
    [
        {"text": f"Jordan lands in Phoenix, number {number}", "image": IMAGE}
        for number in range(POSTS)
    ]
)
HOSTILE = {
    "no JSON": (make_head(9) + b'{"posts":', {400, 422, 503}),
    "no post": (make_request([{"image": IMAGE}]), {422, 503}),
    "no picture": (make_request([{"text": "a", "image": "bm8="}]), {*STATUSES, 422}),
    "too many": (make_request([{"text": "a"}] * 1000), {422, 503}),
    "too large": (make_head(2 * MAX_BODY) + b"a" * 2 * MAX_BODY, {413, 503}),
    "no such path": (make_head(2, "/../../etc/passwd") + b"{}", {404, 503}),
    "no HTTP": (b"\0\xff\r\n\r\n", {400, 503}),
    "slow head": (b"POST /api/extract HTTP/1.1\r\n", {None, 503}),
    "slow body": (make_head(1000) + b"{", {408, 503}),
}
"""Requests that are not valid, each with the statuses that may answer it."""


async def send(port, content):
    """Send some bytes and return the answer's status; None if the server closes without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(content)
        line = await asyncio.wait_for(reader.readline(), 30)
        return int(line.split()[1]) if line else None
    except ConnectionError:
        return None
    finally:
        writer.close()


async def hang_up(port):
    """Close the connection in the middle of a body."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(VALID[: len(VALID) // 2])
    writer.close()


async def measure_capacity(port, seconds, callers=4):
    """Return the valid requests a second that are answered if each caller waits for its answer."""
    end = time.monotonic() + seconds
    count = 0

    async def call():
        nonlocal count
        while time.monotonic() < end:
            assert await send(port, VALID) == 200
            count += 1

    await asyncio.gather(*(call() for _ in range(callers)))
    return count / seconds


async def flood(port, rate, seconds):
    """Send requests at a rate, without waiting for answers.

    Args:
        port: Port of the server.
        rate: Requests a second.
        seconds: Time to send requests.

    Returns:
        Number of requests by kind and status.
    """
    kinds = itertools.cycle([*["valid"] * 20, *HOSTILE, "hang up"])
    outcomes: Counter = Counter()

    async def send_kind(kind):
        if kind == "hang up":
            await hang_up(port)
            return
        content = VALID if kind == "valid" else HOSTILE[kind][0]
        status = await send(port, content)
        outcomes[kind, status] += 1

    tasks = []
    start = time.monotonic()
    while (elapsed := time.monotonic() - start) < seconds:
        for _ in range(int(rate * elapsed) - len(tasks)):
            tasks.append(asyncio.ensure_future(send_kind(next(kinds))))
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    return outcomes


def peak_memory(process):
    """Return the peak resident memory of a process in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


@pytest.fixture
def server(random_pair):
    """Process of a server with both tasks, and its port."""
    checkpoints = [f"--{task}={file}" for task, file in random_pair.items()]
    limits = [f"--limits.{name}={value}" for name, value in LIMITS.items()]
    process = start(["serve", *checkpoints, "--port=0", *limits])
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    yield process, port
    process.terminate()
    finish(process)


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory of a process is read from /proc"
)
def test_an_overloaded_server_answers_or_refuses(server, rounds):
    process, port = server
    capacity = asyncio.run(measure_capacity(port, rounds(1, 5)))
    memory = peak_memory(process)
    seconds = rounds(3, 60)
    outcomes = asyncio.run(flood(port, 10 * capacity, seconds))
    growth = peak_memory(process) - memory
    rate = sum(outcomes.values()) / seconds
    print(f"capacity {capacity:.0f} requests/s, {rate:.0f} requests/s for {seconds} s:")
    print(dict(outcomes))
    print(f"peak memory grew by {growth / 2**20:.0f} MiB")
    expected = {kind: statuses for kind, (_, statuses) in HOSTILE.items()}
    expected["valid"] = STATUSES
    assert {(kind, status) for kind, status in outcomes if status not in expected[kind]} == set()
    assert outcomes["valid", 200] > 0
    assert outcomes["valid", 503] > 0, "the server was not overloaded"
    assert growth < 4 * LIMITS["max_held"] + 2**28
    assert asyncio.run(send(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")) == 200
    assert asyncio.run(send(port, VALID)) == 200


def make_attacks(scale):
    """Return requests that are small, and would keep a server without limits busy, by kind.

    Args:
        scale: Factor of their sizes, at most 1.
    """
    stream = io.BytesIO()
    side = int(5000 * scale**0.5)
    Image.new("I;16", (side, side)).save(stream, "PNG")
    picture = base64.b64encode(stream.getvalue()).decode()
    count, depth = int(1_398_101 * scale), int(8_000_000 * scale)
    bodies = {
        "many empty posts": b'{"posts":[' + b",".join([b"{}"] * count) + b"]}",
        "many valid posts": b'{"posts":[' + b",".join([b'{"text":""}'] * (count // 2)) + b"]}",
        "deep nesting": b'{"posts":' + b"[" * depth + b"]" * depth + b"}",
        "long key": b'{"posts":[{"text":"a","' + b"k" * (2 * depth - 100) + b'":1}]}',
        "pictures of one colour": json.dumps({"posts": [{"text": "a", "image": picture}] * 2}),
        "too many of them": json.dumps({"posts": [{"text": "a", "image": picture}] * 32}),
    }
    requests = {}
    for kind, body in bodies.items():
        content = body if isinstance(body, bytes) else body.encode()
        requests[kind] = make_head(len(content)) + content
    return requests


async def attack(port, content, copies):
    """Send a request several times at once, and ask for health and small answers meanwhile.

    Returns:
        Statuses of the attack, statuses of the other requests, and the longest wait for health.
    """
    attackers = [asyncio.ensure_future(send(port, content)) for _ in range(copies)]
    others: list[int | None] = []
    worst = 0.0
    while not (ended := all(task.done() for task in attackers)) or not others:
        start = time.monotonic()
        others.append(await send(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        worst = max(worst, time.monotonic() - start)
        others.append(await send(port, make_request([{"text": "Jordan lands in Phoenix"}])))
        if not ended:
            await asyncio.sleep(0.02)
    return {task.result() for task in attackers}, others, worst


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory of a process is read from /proc"
)
def test_an_attack_keeps_no_other_request_waiting(random_pair, rounds):
    process = start(["serve", f"--ner={random_pair['ner']}", "--port=0"])
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    memory = peak_memory(process)
    try:
        for kind, content in make_attacks(rounds(1, 100) / 100).items():
            statuses, others, worst = asyncio.run(attack(port, content, copies=4))
            growth = (peak_memory(process) - memory) / 2**20
            print(f"{kind}: {sorted(map(str, statuses))}, health within {worst:.2f} s, ", end="")
            print(f"{len(others)} others answered, peak memory {growth:.0f} MiB above idle")
            assert statuses <= {200, 400, 413, 422}, kind
            assert set(others) == {200}, kind
    finally:
        process.terminate()
        finish(process)
