"""Requests are read whole before they are parsed, within limits of size, time and memory."""

import asyncio
from collections.abc import Sequence

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmie.app.limits import Limits

RETRY_SECONDS = "1"
_DISCARDED = 4
"""Times ``max_body`` that is read of a request that is too large, so that its sender comes to read why."""


class Refusal(Exception):
    """A request that is not answered.

    Args:
        status: HTTP status.
        reason: Why, in one line.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

    def response(self, **headers: str) -> JSONResponse:
        """The refusal as an answer."""
        retry = {"Retry-After": RETRY_SECONDS} if self.status == 503 else {}
        return JSONResponse({"error": self.reason}, self.status, {**retry, **headers})


class BodyGuard:
    """Reads a request's body, and hands on only one that is whole and not too large.

    What a client says of its body's length is believed only where it says too much. When a client hangs up, its request
    is cancelled.

    Args:
        app: What answers.
        limits: Sizes and times.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        chunks: list[bytes] = []
        try:
            if await self._read(scope, receive, chunks):
                await self._pass_on(scope, receive, send, b"".join(chunks))
        except Refusal as refusal:
            await refusal.response(Connection="close")(scope, receive, send)
        finally:
            self.held -= sum(map(len, chunks))

    async def _read(self, scope: Scope, receive: Receive, chunks: list[bytes]) -> bool:
        """Read a body into ``chunks``; false if the client hung up.

        Raises:
            Refusal: It is too large or too slow, or too many are held.
        """
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        if b"expect" in headers and declared.isdigit() and int(declared) > self.limits.max_body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                return await self._collect(receive, chunks)
        except TimeoutError:
            raise Refusal(
                408, f"the request took longer than {self.limits.body_seconds:g} s to arrive"
            ) from None

    async def _collect(self, receive: Receive, chunks: list[bytes]) -> bool:
        """The same, without a limit of time."""
        size, refusal, more = 0, None, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            chunk = message.get("body", b"")
            size += len(chunk)
            more = message.get("more_body", False)
            refusal = refusal or self._refuse(size, len(chunk))
            if refusal is None:
                chunks.append(chunk)
                self.held += len(chunk)
            elif size > _DISCARDED * self.limits.max_body:
                raise refusal
        if refusal is not None:
            raise refusal
        return True

    def _refuse(self, size: int, more: int) -> Refusal | None:
        """Why no more is kept of a request that has grown to ``size`` by ``more`` bytes; None if it is."""
        if size > self.limits.max_body:
            return self._too_large()
        if self.held + more > self.limits.max_held:
            return Refusal(503, "too many requests at a time: try again later")
        return None

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the request is larger than {self.limits.max_body} bytes")

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        """Have a request answered, unless its client hangs up before."""
        gone = asyncio.ensure_future(receive())
        unread: Sequence[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        messages = iter(unread)

        async def replay() -> Message:
            message = next(messages, None)
            return await asyncio.shield(gone) if message is None else message

        answering = asyncio.ensure_future(self.app(scope, replay, send))
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            gone.cancel()
            answering.cancel()
