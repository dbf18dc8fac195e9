"""The web server: a page, an endpoint for programs, and what describes them.

FastAPI, and a page written by hand, rather than Gradio: programs get an endpoint with types that OpenAPI describes;
size and time of a request are limited before it is parsed; page and programs wait in one bounded queue; and a content
security policy lets the page load nothing from elsewhere.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, HTTPException, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.responses import Response as HttpResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request as HttpRequest

import mmie
from mmie.app.batcher import Batcher, QueueFull
from mmie.app.guard import BodyGuard, Refusal
from mmie.app.limits import Limits
from mmie.app.page import build_page, describe_api
from mmie.app.schemas import Failure, Found, Health, Method, PostIn, Request, Response
from mmie.app.service import Asked, Service
from mmie.inference import Extractor
from mmie.types import Post

_SHOWN = 200
"""Characters of what a client sent wrongly that an answer repeats."""
_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "The body cannot be parsed."},
    408: {"model": Failure, "description": "The request arrived too slowly."},
    413: {"model": Failure, "description": "The request is too large."},
    422: {"model": Failure, "description": "The request is malformed."},
    503: {
        "model": Failure,
        "description": "Too much waits already; `Retry-After` says when to try again.",
    },
    504: {"model": Failure, "description": "The answer took too long."},
}


def build_app(extractor: Extractor, limits: Limits | None = None) -> FastAPI:
    """The server of an extractor.

    Args:
        extractor: Finds entities and relations.
        limits: What is taken at most; None takes the defaults.
    """
    endpoints = Endpoints(extractor, limits or Limits())
    app = FastAPI(
        title="mmie",
        summary="Entities and relations in short texts that come with a picture.",
        version=mmie.__version__,
        docs_url=None,  # FastAPI's pages load their scripts from another server
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        lifespan=endpoints.lifespan,
    )
    app.get("/", include_in_schema=False)(endpoints.page)
    app.get("/docs", include_in_schema=False)(lambda: _page(describe_api(app.openapi())))
    app.get("/health", responses={503: {"model": Health, "description": "Not ready."}})(
        endpoints.health
    )
    app.post("/api/extract", responses=_FAILURES)(endpoints.extract)
    app.post("/api/upload", responses=_FAILURES)(endpoints.upload)
    app.add_exception_handler(Refusal, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_malformed)
    app.add_exception_handler(StarletteHTTPException, _refuse_http)
    app.add_exception_handler(Exception, _fail)
    app.add_middleware(BodyGuard, limits=endpoints.limits)
    app.state.endpoints = endpoints
    return app


class Endpoints:
    """What the server answers, and the thread that does the work.

    Args:
        extractor: Finds entities and relations.
        limits: What is taken at most.
    """

    def __init__(self, extractor: Extractor, limits: Limits) -> None:
        self.extractor = extractor
        self.limits = limits
        service = Service(extractor, limits.max_pixels)
        self.batcher: Batcher[Asked, Found] = Batcher(
            service.answer, limits.batch_size, limits.max_waiting, limits.linger
        )
        self._page = build_page()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Work from the start of the server to its end."""
        self.batcher.start()
        yield
        await asyncio.to_thread(self.batcher.stop)

    async def page(self) -> HTMLResponse:
        """The page."""
        return _page(self._page)

    async def health(self, response: HttpResponse) -> Health:
        """Whether the server is ready, how much waits, and what answers."""
        ready = self.batcher.is_alive
        response.status_code = 200 if ready else 503
        return Health(
            ready=ready,
            version=mmie.__version__,
            waiting=self.batcher.waiting,
            max_waiting=self.limits.max_waiting,
            methods=self._methods(),
            limits=asdict(self.limits),
        )

    async def extract(self, request: Request) -> Response:
        """Find entities and relations in posts, with pictures in base64."""
        if len(request.posts) > self.limits.max_posts:
            raise Refusal(
                422,
                f"posts: {len(request.posts)} are given, {self.limits.max_posts} are taken at a time",
            )
        if request.explain and len(request.posts) > 1:
            raise Refusal(422, "explain: only one post is explained at a time")
        return Response(posts=await self._answer(request.posts, request.explain))

    async def upload(
        self,
        text: Annotated[str, Form(description="What the post says.")],
        image: Annotated[UploadFile | None, File(description="Its picture.")] = None,
        id: Annotated[str, Form(max_length=200, description="Its name in the answer.")] = "",
        explain: Annotated[
            bool, Form(description="Say what part the views had in the answers.")
        ] = False,
    ) -> Found:
        """Find entities and relations in one post, with its picture as a file."""
        data = None if image is None else await image.read()
        post = PostIn.model_construct(id=id, text=text, image=data or None)
        return (await self._answer([post], explain))[0]

    async def _answer(self, posts: Sequence[PostIn], explain: bool) -> list[Found]:
        """What is found in posts.

        Raises:
            Refusal: A text is too long, the queue is full, or time is up.
        """
        for place, post in enumerate(posts):
            if len(post.text) > self.limits.max_characters:
                raise Refusal(
                    422, f"text of post {place}: more than {self.limits.max_characters} characters"
                )
        asked = [
            Asked(Post(id=post.id or str(place), text=post.text, image=post.image), explain)
            for place, post in enumerate(posts)
        ]
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                return await asyncio.wrap_future(self.batcher.submit(asked))
        except QueueFull as error:
            raise Refusal(503, str(error)) from error
        except TimeoutError:
            raise Refusal(504, f"no answer within {self.limits.answer_seconds:g} s") from None

    def _methods(self) -> list[Method]:
        """The methods that answer."""
        return [
            Method(
                task=answerer.schema.task,
                name=type(answerer.method).__name__,
                labels=list(answerer.schema.labels),
                views=answerer.format.num_views,
            )
            for answerer in (self.extractor.ner, self.extractor.re)
            if answerer is not None
        ]


def _page(page: tuple[str, str]) -> HTMLResponse:
    """A page and its content security policy as an answer."""
    text, policy = page
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return HTMLResponse(text, headers=headers)


async def _refuse(request: HttpRequest, error: Exception) -> HttpResponse:
    """The answer to what is refused."""
    assert isinstance(error, Refusal)
    return error.response()


async def _refuse_malformed(request: HttpRequest, error: Exception) -> HttpResponse:
    """The answer to a malformed request: its first fault, without what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    reason = (
        "no valid JSON"
        if first["type"] == "json_invalid"
        else str(first["msg"]).removeprefix("Value error, ")
    )
    return Refusal(
        422, _line(f"{place}: {reason}" if place and reason != "no valid JSON" else reason)
    ).response()


async def _refuse_http(request: HttpRequest, error: Exception) -> HttpResponse:
    """The answer to a wrong path, method or form."""
    assert isinstance(error, HTTPException | StarletteHTTPException)
    response = Refusal(error.status_code, _line(str(error.detail))).response()
    response.headers.update(error.headers or {})
    return response


async def _fail(request: HttpRequest, error: Exception) -> HttpResponse:
    """The answer where the server is at fault; what it was is in its log."""
    return Refusal(500, "the server failed to answer").response()


def _line(text: str) -> str:
    """Text from a client in one line that any encoder takes."""
    return " ".join(text[:_SHOWN].encode(errors="replace").decode().split())
