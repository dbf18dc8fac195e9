"""Bodies that are in parts, too large, too slow or incomplete."""

import asyncio
import json

import pytest

from mmie.app.guard import BodyGuard
from mmie.app.limits import Limits

LIMITS = Limits(max_body=100, max_held=150, body_seconds=0.2)


async def echo(scope, receive, send):
    """Respond with the size of the body."""
    message = await receive()
    body = str(len(message["body"])).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def send_request(guard, chunks, headers=(), pause=0.0, disconnects=False):
    """Send a body in chunks.

    Returns:
        Status and body of the response, and the number of chunks that were read.
    """
    sent = []
    read = 0

    async def receive():
        nonlocal read
        await asyncio.sleep(pause)
        if read == len(chunks):
            if not disconnects:
                await asyncio.sleep(60)
            return {"type": "http.disconnect"}
        read += 1
        return {
            "type": "http.request",
            "body": chunks[read - 1],
            "more_body": read < len(chunks) or disconnects,
        }

    async def send(message):
        sent.append(message)

    await guard({"type": "http", "method": "POST", "headers": list(headers)}, receive, send)
    if not sent:
        return None, None, read
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]), read


def reason(body):
    return json.loads(body)["error"]


def test_chunks_are_joined():
    guard = BodyGuard(echo, LIMITS)
    assert asyncio.run(send_request(guard, [b"a" * 40, b"b" * 60])) == (200, b"100", 2)
    assert guard.held_bytes == 0


def test_size_is_counted_whatever_the_header_declares():
    guard = BodyGuard(echo, LIMITS)
    status, body, _ = asyncio.run(
        send_request(guard, [b"a" * 60, b"b" * 60], [(b"content-length", b"10")])
    )
    assert (status, reason(body)) == (413, "the request is larger than 100 bytes")
    assert guard.held_bytes == 0


def test_endless_body_is_not_read_endlessly():
    status, _, read = asyncio.run(send_request(BodyGuard(echo, LIMITS), [b"a" * 60] * 50))
    assert (status, read) == (413, 7)


def test_expect_header_of_a_too_large_body_is_refused_without_reading():
    headers = [(b"expect", b"100-continue"), (b"content-length", b"101")]
    status, _, read = asyncio.run(send_request(BodyGuard(echo, LIMITS), [b"a" * 101], headers))
    assert (status, read) == (413, 0)


def test_slow_body_is_refused():
    guard = BodyGuard(echo, LIMITS)
    status, body, read = asyncio.run(send_request(guard, [b"a"] * 50, pause=0.05))
    assert (status, reason(body)) == (408, "the request took longer than 0.2 s to arrive")
    assert read < 10
    assert guard.held_bytes == 0


def test_disconnect_while_sending_gets_no_response():
    guard = BodyGuard(echo, LIMITS)
    assert asyncio.run(send_request(guard, [b"a" * 50], disconnects=True)) == (None, None, 1)
    assert guard.held_bytes == 0


def test_disconnect_while_waiting_cancels_the_request():
    cancelled = []

    async def slow(scope, receive, send):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def disconnect():
        body = {"type": "http.request", "body": b"", "more_body": False}
        messages = iter([body, {"type": "http.disconnect"}])

        async def receive():
            return next(messages)

        await BodyGuard(slow, LIMITS)({"type": "http", "headers": []}, receive, None)
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(disconnect(), 5))
    assert cancelled == [True]


def test_total_size_of_all_bodies_is_bounded():
    release = asyncio.Event()

    async def wait(scope, receive, send):
        await release.wait()
        await echo(scope, receive, send)

    async def send_three():
        guard = BodyGuard(wait, LIMITS)
        first = asyncio.create_task(send_request(guard, [b"a" * 100]))
        await asyncio.sleep(0.01)
        refused = await send_request(guard, [b"b" * 60])
        held = guard.held_bytes
        release.set()
        return await first, refused, held, await send_request(guard, [b"c" * 60])

    first, refused, held, later = asyncio.run(send_three())
    assert first[0] == later[0] == 200
    assert (refused[0], held) == (503, 100)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_scopes_pass(kind):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope["type"])

    asyncio.run(BodyGuard(app, LIMITS)({"type": kind}, None, None))
    assert scopes == [kind]
