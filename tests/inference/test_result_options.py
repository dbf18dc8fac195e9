"""Options of results: each is one of an extractor, with its default."""

from dataclasses import asdict
from inspect import signature

from mmie.inference import Extractor
from mmie.inference.extractor import ExtractorOptions
from mmie.inference.result_options import ResultOptions


def test_options_are_those_of_an_extractor():
    options = asdict(ResultOptions())
    assert options.keys() <= ExtractorOptions.__annotations__.keys()
    parameters = signature(Extractor).parameters
    del options["relation_types"]  # the extractor takes the types themselves
    assert options == {name: parameters[name].default for name in options}
