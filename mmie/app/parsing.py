"""Parsing of request bodies in bounded time: counts are checked before values are validated."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from mmie.app.errors import Refusal
from mmie.app.limits import Limits

MAX_KEYS = 16
"""Most keys of an object in a request, some more than any has, so that few faults are named."""
MAX_FORM_FIELDS = 100
"""Most fields of a form that is sent as a query string."""
_STRUCTURE = b"{[,:"
_STRUCTURE_OF_POST = 256
"""More than the structural characters of a post outside its text: keys, id and picture."""


def parse_json(body: bytes, limits: Limits) -> Any:
    """Parse the JSON of an extraction request.

    A body of a few MiB can hold a million values, whose parsing would take seconds and a GiB of
    memory. Each value but the first follows a structural character, and a valid request has few of
    those outside its texts.

    Args:
        body: The JSON text.
        limits: Limits of a request.

    Raises:
        Refusal: The request has more posts, values or keys than a valid one.
        json.JSONDecodeError: The body is no JSON.
    """
    max_structure = limits.max_posts * (limits.max_characters + _STRUCTURE_OF_POST)
    if sum(body.count(character) for character in _STRUCTURE) > max_structure:
        raise Refusal(
            422,
            f"more values than {limits.max_posts} posts of {limits.max_characters} characters have",
        )
    # no number has a meaning here, and whole numbers of many digits take long to convert
    value = json.loads(body, parse_int=float)
    if not isinstance(value, dict):
        return value
    posts = value.get("posts")
    _check_keys("", value)
    if isinstance(posts, list):
        if len(posts) > limits.max_posts:
            raise Refusal(
                422, f"posts: {len(posts)} are given, {limits.max_posts} are taken at a time"
            )
        for index, post in enumerate(posts):
            _check_keys(f"posts.{index}: ", post)
    return value


def bounded_route(limits: Limits) -> type[APIRoute]:
    """Build a class of routes that parse request bodies in bounded time.

    Args:
        limits: Limits of a request.
    """

    class BoundedRequest(Request):
        """Request whose JSON is parsed by `parse_json`."""

        async def json(self) -> Any:
            """Parse the body as JSON."""
            return parse_json(await self.body(), limits)

    class BoundedRoute(APIRoute):
        """Route that refuses bodies of too many values, posts or fields."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """Return the handler of a request."""
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                bounded = BoundedRequest(request.scope, request.receive)
                kind = bounded.headers.get("content-type", "").lower()
                if kind.startswith("application/x-www-form-urlencoded"):
                    body = await bounded.body()
                    if body.count(b"&") + body.count(b";") >= MAX_FORM_FIELDS:
                        raise Refusal(400, f"more than {MAX_FORM_FIELDS} fields")
                return await handler(bounded)

            return handle

    return BoundedRoute


def _check_keys(place: str, value: object) -> None:
    """Refuse an object with too many keys.

    Raises:
        Refusal: The object has more than `MAX_KEYS` keys.
    """
    if isinstance(value, dict) and len(value) > MAX_KEYS:
        raise Refusal(422, f"{place}more than {MAX_KEYS} keys")
