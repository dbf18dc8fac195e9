import asyncio
import json

import pytest

from mmie.app.guard import BodyGuard
from mmie.app.limits import Limits

LIMITS = Limits(max_body=100, max_held=150, body_seconds=0.2)


async def echo(scope, receive, send):
    """Answers with the size of the body."""
    message = await receive()
    body = str(len(message["body"])).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def ask(guard, chunks, headers=(), pause=0.0, hang_up=False):
    """A request that sends its body in chunks: status, body, and how many chunks were read."""
    sent, read = [], 0

    async def receive():
        nonlocal read
        await asyncio.sleep(pause)
        if read == len(chunks):
            if not hang_up:
                await asyncio.sleep(60)
            return {"type": "http.disconnect"}
        read += 1
        return {
            "type": "http.request",
            "body": chunks[read - 1],
            "more_body": read < len(chunks) or hang_up,
        }

    async def send(message):
        sent.append(message)

    await guard({"type": "http", "method": "POST", "headers": list(headers)}, receive, send)
    if not sent:
        return None, None, read
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]), read


def reason(body):
    return json.loads(body)["error"]


def test_a_body_in_parts_arrives_whole():
    guard = BodyGuard(echo, LIMITS)
    assert asyncio.run(ask(guard, [b"a" * 40, b"b" * 60])) == (200, b"100", 2)
    assert guard.held == 0


def test_size_is_counted_whatever_the_header_says():
    guard = BodyGuard(echo, LIMITS)
    status, body, _ = asyncio.run(ask(guard, [b"a" * 60, b"b" * 60], [(b"content-length", b"10")]))
    assert (status, reason(body)) == (413, "the request is larger than 100 bytes")
    assert guard.held == 0


def test_a_body_without_end_is_not_read_without_end():
    status, _, read = asyncio.run(ask(BodyGuard(echo, LIMITS), [b"a" * 60] * 50))
    assert (status, read) == (413, 7)


def test_who_asks_before_sending_too_much_is_told_at_once():
    headers = [(b"expect", b"100-continue"), (b"content-length", b"101")]
    status, _, read = asyncio.run(ask(BodyGuard(echo, LIMITS), [b"a" * 101], headers))
    assert (status, read) == (413, 0)


def test_a_slow_body_is_given_up():
    guard = BodyGuard(echo, LIMITS)
    status, body, read = asyncio.run(ask(guard, [b"a"] * 50, pause=0.05))
    assert (status, reason(body)) == (408, "the request took longer than 0.2 s to arrive")
    assert read < 10
    assert guard.held == 0


def test_a_client_that_hangs_up_while_sending_is_forgotten():
    guard = BodyGuard(echo, LIMITS)
    assert asyncio.run(ask(guard, [b"a" * 50], hang_up=True)) == (None, None, 1)
    assert guard.held == 0


def test_a_client_that_hangs_up_while_waiting_is_not_answered():
    cancelled = []

    async def slow(scope, receive, send):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def hang_up():
        messages = iter(
            [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
        )

        async def receive():
            return next(messages)

        await BodyGuard(slow, LIMITS)({"type": "http", "headers": []}, receive, None)
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(hang_up(), 5))
    assert cancelled == [True]


def test_bodies_of_all_requests_together_are_bounded():
    release = asyncio.Event()

    async def wait(scope, receive, send):
        await release.wait()
        await echo(scope, receive, send)

    async def three():
        guard = BodyGuard(wait, LIMITS)
        first = asyncio.create_task(ask(guard, [b"a" * 100]))
        await asyncio.sleep(0.01)
        refused = await ask(guard, [b"b" * 60])
        held = guard.held
        release.set()
        return await first, refused, held, await ask(guard, [b"c" * 60])

    first, refused, held, later = asyncio.run(three())
    assert first[0] == later[0] == 200
    assert (refused[0], held) == (503, 100)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_than_requests_pass(kind):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(BodyGuard(app, LIMITS)({"type": kind}, None, None))
    assert seen == [kind]
