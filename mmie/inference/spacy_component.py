"""The spaCy component ``mmie``, which fills ``doc.ents``.

spaCy finds it by the entry point ``spacy_factories`` of this package::

    nlp = spacy.blank("en")
    nlp.add_pipe("mmie", config={"model": "runs/demo_rap"})
    doc = nlp.make_doc("Jordan lands in Phoenix")
    doc._.image = "plane.jpg"
    [(ent.text, ent.label_, ent._.probability) for ent in nlp(doc).ents]
"""

import importlib.util
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from mmie.data.long_posts import LongPosts
from mmie.inference.extractor import Extractor, load_extractor, windows
from mmie.types import Extraction, Post

NAME = "mmie"
_IMAGE, _IMAGES, _PROBABILITY = "image", "images", "probability"
"""Attributes of documents and of spans that the component adds to ``doc._`` and ``span._``."""


class EntityComponent:
    """Component of a spaCy pipeline that replaces the entities of documents.

    The text is split into words as the method's own extraction does. A span that begins or ends
    within a token of spaCy is extended to the token.

    Args:
        extractor: The method.
    """

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor

    def __call__(self, doc: Any) -> Any:
        """Set the entities of a document.

        Its picture is ``doc._.image`` in any form of `Post`. Further ones are ``doc._.images``.

        Returns:
            The document.
        """
        (doc,) = self.pipe([doc], 1)
        return doc

    def pipe(self, stream: Iterable[Any], batch_size: int = 128) -> Iterator[Any]:
        """Set the entities of documents, which are read in batches.

        Args:
            stream: The documents.
            batch_size: Documents that are read at a time.
        """
        for batch in windows(stream, batch_size):
            posts = []
            for doc in batch:
                further = tuple(doc._.get(_IMAGES) or ())
                posts.append(Post(text=doc.text, image=doc._.get(_IMAGE), more_images=further))
            for doc, extraction in zip(batch, self.extractor.extract(posts), strict=True):
                _set_entities(doc, extraction)
                yield doc


def build_component(
    nlp: Any,
    name: str,
    model: str,
    device: str = "auto",
    batch_size: int = 32,
    long: LongPosts = "windows",
    min_probability: float = 0.0,
) -> EntityComponent:
    """Build the component, as ``nlp.add_pipe`` asks.

    Args:
        nlp: The pipeline.
        name: Name of the component in it.
        model: A run folder, a checkpoint file, an exported folder, or ``owner/name`` on the hub.
        device: ``auto`` is a GPU if there is one, else the CPU; or a device of torch.
        batch_size: Posts that are computed together.
        long: Treatment of long posts: see `Extractor`.
        min_probability: Least probability of an entity.

    Raises:
        CheckpointError: The model is none, or finds no entities.
        DeviceError: The device does not exist on this machine.
    """
    extractor = load_extractor(
        ner=model,
        device=device,
        batch_size=batch_size,
        long=long,
        min_probability=min_probability,
    )
    return EntityComponent(extractor)


def register() -> None:
    """Register the component and the attributes that it reads and writes."""
    spacy = importlib.import_module("spacy")
    defaults = {"device": "auto", "batch_size": 32, "long": "windows", "min_probability": 0.0}
    spacy.Language.factory(
        NAME, default_config=defaults, assigns=["doc.ents"], func=build_component
    )
    document, span = spacy.tokens.Doc, spacy.tokens.Span
    for kind, attribute in ((document, _IMAGE), (document, _IMAGES), (span, _PROBABILITY)):
        if not kind.has_extension(attribute):
            kind.set_extension(attribute, default=None)


def _set_entities(doc: Any, extraction: Extraction) -> None:
    """Set the entities of a document, and warn of what could not be read.

    Args:
        doc: The document.
        extraction: Its extraction. Of mentions that are extended to the same token, the most
            probable one stays.
    """
    for problem in extraction.problems:
        warnings.warn(f"{doc.text[:40]!r}: {problem}", stacklevel=3)
    spans: list[Any] = []
    for mention in sorted(extraction.entities, key=lambda mention: -mention.probability):
        span = doc.char_span(
            mention.start, mention.end, label=mention.type, alignment_mode="expand"
        )
        if not any(span.start < other.end and other.start < span.end for other in spans):
            span._.set(_PROBABILITY, mention.probability)
            spans.append(span)
    doc.ents = sorted(spans, key=lambda span: span.start)


if importlib.util.find_spec("spacy") is not None:
    register()
