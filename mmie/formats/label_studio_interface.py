"""Labelling interface of Label Studio for the tasks that are written."""

from collections.abc import Iterable
from xml.sax.saxutils import quoteattr

from mmie.data.parsing import Record
from mmie.formats.linking import ARGUMENT
from mmie.formats.records import list_objects


def labelling_interface(records: Iterable[Record]) -> str:
    """Return the XML of an interface with the types, labels and pictures of records.

    Args:
        records: Records with a text.
    """
    types: set[str] = set()
    labels: set[str] = set()
    has_pictures = has_lists = False
    for record in records:
        has_pictures |= "image" in record
        has_lists |= "images" in record
        for entity in list_objects(record, "entities"):
            types.add(str(entity["type"]))
        for relation in list_objects(record, "relations"):
            labels.add(str(relation["label"]))
            for key in ("head", "tail"):
                types.add(relation[key].get("type") or ARGUMENT)
    lines = ["<View>"]
    if has_pictures:
        lines.append('  <Image name="image" value="$image"/>')
    if has_lists:
        lines.append('  <Image name="images" valueList="$images"/>')
    if labels:
        lines.append("  <Relations>")
        lines += [f"    <Relation value={quoteattr(label)}/>" for label in sorted(labels)]
        lines.append("  </Relations>")
    lines.append('  <Labels name="label" toName="text">')
    lines += [f"    <Label value={quoteattr(kind)}/>" for kind in sorted(types)]
    lines += ["  </Labels>", '  <Text name="text" value="$text" granularity="word"/>', "</View>"]
    return "\n".join([*lines, ""])
