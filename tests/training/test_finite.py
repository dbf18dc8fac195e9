"""Fits stop at numbers that are not finite."""

import pytest
import torch
from helpers.command import metrics, run
from helpers.fitted_runs import fit_options
from torch import nn

from mmie.training.finite import NotFinite, StopAtNotFinite, gradient_norm


def test_the_norm_is_that_of_all_gradients_together():
    embedding, linear = nn.Embedding(5, 2, sparse=True), nn.Linear(2, 3)
    linear(embedding(torch.tensor([1, 3]))).square().sum().backward()
    parameters = [*embedding.parameters(), *linear.parameters()]
    gradients = [weight.grad for weight in parameters]
    dense = torch.cat([gradient.to_dense().flatten() for gradient in gradients])
    assert gradient_norm([*gradients, None]) == pytest.approx(float(dense.norm()))
    assert gradient_norm([None]) == 0
    gradients[0]._values()[0, 0] = torch.nan
    assert gradient_norm(gradients).isnan()


class FakeTrainer:
    """The part of a trainer that the callback reads."""

    precision = "32-true"
    current_epoch = 2
    max_epochs = 5


def test_the_first_step_is_named_however_late_it_is_looked_at():
    callback, module = StopAtNotFinite(), nn.Linear(1, 1)
    module.device = torch.device("meta")  # any device but the CPU
    callback._first = {"loss": torch.tensor(torch.inf)}
    losses = [1.0, 2.0, float("inf"), 3.0, float("nan")]
    for step, loss in enumerate(losses):
        outputs = {"loss": torch.tensor(loss)}
        callback.on_train_batch_end(FakeTrainer, module, outputs, None, step)
    with pytest.raises(NotFinite, match="the loss is no finite number in epoch 3 of 5, step 3:"):
        callback.on_validation_start(FakeTrainer, module)
    with pytest.raises(NotFinite):
        callback.on_train_epoch_end(FakeTrainer, module)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_fit_that_diverges_leaves_no_checkpoint(demo_root, tmp_path, precision):
    options = fit_options(demo_root, tmp_path / "run")
    extremes = ["--model.text_lr=1e15", "--trainer.max_epochs=3"]
    outcome = run("fit", *options, *extremes, f"--trainer.precision={precision}")
    assert outcome.status == 1
    assert "is no finite number in epoch 1 of 3, step" in outcome.err
    assert not list((tmp_path / "run").glob("*.ckpt"))
    assert "fit" not in metrics(tmp_path / "run")
    assert run("test", *options).status == 1
