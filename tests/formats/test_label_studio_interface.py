"""Labelling interface of Label Studio."""

from xml.etree import ElementTree

from helpers.labelled import FOUND, PLAIN

from mmie.formats.label_studio_interface import labelling_interface


def test_names_are_escaped_and_unused_parts_left_out():
    hostile = {"id": "x", "text": "a", "entities": [{"start": 0, "end": 1, "type": "<\"&'>"}]}
    view = ElementTree.fromstring(labelling_interface([hostile, PLAIN]))
    assert [tag.attrib["value"] for tag in view.iter("Label")] == ["<\"&'>"]
    assert view.find("Image") is None
    assert view.find("Relations") is None


def test_labels_of_relations_and_types_of_their_arguments_are_listed():
    record = {key: value for key, value in FOUND.items() if key != "entities"}
    view = ElementTree.fromstring(labelling_interface([record]))
    assert [tag.attrib["value"] for tag in view.iter("Label")] == ["PER"]
    assert [tag.attrib["value"] for tag in view.iter("Relation")] == ["peer"]
