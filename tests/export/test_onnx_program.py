"""A traced module equals PyTorch, and what cannot be traced or differs is refused."""

import pytest
import torch

from mmie.export.onnx_program import OnnxError, compare, drop_unread_inputs, trace

pytestmark = pytest.mark.slow

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


class Sum(torch.nn.Module):
    """Adds up rows; of the second input only the batch size is read."""

    def forward(self, rows, other):
        return rows.sum(dim=1) + torch.zeros(other.shape[0])


class Branching(torch.nn.Module):
    """Has a branch on a value, which cannot be traced."""

    def forward(self, pixels):
        return pixels + 1 if pixels.sum() > 0 else pixels


def test_a_traced_module_equals_pytorch_for_any_batch_size(tmp_path):
    batch = torch.export.Dim("batch")
    cases = [{"rows": torch.rand(n, 3), "other": torch.rand(n, 2)} for n in (2, 1, 5)]
    program = trace(Sum(), cases[0], ({0: batch}, {0: batch}), "Sum")
    drop_unread_inputs(program.model.graph.inputs)
    assert [value.name for value in program.model.graph.inputs] == ["rows"]
    program.save(tmp_path / "sum.onnx")
    assert compare(Sum(), tmp_path / "sum.onnx", cases) < 1e-6


def test_a_module_that_cannot_be_traced_is_refused_in_one_line():
    dynamic_shapes = ({0: torch.export.Dim("pictures")},)
    with pytest.raises(OnnxError, match=r"torch.export does not take it: \w+: ") as caught:
        trace(Branching(), {"pixels": torch.zeros(2, 3)}, dynamic_shapes, "it")
    assert "\n" not in str(caught.value)


def test_a_file_that_computes_other_numbers_is_refused(tmp_path):
    case = {"rows": torch.rand(2, 3), "other": torch.rand(2, 2)}
    trace(Sum(), case, (None, None), "Sum").save(tmp_path / "sum.onnx")

    class Shifted(Sum):
        def forward(self, rows, other):
            return super().forward(rows, other) + 0.1

    with pytest.raises(OnnxError, match=r"sum\.onnx differs from PyTorch by"):
        compare(Shifted(), tmp_path / "sum.onnx", [case])
