"""Web server with an HTML page, an HTTP API for programs, and the description of the API.

It is built on FastAPI, with a page written by hand, rather than on Gradio, because the API has
types that OpenAPI describes, a request is limited in size and time before it is parsed, page and
programs share one bounded queue, and a content security policy forbids the page to load anything
from elsewhere.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from mmie.app.batcher import Batcher, QueueFull
from mmie.app.errors import (
    Refusal,
    handle_error,
    handle_http_error,
    handle_malformed,
    handle_refusal,
)
from mmie.app.guard import BodyGuard
from mmie.app.limits import Limits
from mmie.app.origin import OriginGuard
from mmie.app.page import Page, build_page, describe_api
from mmie.app.parsing import bounded_route
from mmie.app.schemas import (
    MAX_IMAGES,
    ExtractionOut,
    ExtractionRequest,
    ExtractionResponse,
    Failure,
    Health,
    MethodOut,
    PostIn,
)
from mmie.app.service import PostRequest, Service, check_picture
from mmie.inference import Extractor
from mmie.inference.reading import PostError
from mmie.types import Post
from mmie.utils.version import VERSION

_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "The body cannot be parsed."},
    403: {"model": Failure, "description": "A web page of another origin sent the request."},
    408: {"model": Failure, "description": "The request arrived too slowly."},
    413: {"model": Failure, "description": "The request is too large."},
    422: {"model": Failure, "description": "The request is malformed."},
    503: {
        "model": Failure,
        "description": "The queue is full; `Retry-After` says when to try again.",
    },
    504: {"model": Failure, "description": "The response took too long."},
}


def build_app(
    extractor: Extractor, limits: Limits | None = None, allowed_hosts: Sequence[str] = ("*",)
) -> FastAPI:
    """Build the server of an extractor.

    Args:
        extractor: Finds entities and relations.
        limits: Limits of requests; None is the defaults.
        allowed_hosts: Names of the server to which requests are answered; ``*`` is any, and
            ``*.example.com`` any name below that one.
    """
    endpoints = Endpoints(extractor, limits or Limits())
    app = FastAPI(
        title="mmie",
        summary="Entities and relations in short texts that come with a picture.",
        version=VERSION,
        docs_url=None,  # FastAPI's pages load their scripts from another server
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        lifespan=endpoints.lifespan,
    )
    app.router.route_class = bounded_route(endpoints.limits)
    not_ready = {"model": Health, "description": "Not ready."}
    app.get("/", include_in_schema=False)(endpoints.page)
    app.get("/docs", include_in_schema=False)(lambda: _to_html(describe_api(app.openapi())))
    app.get("/health", responses={503: not_ready})(endpoints.health)
    app.post("/api/extract", responses=_FAILURES)(endpoints.extract)
    app.post("/api/upload", responses=_FAILURES)(endpoints.upload)
    app.add_exception_handler(Refusal, handle_refusal)
    app.add_exception_handler(RequestValidationError, handle_malformed)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_exception_handler(Exception, handle_error)
    # the last one sees a request first
    app.add_middleware(BodyGuard, limits=endpoints.limits)
    app.add_middleware(OriginGuard)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts), www_redirect=False)
    return app


class Endpoints:
    """Handlers of the server's paths, and the batcher that they share.

    Args:
        extractor: Finds entities and relations.
        limits: Limits of requests.
    """

    def __init__(self, extractor: Extractor, limits: Limits) -> None:
        self.extractor = extractor
        self.limits = limits
        self.batcher: Batcher[PostRequest, ExtractionOut] = Batcher(
            Service(extractor, limits).extract,
            limits.batch_size,
            limits.max_waiting,
            limits.linger,
            weigh=lambda request: request.decoded_bytes,
            max_weight=limits.max_decoded,
        )
        self._picture_thread = ThreadPoolExecutor(1, "pictures")
        self._page = build_page()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Run the batcher from the start of the server to its end."""
        self.batcher.start()
        yield
        self._picture_thread.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self.batcher.stop)

    async def page(self) -> HTMLResponse:
        """Return the page."""
        return _to_html(self._page)

    async def health(self, response: Response) -> Health:
        """Report whether the server is ready, the length of its queue, and its methods."""
        ready = self.batcher.is_alive
        response.status_code = 200 if ready else 503
        return Health(
            ready=ready,
            version=VERSION,
            waiting=self.batcher.num_waiting,
            max_waiting=self.limits.max_waiting,
            methods=self._methods(),
            limits=asdict(self.limits),
        )

    async def extract(self, request: ExtractionRequest) -> ExtractionResponse:
        """Find entities and relations in posts, with pictures in base64."""
        if request.explain and len(request.posts) > 1:
            raise Refusal(422, "explain: only one post is explained at a time")
        return ExtractionResponse(posts=await self._extract(request.posts, request.explain))

    async def upload(
        self,
        text: Annotated[str, Form(description="The text.")],
        image: Annotated[UploadFile | None, File(description="The picture.")] = None,
        images: Annotated[
            list[UploadFile], File(max_length=MAX_IMAGES, description="Further pictures.")
        ] = [],  # noqa: B006  FastAPI copies the default
        id: Annotated[
            str, Form(max_length=200, description="Id of the post in the response.")
        ] = "",
        explain: Annotated[
            bool, Form(description="Add the effects of the views on the predictions.")
        ] = False,
    ) -> ExtractionOut:
        """Find entities and relations in one post, with its pictures as files."""
        data = None if image is None else await image.read()
        further = [await file.read() for file in images]
        post = PostIn.model_construct(
            id=id, text=text, image=data or None, images=[some or None for some in further]
        )
        (extraction,) = await self._extract([post], explain)
        return extraction

    async def _extract(self, posts: Sequence[PostIn], explain: bool) -> list[ExtractionOut]:
        """Extract from the posts of a request.

        Raises:
            Refusal: A text is too long for the server or for the methods, the pictures are too
                large together, the queue is full, or the request takes too long.
        """
        max_characters, seconds = self.limits.max_characters, self.limits.answer_seconds
        requests = []
        for index, post in enumerate(posts):
            if len(post.text) > max_characters:
                raise Refusal(422, f"text of post {index}: more than {max_characters} characters")
            name = post.id or str(index)
            images = tuple(image for image in (post.image, *post.images) if image is not None)
            first = next(iter(images), None)
            bare = Post(id=name, text=post.text, image=first, more_images=images[1:])
            requests.append(PostRequest(bare, explain))
        try:
            async with asyncio.timeout(seconds):
                checked = await self._check_pictures(requests)
                return await asyncio.wrap_future(self.batcher.submit(checked))
        except QueueFull as error:
            raise Refusal(503, str(error)) from error
        except PostError as error:
            raise Refusal(422, str(error)) from error
        except TimeoutError:
            raise Refusal(504, f"no answer within {seconds:g} s") from None

    async def _check_pictures(self, requests: Sequence[PostRequest]) -> list[PostRequest]:
        """Judge the pictures of a request by their headers, in a thread that all requests share.

        Requests take turns, as each waits for one picture at a time.

        Raises:
            Refusal: Decoding the pictures takes more memory in sum than a request may.
        """
        loop = asyncio.get_running_loop()
        checked = []
        total, limit = 0, self.limits.max_request_decoded
        for request in requests:
            if request.post.images:
                request = await loop.run_in_executor(
                    self._picture_thread, check_picture, request, self.limits
                )
            total += request.decoded_bytes
            if total > limit:
                raise Refusal(413, f"pictures: more than {limit} bytes when decoded")
            checked.append(request)
        return checked

    def _methods(self) -> list[MethodOut]:
        """Describe the methods of the extractor."""
        methods = []
        for predictor in (self.extractor.ner, self.extractor.re):
            if predictor is not None:
                method = MethodOut(
                    task=predictor.schema.task,
                    name=type(predictor.method).__name__,
                    labels=list(predictor.schema.labels),
                    views=predictor.format.num_views,
                )
                methods.append(method)
        return methods


def _to_html(page: Page) -> HTMLResponse:
    """Return the response with a page."""
    headers = {
        "Content-Security-Policy": page.policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return HTMLResponse(page.html, headers=headers)
