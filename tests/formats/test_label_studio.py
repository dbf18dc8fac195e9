"""Tasks of Label Studio as it exports them, and pre-annotations for its import."""

import json
from xml.etree import ElementTree

import pytest
from helpers.labelled import ARGUMENTS, EMOJI, FOUND, PLAIN, SEVERAL, write_and_read

from mmie.data.sources import BadPost
from mmie.formats.base import FormatError, Notes, ReadOptions
from mmie.formats.label_studio import LabelStudio

TEXT = "😂 Ann in\nRome"


def region(name, start, end, text, *labels, **further):
    value = {"start": start, "end": end, "text": text, "labels": list(labels)}
    return {
        "id": name,
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "value": value,
        **further,
    }


ANN, ROME = region("x", 2, 5, "Ann", "PER"), region("y", 9, 13, "Rome", "LOC")
LINK = {"from_id": "x", "to_id": "y", "type": "relation", "direction": "right", "labels": ["in"]}


def task(*results, **further):
    data = {"text": TEXT, "image": "/data/local-files/?d=images/a%20b.jpg", "url": "u"}
    return {"id": 17, "data": data, "annotations": [{"result": list(results)}], **further}


def read(tmp_path, content, **options):
    file = tmp_path / "tasks.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    notes = Notes()
    return list(LabelStudio().read(file, ReadOptions(**options), notes)), notes


def covered(record):
    return [
        (record["text"][item["start"] : item["end"]], item["type"]) for item in record["entities"]
    ]


def test_an_export(tmp_path):
    (record,), notes = read(tmp_path, [task(ANN, ROME, LINK)])
    assert covered(record) == [("Ann", "PER"), ("Rome", "LOC")]
    (relation,) = record["relations"]
    assert (relation["head"]["start"], relation["tail"]["start"], relation["label"]) == (2, 9, "in")
    assert (record["id"], record["image"], record["url"]) == (17, "images/a b.jpg", "u")
    assert notes.unused == {}


def test_lines_of_tasks_and_a_single_task(tmp_path):
    one, two = json.dumps(task(ANN)), json.dumps(task(ROME))
    assert len(read(tmp_path, f"{one}\n{two}\n")[0]) == 2
    assert len(read(tmp_path, one)[0]) == 1


def test_offsets_in_utf16_units_are_converted(tmp_path):
    early = task(region("x", 3, 6, "Ann", "PER"), region("y", 7, 14, "in\\nRome", "LOC"))
    (record,), notes = read(tmp_path, [early])
    assert covered(record) == [("Ann", "PER"), ("in\nRome", "LOC")]
    assert notes.remarks == {"regions whose offsets count UTF-16 units, which are converted": 2}


@pytest.mark.parametrize(
    ("direction", "ends"), [("right", [(2, 9)]), ("left", [(9, 2)]), ("bi", [(2, 9), (9, 2)])]
)
def test_directions_of_relations(tmp_path, direction, ends):
    (record,), _ = read(tmp_path, [task(ANN, ROME, {**LINK, "direction": direction})])
    found = [(item["head"]["start"], item["tail"]["start"]) for item in record["relations"]]
    assert found == ends


def test_what_is_not_used_is_counted(tmp_path):
    results = [
        region("x", 2, 5, "Ann", "PER", "VIP"),
        {"id": "z", "type": "choices", "value": {"choices": ["good"]}},
        ROME,
        {**LINK, "labels": []},
    ]
    _, notes = read(tmp_path, [task(*results)])
    assert notes.unused == {
        "further labels of a region": 1,
        "results of type 'choices'": 1,
        "relations without a label": 1,
    }


