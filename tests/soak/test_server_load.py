"""The server under ten times the load that it can answer, some of it malformed, oversized, slow or cut off."""

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

POSTS = 8
MAX_BODY = 2**20
LIMITS = {
    "max_body": MAX_BODY,
    "max_held": 8 * MAX_BODY,
    "max_waiting": 64,
    "head_seconds": 2,
    "body_seconds": 2,
}
LINES = [
    f"--limits.{name}={value}"
    for name, value in {**LIMITS, "answer_seconds": 10, "max_connections": 256}.items()
]
ANSWERED = {200, 503, 504}


def head(size, path="/api/extract", kind="application/json"):
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode()


def request(posts):
    body = json.dumps({"posts": posts}).encode()
    return head(len(body)) + body


def picture():
    """A small one, in base64."""
    stream = io.BytesIO()
    Image.effect_noise((64, 48), 50).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


IMAGE = picture()
SOUND = request(
    [{"text": f"Jordan lands in Phoenix, number {n}", "image": IMAGE} for n in range(POSTS)]
)
HOSTILE = {
    "no JSON": (head(9) + b'{"posts":', {400, 422, 503}),
    "no post": (request([{"image": IMAGE}]), {422, 503}),
    "no picture": (request([{"text": "a", "image": "bm8="}]), {*ANSWERED, 422}),
    "too many": (request([{"text": "a"}] * 1000), {422, 503}),
    "too large": (head(2 * MAX_BODY) + b"a" * 2 * MAX_BODY, {413, 503}),
    "no such path": (head(2, "/../../etc/passwd") + b"{}", {404, 503}),
    "no HTTP": (b"\0\xff\r\n\r\n", {400, 503}),
    "slow head": (b"POST /api/extract HTTP/1.1\r\n", {None, 503}),
    "slow body": (head(1000) + b"{", {408, 503}),
}


async def ask(port, content):
    """The status of the answer to some bytes; None if the server hung up without one."""
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
    """Leave in the middle of a body."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(SOUND[: len(SOUND) // 2])
    writer.close()


async def capacity(port, seconds, callers=4):
    """Sound requests that are answered in a second, if each caller waits for its answer."""
    end, count = time.monotonic() + seconds, 0

    async def call():
        nonlocal count
        while time.monotonic() < end:
            assert await ask(port, SOUND) == 200
            count += 1

    await asyncio.gather(*(call() for _ in range(callers)))
    return count / seconds


async def flood(port, rate, seconds):
    """What became of requests that come at a rate, whatever becomes of them: counts of (kind, status)."""
    kinds = itertools.cycle([*["sound"] * 20, *HOSTILE, "hang up"])
    outcomes: Counter = Counter()

    async def send(kind):
        if kind == "hang up":
            await hang_up(port)
        else:
            outcomes[kind, await ask(port, SOUND if kind == "sound" else HOSTILE[kind][0])] += 1

    begin, tasks = time.monotonic(), []
    while (late := time.monotonic() - begin) < seconds:
        tasks.extend(
            asyncio.ensure_future(send(next(kinds))) for _ in range(int(rate * late) - len(tasks))
        )
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    return outcomes


def most_memory(process):
    """Most resident bytes of a process so far."""
    return 1024 * int(
        re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]
    )


@pytest.fixture
def server(random_pair):
    process = start(
        ["serve", *(f"--{task}={file}" for task, file in random_pair.items()), "--port=0", *LINES]
    )
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    yield process, port
    process.terminate()
    finish(process)


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory of a process is read from /proc"
)
def test_it_answers_or_refuses_ten_times_what_it_can_do(server, rounds):
    process, port = server
    can = asyncio.run(capacity(port, rounds(1, 5)))
    before = most_memory(process)
    seconds = rounds(3, 60)
    outcomes = asyncio.run(flood(port, 10 * can, seconds))
    grown = most_memory(process) - before
    print(
        f"answered {can:.0f} requests/s; of {sum(outcomes.values()) / seconds:.0f}/s for {seconds} s:",
        dict(outcomes),
    )
    print(f"{grown / 2**20:.0f} MiB more than before")
    expected = {"sound": ANSWERED, **{kind: statuses for kind, (_, statuses) in HOSTILE.items()}}
    assert {outcome for outcome in outcomes if outcome[1] not in expected[outcome[0]]} == set()
    assert outcomes["sound", 200] > 0
    assert outcomes["sound", 503] > 0, "it was no flood"
    assert grown < 4 * LIMITS["max_held"] + 2**28
    assert asyncio.run(ask(port, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")) == 200
    assert asyncio.run(ask(port, SOUND)) == 200
