from pathlib import Path

import pytest
from helpers.methods import build_module, perturb
from test_contract import METHODS

from mmie.reports.diagnosis.target import DiagnosisTarget


@pytest.fixture
def build_target(request, demo_data):
    """Function that builds a method with random weights over the test split of a demo corpus."""

    def build(name, task="ner", **changes):
        case = METHODS[name]
        encoder = request.getfixturevalue(case.encoder)
        data = demo_data(task, encoder)
        arguments = {"encoder": encoder, **case.arguments, **changes}
        module = perturb(build_module(case.method, data.schema, **arguments))
        return DiagnosisTarget(Path("runs/x/best.ckpt"), module, data, "test")

    return build
