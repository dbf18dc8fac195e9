"""Parts of posts by the names that columns and keys of other programs have."""

import re
from collections.abc import Iterable, Mapping

from mmie.formats.base import FormatError
from mmie.utils.text import truncate

NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id", "post_id", "tweet_id", "doc_id", "guid", "idx"),
    "words": ("words", "tokens", "token"),
    "text": ("text", "sentence", "tweet", "content", "headline"),
    "tags": ("ner_tags", "tags", "bio", "ner_tag", "bio_tags", "labels", "tag"),
    "entities": ("entities", "spans", "ents", "entity_mentions", "annotations", "ner", "label"),
    "relations": ("relations", "relation_mentions", "rels"),
    "image": ("image", "picture", "img", "image_path", "image_id", "img_id", "photo"),
    "images": ("images", "pictures", "photos", "image_paths", "image_ids", "img_ids"),
    "crops": ("crops",),
    "context": ("context", "caption"),
    "split": ("split",),
}
"""Parts of a post, each with the names of the columns or keys that may hold it, best first."""
SPAN_NAMES: dict[str, tuple[str, ...]] = {
    "start": ("start", "start_offset", "start_char", "begin", "offset_start", "from"),
    "end": ("end", "end_offset", "end_char", "stop", "offset_end", "to"),
    "type": ("type", "label", "entity_type", "entity", "tag", "entity_group", "class", "category"),
    "span": ("span_text", "mention", "entity_text", "surface", "covered_text", "span"),
}
"""Parts of a span. ``span`` is its text, by which offsets are checked."""


def find_parts(
    names: Iterable[str], known: Mapping[str, tuple[str, ...]], chosen: Mapping[str, str]
) -> dict[str, str]:
    """Map parts to the columns or keys that hold them.

    Upper and lower case, blanks, hyphens and underscores do not count.

    Args:
        names: Columns or keys.
        known: Names of each part.
        chosen: Columns or keys that the user has chosen, by part.

    Raises:
        FormatError: A chosen part or column does not exist.

    >>> find_parts(["Tweet ID", "Tokens", "url"], NAMES, {})
    {'id': 'Tweet ID', 'words': 'Tokens'}
    """
    listed = list(names)
    folded: dict[str, str] = {}
    for name in listed:
        folded.setdefault(_fold(name), name)
    unknown = sorted(set(chosen).difference(known))
    if unknown:
        raise FormatError(
            f"--columns names {', '.join(unknown)}: expected parts of a post, {', '.join(known)}"
        )
    parts: dict[str, str] = {}
    for part, candidates in known.items():
        if part in chosen:
            if chosen[part] not in listed:
                found = truncate(", ".join(map(repr, listed)))
                raise FormatError(f"--columns {part}={chosen[part]}: expected one of {found}")
            parts[part] = chosen[part]
            continue
        for candidate in map(_fold, candidates):
            if candidate in folded and folded[candidate] not in chosen.values():
                parts.setdefault(part, folded[candidate])
    return parts


def describe_parts(parts: Mapping[str, str], noun: str) -> str:
    """Say which column or key holds which part.

    >>> describe_parts({"id": "id", "text": "tweet"}, "key")
    "id in key 'id', text in key 'tweet'"
    """
    return ", ".join(f"{part} in {noun} '{truncate(name)}'" for part, name in parts.items())


def _fold(name: str) -> str:
    """Reduce a name to its letters and digits in lower case."""
    return re.sub(r"[\s_\-#.]", "", name).casefold()
