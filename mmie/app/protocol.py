"""HTTP protocol with a timeout for the heads of requests."""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class HeadTimeoutProtocol(H11Protocol):
    """HTTP protocol that closes a connection whose next request head does not arrive in time.

    Uvicorn's own protocol would wait without end.

    Attributes:
        head_seconds: Seconds until a head must have arrived.
    """

    head_seconds: ClassVar[float] = 10.0
    _timer: asyncio.TimerHandle | None = None

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