def test_which_annotation_is_read(tmp_path):
    chosen = [{"result": [ROME]}, {"result": [ANN]}, {"result": [], "was_cancelled": True}]
    (last,), notes = read(tmp_path, [task(annotations=chosen)])
    assert covered(last) == [("Ann", "PER")]
    assert notes.unused == {"further annotations or predictions of a task": 1}
    chosen[0]["ground_truth"] = True
    (truth,), _ = read(tmp_path, [task(annotations=chosen)])
    assert covered(truth) == [("Rome", "LOC")]
    predictions = [{"result": [{**ANN, "score": 0.5}]}]
    (guessed,), notes = read(tmp_path, [task(annotations=[], predictions=predictions)])
    assert guessed["entities"][0]["probability"] == 0.5
    assert sum(notes.remarks.values()) == 1
    emptied = task(annotations=[{"result": []}], predictions=predictions)
    (nothing,), _ = read(tmp_path, [emptied])
    assert nothing["entities"] == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (5, "a task with 'data'"),
        ({"data": {"text": 5}}, "a text under 'text'"),
        (task(region("x", 3, 6, "Bob", "PER")), "the text 'Bob' of a region"),
        (task(region("x", 2, 5, "Ann")), "start, end and labels"),
        (task(ANN, LINK), "ids of regions"),
    ],
)
def test_malformed_tasks_are_named(tmp_path, bad, reason):
    (good, found), _ = read(tmp_path, [task(ANN), bad])
    assert good["id"] == 17
    assert isinstance(found, BadPost)
    assert found.place == "task 2"
    assert reason in found.reason


def test_the_key_of_the_text_can_be_named(tmp_path):
    named = {"data": {"post": "Ann"}, "annotations": []}
    with pytest.raises(FormatError, match="--columns text=KEY"):
        read(tmp_path, [named])
    (record,), _ = read(tmp_path, [named], columns={"text": "post"})
    assert record["text"] == "Ann"
    with pytest.raises(FormatError, match="found no JSON"):
        read(tmp_path, "no tasks")


def test_pre_annotations_have_scores_and_annotations_have_none(tmp_path):
    file = tmp_path / "tasks.json"
    write_and_read(LabelStudio(), [FOUND, EMOJI, PLAIN], file)
    found, gold, plain = json.loads(file.read_text(encoding="utf-8"))
    (prediction,) = found["predictions"]
    assert prediction["model_version"].startswith("mmie ")
    assert prediction["score"] == 0.5
    assert [item["score"] for item in prediction["result"]] == [0.75, 0.5, 0.25]
    assert prediction["result"][0]["value"]["text"] == "Ann"
    assert "annotations" not in found
    assert gold["data"]["image"] == "/data/local-files/?d=images/a%20b.jpg"
    assert "score" not in gold["annotations"][0]["result"][0]
    assert plain["annotations"] == []


def test_the_interface_fits_the_tasks(tmp_path):
    file = tmp_path / "tasks.json"
    _, notes = write_and_read(LabelStudio(), [EMOJI, ARGUMENTS], file)
    view = ElementTree.parse(tmp_path / "tasks.interface.xml").getroot()
    assert [tag.attrib["value"] for tag in view.iter("Label")] == ["LOC", "PER", "argument"]
    assert [tag.attrib["value"] for tag in view.iter("Relation")] == ["/per/loc/at", "from"]
    assert view.find("Labels").attrib == {"name": "label", "toName": "text"}
    assert view.find("Image").attrib["value"] == "$image"
    assert any("tasks.interface.xml" in line for line in notes.remarks)


def test_several_pictures_are_a_list(tmp_path):
    file = tmp_path / "tasks.json"
    write_and_read(LabelStudio(), [EMOJI, SEVERAL], file)
    one, two = (item["data"] for item in json.loads(file.read_text(encoding="utf-8")))
    prefix = "/data/local-files/?d=images/"
    assert one["images"] == [f"{prefix}a%20b.jpg"]
    assert two["images"] == [f"{prefix}a%20b.jpg", f"{prefix}c.png"]
    assert "image" not in one | two
    view = ElementTree.parse(tmp_path / "tasks.interface.xml").getroot()
    assert view.find("Image").attrib == {"name": "images", "valueList": "$images"}
    given = {"data": {"text": "a", "image": f"{prefix}a.jpg", "images": [f"{prefix}b.jpg"]}}
    (record,), _ = read(tmp_path, [{**given, "annotations": []}])
    assert record["images"] == ["images/a.jpg", "images/b.jpg"]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (json.dumps([task(ANN)]), True),
        (json.dumps(task(ANN)), True),
        (json.dumps([task(ANN)])[:60] + '"annotations"', True),
        ('[{"text": "a"}]', False),
        ('[{"data": {"text": "a"}}]', False),
        ('# {"data": {}, "annotations": []}', False),
        ("", False),
    ],
)
def test_tasks_are_recognised_by_their_keys(tmp_path, head, expected):
    assert LabelStudio().recognises(tmp_path / "a.json", head) is expected
