"""Captions and knowledge that a model writes about posts, answered from a cache where possible."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.progress import track

from mmie.context.answers import AnswerCache
from mmie.context.errors import ContextError
from mmie.context.pictures import readable_pictures, scale_down
from mmie.context.templates import check_template, fill_template
from mmie.data.pictures import PictureError, load_picture
from mmie.types import Post
from mmie.utils.terminal import PlainConsole

PROMPT_GAPS = ("text",)
"""Gaps of a prompt's template."""


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """What decides on an answer, beside the post. All of it is part of the answer's key.

    Attributes:
        model: Name of the model.
        template: Text of the prompt, with the gaps of `PROMPT_GAPS`.
        max_tokens: Most tokens of an answer; None leaves it to the endpoint.
        temperature: Temperature of sampling, 0 for the likeliest tokens; None leaves it to the
            endpoint.
        max_side: Longer side of a picture that the model receives, in pixels; 0 for no picture.

    Raises:
        ContextError: The template has no gap or an unknown one.
    """

    model: str
    template: str
    max_tokens: int | None = 128
    temperature: float | None = 0.0
    max_side: int = 512

    def __post_init__(self) -> None:
        check_template(self.template, PROMPT_GAPS)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {"maker": "generate", **asdict(self)}


class Generator(ABC):
    """Model that answers a prompt about pictures."""

    @abstractmethod
    def answer(self, prompt: str, pictures: Sequence[Image.Image]) -> str:
        """Return the answer to a prompt.

        Args:
            prompt: The prompt.
            pictures: RGB pictures that it is about, in the order of the post.

        Raises:
            ContextError: The model cannot be asked.
        """


def generate_contexts(
    posts: Sequence[Post],
    settings: GenerationSettings,
    cache: AnswerCache,
    generator: Generator | None,
) -> dict[str, str]:
    """Ask a model about posts, about each distinct text with its pictures once.

    Every answer is in the cache before the next question is asked, so that an interrupted run goes
    on where it stopped.

    Args:
        posts: The posts.
        settings: Model and prompt.
        cache: Answers to the same model and prompt.
        generator: Model to ask; None returns answers of the cache alone.

    Returns:
        Answers by post id, without posts whose answer is empty.

    Raises:
        ContextError: The cache lacks answers and there is no model, or the model cannot be asked.
        OSError: The cache cannot be written.
    """
    digests = readable_pictures(posts) if settings.max_side else {}
    keys: list[str] = []
    unanswered: dict[str, Post] = {}
    for post in posts:
        pictures = [digests[path] for path in map(Path, post.images) if path in digests]
        key = cache.key({"text": _text(post), "pictures": pictures})
        keys.append(key)
        if cache.get(key) is None:
            unanswered.setdefault(key, post)
    if unanswered and generator is None:
        raise ContextError(
            f"{cache.file}: has no answer of this model and prompt for {len(unanswered)} texts, "
            f"among them that of post {next(iter(unanswered.values())).id}: name the --endpoint or "
            "the model's folder"
        )
    console = PlainConsole(stderr=True)
    for key, post in track(
        unanswered.items(),
        "Asking the model",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ):
        if generator is not None:
            cache.add(key, _ask(generator, post, digests, settings))
    answers = ((post.id, cache.get(key)) for post, key in zip(posts, keys, strict=True))
    return {name: answer for name, answer in answers if answer}


def read_template(file: Path) -> str:
    """Read a prompt's template.

    Raises:
        ContextError: The file cannot be read as UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ContextError(f"{file}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ContextError(f"{file}: expected a template in UTF-8") from error


def _text(post: Post) -> str:
    """Return the text of a post."""
    return " ".join(post.words)


def _ask(
    generator: Generator, post: Post, digests: Mapping[Path, str], settings: GenerationSettings
) -> str:
    """Ask a model about a post.

    Raises:
        ContextError: A picture has become unreadable, or the model cannot be asked.
    """
    pictures = []
    for path in map(Path, post.images):
        if path in digests:
            try:
                pictures.append(scale_down(load_picture(path), settings.max_side))
            except PictureError as error:
                raise ContextError(f"{path}: changed while it was read: {error}") from error
    return generator.answer(fill_template(settings.template, {"text": _text(post)}), pictures)
