"""HTTP protocol with a timeout for the heads of requests and a limit of small chunks."""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_SMALL_CHUNKS = 1_000
"""Most chunks of a body that are smaller than `SMALL_CHUNK`; clients send chunks of KiB."""
SMALL_CHUNK = 256
_MAX_HEAD = 2**16


class _ChunkCounter(h11.Connection):
    """Connection that refuses a body of many small chunks, each of which takes long to parse."""

    _num_small = 0

    def next_event(self) -> Any:
        """Return the next event of the client.

        Raises:
            h11.RemoteProtocolError: The client violates HTTP, or sends too many small chunks.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._num_small = 0
        elif isinstance(event, h11.Data) and event.chunk_end and len(event.data) < SMALL_CHUNK:
            self._num_small += 1
            if self._num_small > MAX_SMALL_CHUNKS:
                raise h11.RemoteProtocolError("too many small chunks")
        return event


class HeadTimeoutProtocol(H11Protocol):
    """HTTP protocol that closes a connection whose next request head does not arrive in time.

    Uvicorn's own protocol would wait without end.

    Attributes:
        head_seconds: Seconds until a head must have arrived.
    """

    head_seconds: ClassVar[float] = 10.0
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, config: Config, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        self.conn = _ChunkCounter(h11.SERVER, _MAX_HEAD)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first head."""
        super().connection_made(transport)
        self._update_timer()

    def data_received(self, data: bytes) -> None:
        """Stop the timer if the head is complete."""
        super().data_received(data)
        self._update_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def _update_timer(self) -> None:
        """Start the timer if a head is due and the timer is not running, or stop it if none is."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        """Stop the timer if it is running."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def protocol_with_timeout(seconds: float) -> type[HeadTimeoutProtocol]:
    """Build a protocol class with another timeout in seconds."""
    attributes: dict[str, Any] = {"head_seconds": seconds}
    return type("HeadTimeoutProtocol", (HeadTimeoutProtocol,), attributes)
