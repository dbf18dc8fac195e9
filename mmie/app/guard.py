"""Reading of request bodies within limits of size, time and memory, before they are parsed."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmie.app.errors import Refusal
from mmie.app.limits import Limits

_DISCARDED_BODIES = 4
"""Multiple of ``max_body`` that is read and discarded of a request that is too large.

A client that is still sending when the connection closes may never read the response.
"""


class BodyGuard:
    """Middleware that reads whole request bodies and refuses those that exceed the limits.

    The declared length of a body can only lead to a refusal; the bytes are counted in any case. A
    request is cancelled when its client disconnects.

    Args:
        app: The application.
        limits: Sizes and times.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        chunks: list[bytes] = []
        try:
            if await self._read(scope, receive, chunks):
                await self._forward(scope, receive, send, b"".join(chunks))
        except Refusal as refusal:
            await refusal.response(Connection="close")(scope, receive, send)
        finally:
            self.held_bytes -= sum(map(len, chunks))

    async def _read(self, scope: Scope, receive: Receive, chunks: list[bytes]) -> bool:
        """Read a body within the time limit.

        Args:
            scope: Scope of the request.
            receive: Returns the next message of the client.
            chunks: Receives the parts of the body.

        Returns:
            Whether the body is complete; False if the client disconnected.

        Raises:
            Refusal: The body is too large or too slow, or all bodies together are too large.
        """
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        if b"expect" in headers and declared.isdigit() and int(declared) > self.limits.max_body:
            raise self._too_large()
        seconds = self.limits.body_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._read_chunks(receive, chunks)
        except TimeoutError:
            raise Refusal(408, f"the request took longer than {seconds:g} s to arrive") from None

    async def _read_chunks(self, receive: Receive, chunks: list[bytes]) -> bool:
        """Read a body within the size limits: see `_read`."""
        size = 0
        refusal: Refusal | None = None
        is_complete = False
        while not is_complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            chunk = message.get("body", b"")
            is_complete = not message.get("more_body", False)
            size += len(chunk)
            refusal = refusal or self._check_size(size, len(chunk))
            if refusal is None:
                chunks.append(chunk)
                self.held_bytes += len(chunk)
            elif size > _DISCARDED_BODIES * self.limits.max_body:
                raise refusal
        if refusal is not None:
            raise refusal
        return True

    def _check_size(self, size: int, chunk_size: int) -> Refusal | None:
        """Return the refusal of a body, or None if the chunk is within the limits.

        Args:
            size: Bytes of the body so far, with the chunk.
            chunk_size: Bytes of the chunk.
        """
        if size > self.limits.max_body:
            return self._too_large()
        if self.held_bytes + chunk_size > self.limits.max_held:
            return Refusal(503, "too many requests at a time: try again later")
        return None

    def _too_large(self) -> Refusal:
        """Return the refusal of a body that is too large."""
        return Refusal(413, f"the request is larger than {self.limits.max_body} bytes")

    async def _forward(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        """Pass a request to the application, and cancel it if the client disconnects."""
        disconnect = asyncio.ensure_future(receive())
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_body() -> Message:
            return unread.pop() if unread else await asyncio.shield(disconnect)

        response = asyncio.ensure_future(self.app(scope, receive_body, send))
        try:
            await asyncio.wait({response, disconnect}, return_when=asyncio.FIRST_COMPLETED)
            if response.done():
                response.result()
        finally:
            disconnect.cancel()
            response.cancel()
