"""Models behind endpoints that are compatible with OpenAI's chat completions."""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from mmie.context.errors import ContextError
from mmie.context.generation import GenerationSettings, Generator
from mmie.context.pictures import to_data_url
from mmie.utils.optional import require
from mmie.utils.text import describe_error, truncate

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_REPEATED_STATUSES = (408, 409, 429)
"""Statuses after which a request is repeated, beside those of the server's own errors."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds before the first and before the last repetition."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of what is asked of an endpoint.

    Attributes:
        max_requests: Most requests of a run, repetitions included; None for no limit.
        per_minute: Most requests per minute; None for no limit.
        retries: Most repetitions of a request that failed for a passing reason.
        timeout: Seconds to wait for an answer.
    """

    max_requests: int | None = None
    per_minute: float | None = None
    retries: int = 4
    timeout: float = 60.0


class Endpoint(Generator):
    """Model behind an OpenAI-compatible endpoint.

    Requests are sent one after another, without following redirects. The key is sent to the
    endpoint and nowhere else, and errors do not repeat it.

    Args:
        url: URL up to ``/v1``. It needs https unless the host is this machine.
        settings: Model and prompt.
        api_key: The key; empty for an endpoint that asks for none.
        limits: Limits of what is asked.
        sleep: Waits for some seconds.
        clock: Returns the time in seconds.

    Attributes:
        num_requests: Number of requests that were sent.

    Raises:
        ContextError: The URL is not one of https, or holds a password.
        MissingPackageError: openai is not installed.
    """

    def __init__(
        self,
        url: str,
        settings: GenerationSettings,
        api_key: str = "",
        limits: RequestLimits | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_url(url)
        self.url = url
        self.settings = settings
        self.limits = limits or RequestLimits()
        self.num_requests = 0
        self._api_key = api_key
        self._sleep = sleep
        self._clock = clock
        self._last_request: float | None = None
        self._library = require("openai", "generate")

    def answer(self, prompt: str, pictures: Sequence[Image.Image]) -> str:
        """Return the answer to a prompt. A request that fails for a passing reason is repeated.

        Raises:
            ContextError: The limit of requests is reached, the endpoint refuses the request, or all
                repetitions failed.
        """
        content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
        for picture in pictures:
            content.append({"type": "image_url", "image_url": {"url": to_data_url(picture)}})
        message = {"role": "user", "content": content if pictures else prompt}
        request: dict[str, Any] = {"model": self.settings.model, "messages": [message]}
        if self.settings.max_tokens is not None:
            request["max_tokens"] = self.settings.max_tokens
        if self.settings.temperature is not None:
            request["temperature"] = self.settings.temperature
        return self._text(self._send(request))

    def _send(self, request: Mapping[str, Any]) -> Any:
        """Send a request until it succeeds.

        Raises:
            ContextError: The limit of requests is reached, the endpoint refuses the request, its
                answer is not JSON, or all repetitions failed.
        """
        attempt = 0
        while True:
            self._await_turn()
            try:
                return self._client.chat.completions.create(**request)
            except self._library.OpenAIError as error:
                if attempt == self.limits.retries or not self._is_passing(error):
                    # an endpoint may repeat the key
                    reason = describe_error(error).replace(self._api_key or "\0", "***")
                    raise ContextError(f"{self.url}: {truncate(reason)}") from None
                pause = self._pause(error, attempt)
            except ValueError as error:
                raise ContextError(f"{self.url}: expected a completion as JSON") from error
            self._sleep(pause)
            attempt += 1

    @property
    def is_local(self) -> bool:
        """Whether the endpoint is on this machine."""
        return urlsplit(self.url).hostname in _LOCAL_HOSTS

    @cached_property
    def _client(self) -> Any:
        """Client of the endpoint, which repeats and redirects nothing by itself."""
        # the client logs requests at level DEBUG
        logging.getLogger("openai").setLevel(logging.WARNING)
        return self._library.OpenAI(
            base_url=self.url,
            api_key=self._api_key or "none",
            organization="",
            project="",
            max_retries=0,
            timeout=self.limits.timeout,
            http_client=self._library.DefaultHttpxClient(follow_redirects=False),
        )

    def _await_turn(self) -> None:
        """Wait until the next request may be sent, and count it.

        Raises:
            ContextError: The limit of requests is reached.
        """
        if self.num_requests == self.limits.max_requests:
            raise ContextError(
                f"{self.url}: the limit of {self.num_requests} requests is reached: answers are "
                "in the cache, and the same command asks for the others"
            )
        if self.limits.per_minute is not None and self._last_request is not None:
            next_turn = self._last_request + 60 / self.limits.per_minute
            self._sleep(max(0.0, next_turn - self._clock()))
        self._last_request = self._clock()
        self.num_requests += 1

    def _text(self, completion: Any) -> str:
        """Return the text of a completion.

        Raises:
            ContextError: The endpoint has answered with something else.
        """
        try:
            text = completion.choices[0].message.content
        except (AttributeError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise ContextError(f"{self.url}: expected a completion with a text, found none")
        return text

    def _is_passing(self, error: Exception) -> bool:
        """Tell whether a request that failed may succeed later."""
        status = getattr(error, "status_code", None)
        if status is None:
            return isinstance(error, self._library.APIConnectionError)
        return status in _REPEATED_STATUSES or status >= 500

    def _pause(self, error: Exception, attempt: int) -> float:
        """Return the seconds to wait before a repetition, which double, or those that are asked."""
        response = getattr(error, "response", None)
        asked = "" if response is None else response.headers.get("retry-after", "")
        try:
            seconds = float(asked)
        except ValueError:
            seconds = _FIRST_PAUSE * 2**attempt * random.uniform(1.0, 1.25)
        return min(max(seconds, 0.0), _LONGEST_PAUSE)


def check_url(url: str) -> None:
    """Raise if a key must not be sent to a URL.

    Args:
        url: URL of an endpoint.

    Raises:
        ContextError: The URL is not one of https, unless its host is this machine, or it holds a
            user or a password, a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host:
        raise ContextError("endpoint: expected a URL such as https://api.example.org/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ContextError(
            "endpoint: expected a URL without user, password, query and fragment: put the key into "
            "an environment variable and name it by --key_variable"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOCAL_HOSTS):
        raise ContextError(f"endpoint: {parts.scheme}://{host}: expected https")
