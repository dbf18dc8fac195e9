"""Tasks of Label Studio: a JSON array as its export and import have it, or JSON lines.

A task has ``data`` (text, picture and anything else), ``annotations`` and ``predictions``. Of
several annotations of a task the one marked as ground truth is read, or else the last; without any,
the last prediction. Regions are of type ``labels``, relations of type ``relation``.

Writing makes tasks with pre-annotations (``predictions``) of posts whose entities or relations have
probabilities, and with ``annotations`` of other posts with labels. The labelling interface that
fits them is written beside the tasks, as ``<name>.interface.xml``. Pictures are addresses of local
files (``/data/local-files/?d=images/7.jpg``) below the folder that Label Studio's
``LOCAL_FILES_DOCUMENT_ROOT`` names. If a post has several, every task has a list, ``images``.

Offsets count code points. Early versions of Label Studio counted UTF-16 units. Where the text of a
region tells so, its offsets are converted.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from mmie.data.parsing import MalformedLine, Record
from mmie.data.sources import BadPost
from mmie.data.sources.items import id_of
from mmie.data.text_files import is_blank
from mmie.formats.as_text import as_text
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.keys import NAMES, describe_parts, find_parts
from mmie.formats.label_studio_interface import labelling_interface
from mmie.formats.linking import link_relations, unlink_relations
from mmie.formats.pictures import image_keys, picture_names
from mmie.formats.records import Item, list_objects, without_keys
from mmie.formats.texts import parse_json, read_text, write_lines
from mmie.utils.text import safe_repr
from mmie.utils.version import VERSION

_LOCAL_FILES = "/data/local-files/?d="
"""Address of a file on the machine of Label Studio."""
_PARTS = {part: NAMES[part] for part in ("id", "text", "image", "images")}
_LISTS = ("annotations", "predictions")


class LabelStudio(Format):
    """Tasks of Label Studio."""

    name = "label_studio"
    description = "Label Studio's tasks with annotations or predictions, in JSON"
    suffixes = (".json",)

    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether the file begins with a task."""
        start = head.find("{")
        if start < 0 or head[:start].strip() not in ("", "["):
            return False
        try:
            task, _ = json.JSONDecoder().raw_decode(head, start)
        except (ValueError, RecursionError):  # the first task is longer than the head
            return '"data"' in head and any(f'"{key}"' in head for key in _LISTS)
        return isinstance(task.get("data"), dict) and any(key in task for key in _LISTS)

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record for each task.

        Raises:
            FormatError: The file cannot be read, or holds neither an array nor lines of tasks.
        """
        tasks = _load(path)
        names: dict[str, None] = {}
        for task in tasks:
            if isinstance(task, dict) and isinstance(task.get("data"), dict):
                names |= dict.fromkeys(task["data"])
        parts = find_parts(names, _PARTS, options.columns)
        if "text" not in parts:
            found = ", ".join(map(repr, names)) or "none"
            raise FormatError(
                f"{path}: expected a key 'text' in the data of a task, found {found}: name the key "
                "of the text by --columns text=KEY"
            )
        notes.found.append(f"tasks with {describe_parts(parts, 'key')} of their data")
        for number, task in enumerate(tasks, start=1):
            try:
                yield _read_task(task, number, parts, notes)
            except MalformedLine as error:
                data = task.get("data") if isinstance(task, dict) else None
                name = id_of(data, parts.get("id", "id")) or id_of(task)
                yield BadPost.of(f"task {number}", error, name)

    def write(self, records: Iterable[Record], path: Path, notes: Notes) -> None:
        """Write a task for each record, and the labelling interface beside them."""
        texts = list(map(as_text, records))
        if any("images" in record for record in texts):
            for record in texts:  # all pictures of a record are in ``images``
                if names := picture_names(record):
                    for key in ("image", "images"):
                        record.pop(key, None)
                    record["images"] = names
        tasks = [json.dumps(_to_task(record, notes), ensure_ascii=False) for record in texts]
        write_lines(path, ["[\n", ",\n".join(tasks), "\n]\n"])
        interface = path.with_suffix(".interface.xml")
        write_lines(interface, [labelling_interface(texts)])
        notes.remarks[f"labelling interface, which is in {interface}"] += 1


def _load(path: Path) -> Sequence[Any]:
    """Return the tasks of a file.

    Raises:
        FormatError: The file is neither an array nor lines of JSON.
    """
    text = read_text(path)
    value = parse_json(text)
    if isinstance(value, list):
        return value
    lines = [parse_json(line) for line in text.split("\n") if not is_blank(line)]
    if value is None and None in lines:
        raise FormatError(f"{path}: expected a JSON array or JSON lines of tasks, found no JSON")
    if value is None:
        return lines
    return [value]


def _read_task(task: object, number: int, parts: Mapping[str, str], notes: Notes) -> Record:
    """Convert a task to a record.

    Raises:
        MalformedLine: The task has no data or no text, or a region or relation is malformed.
    """
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise MalformedLine("a task with 'data'", safe_repr(task))
    data = task["data"]
    text = data.get(parts["text"])
    if not isinstance(text, str):
        raise MalformedLine(f"a text under '{parts['text']}'", safe_repr(text))
    record = without_keys(data, *parts.values())
    record |= {"id": data.get(parts.get("id", "id"), task.get("id", number)), "text": text}
    images: list[object] = []
    for key in ("image", "images"):
        value = data.get(parts.get(key, key))
        addresses = value if isinstance(value, list) else [value]
        for item in addresses:
            if isinstance(item, str) and item.startswith(_LOCAL_FILES):
                item = unquote(item.removeprefix(_LOCAL_FILES))
            if item is not None and item != "":
                images.append(item)
    if images:
        record |= image_keys(images)
    entities, relations = _read_results(_choose_results(task, notes), text, notes)
    return {**record, "entities": entities, "relations": relations}


def _address_of(image: object) -> str:
    """Return the address of a picture file."""
    return f"{_LOCAL_FILES}{quote(str(image))}"


def _choose_results(task: Record, notes: Notes) -> list[Item]:
    """Return the regions and relations of one annotation or prediction of a task.

    Raises:
        MalformedLine: Annotations, predictions or their results are no lists of objects.
    """
    given = list_objects(task, "annotations")
    annotations = [item for item in given if not item.get("was_cancelled")]
    predictions = list_objects(task, "predictions")
    chosen = annotations or predictions
    if not chosen:
        return []
    if len(chosen) > 1:
        notes.unused["further annotations or predictions of a task"] += len(chosen) - 1
    if not annotations:
        notes.remarks["tasks without an annotation, of which the prediction is read"] += 1
    truths = [item for item in chosen if item.get("ground_truth")]
    return list_objects((truths or chosen)[-1], "result")


def _read_results(
    results: Iterable[Item], text: str, notes: Notes
) -> tuple[list[Item], list[Item]]:
    """Convert regions and relations.

    Raises:
        MalformedLine: A region has no span or label, or a relation names a region that is not
            there.
    """
    entities: dict[object, Item] = {}
    links: list[tuple[object, object, Item]] = []
    for number, item in enumerate(results):
        kind = item.get("type")
        if kind == "labels":
            entities[item.get("id", number)] = _read_region(item, text, notes)
        elif kind == "relation":
            links += _read_relation(item, notes)
        else:
            notes.unused[f"results of type '{kind}'"] += 1
    try:
        return unlink_relations(entities, links)
    except (KeyError, TypeError) as error:
        raise MalformedLine("relations between ids of regions", str(error)) from None


def _read_region(item: Item, text: str, notes: Notes) -> Item:
    """Convert a region to an entity.

    Raises:
        MalformedLine: The region has no span, or no label.
    """
    value = item.get("value")
    labels = value.get("labels") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(labels, list) or not labels:
        raise MalformedLine("a region with start, end and labels", safe_repr(value))
    if len(labels) > 1:
        notes.unused["further labels of a region"] += len(labels) - 1
    start, end = _code_points(value, text, notes)
    return {"start": start, "end": end, "type": labels[0], **_probability(item)}


def _code_points(value: Item, text: str, notes: Notes) -> tuple[object, object]:
    """Return the offsets of a region in code points, by the text that it gives."""
    start, end, given = value.get("start"), value.get("end"), value.get("text")
    if type(start) is not int or type(end) is not int or not isinstance(given, str):
        return start, end
    expected = given.replace("\\n", "\n").split()
    if text[start:end].split() == expected:
        return start, end
    units = text.encode("utf-16-le", errors="surrogatepass")
    before, within = units[: 2 * start], units[2 * start : 2 * end]
    if within.decode("utf-16-le", errors="replace").split() == expected:
        notes.remarks["regions whose offsets count UTF-16 units, which are converted"] += 1
        first = len(before.decode("utf-16-le", errors="replace"))
        return first, first + len(within.decode("utf-16-le", errors="replace"))
    raise MalformedLine(
        f"the text {given!r} of a region at {start} to {end} (exclusive)", repr(text[start:end])
    )


def _read_relation(item: Item, notes: Notes) -> list[tuple[object, object, Item]]:
    """Convert a relation to links, one for each label and direction."""
    ends = item.get("from_id"), item.get("to_id")
    ways = {"left": [ends[::-1]], "bi": [ends, ends[::-1]]}.get(item.get("direction", ""), [ends])
    labels = item.get("labels") or []
    if not labels:
        notes.unused["relations without a label"] += 1
    links: list[tuple[object, object, Item]] = []
    for label in labels:
        links += [(head, tail, {"label": label, **_probability(item)}) for head, tail in ways]
    return links


def _probability(item: Item) -> Item:
    """Return the score of a region or relation, if it is a probability."""
    score = item.get("score")
    if isinstance(score, int | float) and 0 <= score <= 1:
        return {"probability": score}
    return {}


def _to_task(record: Record, notes: Notes) -> Record:
    """Convert a record with a text to a task."""
    data = without_keys(record, "entities", "relations")
    if "image" in data:
        data["image"] = _address_of(data["image"])
    if "images" in data:
        data["images"] = list(map(_address_of, picture_names(record)))
    entities, links = link_relations(record, notes)
    results: list[Item] = []
    for index, item in enumerate(entities):
        results.append(_to_region(item, f"r{index}", str(record["text"])))
    for head, tail, relation in links:
        result = {"type": "relation", "from_id": f"r{head}", "to_id": f"r{tail}"}
        labels = {"direction": "right", "labels": [relation["label"]]}
        results.append({**result, **labels, **_score(relation)})
    scores = [item["score"] for item in results if "score" in item]
    if scores:
        mean = sum(scores) / len(scores)
        prediction = {"model_version": f"mmie {VERSION}", "score": mean, "result": results}
        return {"data": data, "predictions": [prediction]}
    if not results:
        return {"data": data, "annotations": []}
    return {"data": data, "annotations": [{"result": results}]}


def _to_region(item: Item, name: str, text: str) -> Item:
    """Convert an entity to a region.

    Args:
        item: The entity.
        name: Id of the region.
        text: Text of the post.
    """
    start, end = item["start"], item["end"]
    value = {"start": start, "end": end, "text": text[start:end], "labels": [item["type"]]}
    names = {"id": name, "from_name": "label", "to_name": "text"}
    return {**names, "type": "labels", "value": value, **_score(item)}


def _score(item: Item) -> Item:
    """Return the probability of an entity or relation under the name of Label Studio."""
    return {"score": item["probability"]} if "probability" in item else {}
