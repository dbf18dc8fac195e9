"""The invariant of all readers: each row is a post or is named, and keeps its own picture."""

import csv
import json
import re
import shutil

import pandas as pd
import pytest
from helpers.formats import read as read_format
from helpers.hostile import limited_examples
from hypothesis import given
from hypothesis import strategies as st

from mmie.data import MNRE, FrameCorpus, JsonlCorpus, Twitter2017
from mmie.data.post_json import post_from_json
from mmie.data.sources import BadPost, read_source

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

_ALPHABET = 'ab"""\',;| é\u2028ب东#\\[{}'
_MARKER = re.compile(r"mark(\d+)end")

texts = st.text(_ALPHABET, max_size=12)
rows = st.lists(st.tuples(texts, texts, st.booleans()), min_size=1, max_size=8)
"""Texts before and after the marker of each row, and whether the row is malformed."""


def as_text(number, before, after):
    return f"{before}mark{number}end{after}"


def from_source(path):
    items = list(read_source(str(path)))
    posts = [item for item in items if not isinstance(item, BadPost)]
    return posts, len(items) - len(posts)


def from_corpus(corpus):
    posts = corpus.posts("train")
    return posts, len(corpus.skipped["train"])


def record_of(number, before, after):
    return {
        "id": f"p{number}",
        "text": as_text(number, before, after),
        "image": f"{number}.jpg",
    }


