"""Refusal of requests that web pages of other origins make."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mmie.app.errors import Refusal

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]", "[")
"""Names of this machine that a browser on it may use.

Starlette before 1.0 cuts an address of IPv6 off after the bracket. No name begins with one.
"""
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_OWN_SITE = ("same-origin", "none")
"""Values of ``Sec-Fetch-Site``, which no script can set, for the server's own page and for a user
who enters an address."""


class OriginGuard:
    """Middleware that refuses requests which web pages of other origins make.

    Browsers tell the origin of a page in ``Sec-Fetch-Site`` and ``Origin``. Programs send neither,
    and are answered. Methods that only read are answered as well, because the page of another
    origin cannot see the response.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process a request."""
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS:
            headers = Headers(scope=scope)
            if _is_foreign(headers):
                refusal = Refusal(403, "requests from pages of other origins are refused")
                await refusal.response(Connection="close")(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    """Return whether a page of another origin made the request with these headers."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in _OWN_SITE
    origin = headers.get("origin")
    return origin is not None and _host(origin) != headers.get("host", "").lower()


def _host(origin: str) -> str | None:
    """Return the host and port of an origin, or None for one without, such as ``null``."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
