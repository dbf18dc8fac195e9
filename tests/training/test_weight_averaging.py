"""The average of the weights against a literal recursion."""

import pytest
import torch
from helpers.methods import build_data, build_module, build_trainer
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from mmie.methods import TextOnly
from mmie.training.weight_averaging import WeightEMA

pytestmark = pytest.mark.filterwarnings("ignore:.*in eval mode", "ignore:.*isinstance.treespec")


class WeightRecorder(Callback):
    """Callback that records a weight after every step."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.weights.append(pl_module.head.emission.weight.detach().clone())


@pytest.mark.slow
def test_checkpoints_hold_the_average_and_the_temperature_that_was_set_for_it(
    demo_root, tiny_bert, tmp_path
):
    data = build_data(demo_root, "ner", tiny_bert)
    module = build_module(TextOnly, data.schema, tiny_bert)
    recorder = WeightRecorder()
    checkpoint = ModelCheckpoint(tmp_path, "best", monitor="val/f1", mode="max")
    trainer = build_trainer(
        tmp_path,
        callbacks=[WeightEMA(0.5), recorder, checkpoint],
        enable_checkpointing=True,
        max_epochs=1,
        limit_val_batches=2,
    )
    trainer.fit(module, data)
    average = recorder.weights[0]  # the first step begins the average
    for step, weight in enumerate(recorder.weights[1:], start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    content = torch.load(tmp_path / "best.ckpt", weights_only=True)
    torch.testing.assert_close(content["state_dict"]["head.emission.weight"], average)
    trained = content["current_model_state"]["head.emission.weight"]
    torch.testing.assert_close(trained, recorder.weights[-1])
    assert content["state_dict"]["head.temperature"] != 1
    torch.testing.assert_close(module.head.emission.weight, average)  # what a test then scores


def test_integers_are_copied_and_the_decay_is_checked():
    averaging = WeightEMA(0.9)
    counts = averaging.average(torch.tensor(3), torch.tensor(5), 100)
    assert counts == 5
    assert averaging.average(torch.zeros(()), torch.ones(()), 10**6) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="decay is 1"):
        WeightEMA(1)