def write_json_lines(file, items, encoding="utf-8"):
    lines = []
    for number, (before, after, is_bad) in enumerate(items):
        line = json.dumps(record_of(number, before, after), ensure_ascii=False)
        lines.append(line[: len(line) // 2] if is_bad else line)
    file.write_text("\n".join(lines), encoding=encoding)


def json_lines(folder, items):
    write_json_lines(folder / "posts.jsonl", items)
    return from_source(folder / "posts.jsonl")


def json_lines_in_utf16(folder, items):
    write_json_lines(folder / "posts.jsonl", items, "utf-16")
    return from_source(folder / "posts.jsonl")


def json_array(folder, items):
    records = []
    for number, (before, after, is_bad) in enumerate(items):
        records.append(number if is_bad else record_of(number, before, after))
    (folder / "posts.json").write_text(json.dumps(records, indent=2))
    return from_source(folder / "posts.json")


def json_corpus(folder, items):
    write_json_lines(folder / "train.jsonl", items)
    return from_corpus(JsonlCorpus(folder, strict=False))


def table_writer(name, delimiter, line_end, **settings):
    """Return the function that writes a table with quotes, whose texts have several lines."""

    def write(folder, items):
        with (folder / name).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, delimiter=delimiter, lineterminator=line_end, **settings)
            writer.writerow(["id", "text", "image"])
            for number, (before, after, is_bad) in enumerate(items):
                text = as_text(number, before, after if is_bad else f"{after}{line_end}{before}")
                row = [f"p{number}", text, f"{number}.jpg"]
                writer.writerow([*row, "more"] if is_bad else row)
        return from_source(folder / name)

    return write


def unquoted_table(folder, items):
    lines = ["id\ttext\timage"]
    for number, (before, after, is_bad) in enumerate(items):
        row = [f"p{number}", as_text(number, before, after), f"{number}.jpg"]
        lines.append("\t".join([*row, "more"] if is_bad else row))
    (folder / "posts.tsv").write_text("\n".join(lines), encoding="utf-8")
    return from_source(folder / "posts.tsv")


def short_unquoted_table(folder, items):
    """Write rows of which some lack their last fields."""
    lines = ["id\ttext\timage"]
    for number, (before, after, is_bad) in enumerate(items):
        row = [f"p{number}", as_text(number, before, after), f"{number}.jpg"]
        lines.append("\t".join(row[:2] if is_bad else row))
    (folder / "posts.tsv").write_text("\n".join(lines), encoding="utf-8")
    return from_source(folder / "posts.tsv")


def post_folder(folder, items):
    for number, (before, after, is_bad) in enumerate(items):
        (folder / f"{number}.JPG").touch()
        content = as_text(number, before, after).encode()
        (folder / f"{number}.txt").write_bytes(content + b"\xff" * is_bad)
    return from_source(folder)


def frame(folder, items):
    records = []
    for number, (before, after, is_bad) in enumerate(items):
        entities = [{"start": 0, "end": 999, "type": "A"}] if is_bad else []
        records.append({**record_of(number, before, after), "entities": entities})
    return from_corpus(FrameCorpus(pd.DataFrame(records), folder, strict=False))


def twitter(folder, items):
    lines = []
    for number, (before, after, is_bad) in enumerate(items):
        words = as_text(number, before, after).split(" ")
        lines.append(f"IMGID:{number}")
        lines += [f"{word}\t{'?' if is_bad else 'O'}" for word in words if word]
        lines.append("")
    (folder / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    return from_corpus(Twitter2017(folder, strict=False))


def mnre(folder, items):
    lines = []
    for number, (before, after, is_bad) in enumerate(items):
        argument = {"name": "a", "pos": [0, 1]}
        record = {"token": [as_text(number, before, after)], "h": argument, "t": argument}
        record |= {"img_id": f"{number}.jpg", "relation": "None"}
        line = repr(record)
        lines.append(line[:-1] if is_bad else line)
    (folder / "mnre_txt").mkdir()
    (folder / "mnre_txt" / "mnre_train.txt").write_text("\n".join(lines), encoding="utf-8")
    return from_corpus(MNRE(folder, strict=False))


def from_format(path, name):
    """Return the posts of a file as ``mmie convert`` reads them, and the number of bad ones."""
    records, bad, _ = read_format(path, name)
    return [post_from_json(record, path.parent) for record in records], len(bad)


def converted_table(folder, items):
    unquoted_table(folder, items)
    return from_format(folder / "posts.tsv", "tables")


def converted_quoted_table(folder, items):
    table_writer("posts.csv", ";", "\r\n", quoting=csv.QUOTE_ALL)(folder, items)
    return from_format(folder / "posts.csv", "tables")


def converted_json_lines(folder, items):
    write_json_lines(folder / "posts.jsonl", items)
    return from_format(folder / "posts.jsonl", "jsonl")


def converted_json_array(folder, items):
    records = []
    for number, (before, after, is_bad) in enumerate(items):
        records.append({**record_of(number, before, after), "entities": 3 if is_bad else []})
    (folder / "posts.json").write_text(json.dumps(records))
    return from_format(folder / "posts.json", "json")


def doccano(folder, items):
    lines = []
    for number, (before, after, is_bad) in enumerate(items):
        line = {**record_of(number, before, after), "label": [[0, 999, "A"]] if is_bad else []}
        lines.append(json.dumps(line))
    (folder / "posts.jsonl").write_text("\n".join(lines))
    return from_format(folder / "posts.jsonl", "doccano")


def label_studio(folder, items):
    tasks = [{"id": "first", "data": {"text": "mark999end"}}]
    for number, (before, after, is_bad) in enumerate(items):
        data = record_of(number, before, after)
        tasks.append({"id": number, "data": {**data, "text": 3} if is_bad else data})
    (folder / "posts.json").write_text(json.dumps(tasks))
    posts, num_named = from_format(folder / "posts.json", "label_studio")
    return posts[1:], num_named


def parquet(folder, items):
    records = []
    for number, (before, after, is_bad) in enumerate(items):
        records.append({**record_of(number, before, after), "entities": "{" if is_bad else "[]"})
    pd.DataFrame(records).to_parquet(folder / "posts.parquet")
    return from_format(folder / "posts.parquet", "parquet")


def conll(folder, items):
    lines = ["IMGID:first", "mark999end\tO", ""]
    for number, (before, after, is_bad) in enumerate(items):
        words = as_text(number, before, after).split(" ")
        lines.append(f"IMGID:{number}")
        lines += [f"{word}\t{'?' if is_bad else 'O'}" for word in words if word]
        lines.append("")
    (folder / "posts.conll").write_text("\n".join(lines), encoding="utf-8")
    posts, num_named = from_format(folder / "posts.conll", "conll")
    return posts[1:], num_named


READERS = {
    "json lines": json_lines,
    "json lines, UTF-16": json_lines_in_utf16,
    "json array": json_array,
    "json corpus": json_corpus,
    "csv": table_writer("posts.csv", ",", "\n"),
    "csv, all quoted": table_writer("posts.csv", ";", "\r\n", quoting=csv.QUOTE_ALL),
    "tsv, quoted": table_writer("posts.tsv", "\t", "\r\n"),
    "tsv, not quoted": unquoted_table,
    "tsv, not quoted, short rows": short_unquoted_table,
    "folder": post_folder,
    "frame": frame,
    "twitter": twitter,
    "mnre": mnre,
    "convert, tsv, not quoted": converted_table,
    "convert, csv, all quoted": converted_quoted_table,
    "convert, json lines": converted_json_lines,
    "convert, json array": converted_json_array,
    "convert, doccano": doccano,
    "convert, label studio": label_studio,
    "convert, parquet": parquet,
    "convert, conll": conll,
}


@pytest.mark.parametrize("reader", READERS)
@limited_examples(5)
@given(items=rows)
def test_rows_in_are_posts_out_and_rows_named(tmp_path, reader, items):
    folder = tmp_path / "rows"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    posts, num_named = READERS[reader](folder, items)
    assert len(posts) + num_named == len(items)
    for post in posts:
        text = post.text if post.text is not None else " ".join(post.words)
        (number,) = _MARKER.findall(text)
        assert post.image is None or post.image.stem == number
