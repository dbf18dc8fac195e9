"""Several pictures per post, from a corpus's files to the predictions of a trained method."""

import json
import random

import pytest
import torch
from helpers.methods import build_module, build_trainer, training_loss
from helpers.pictures import encode_picture
from PIL import Image

from mmie.data import JsonlCorpus, MultimodalDataModule
from mmie.data.batching import Collator
from mmie.inference import Extractor
from mmie.methods import HVPNet
from mmie.types import Post

TYPES = {"PER": (200, 30, 40), "LOC": (30, 60, 210)}
"""Colours of the second picture by the type of the entity."""
SIZES = {"max_tokens": 16, "image_size": 64, "num_objects": 0, "batch_size": 16}


def write_posts(folder, split, count, seed):
    """Write posts of one text, whose first pictures are alike and whose second ones tell a type."""
    numbers = random.Random(seed)
    lines = []
    for number in range(count):
        kind = [*TYPES][number % 2]
        names = [f"{split}-{number}-{index}.png" for index in range(2)]
        for name, base in zip(names, ((128, 128, 128), TYPES[kind]), strict=True):
            colour = tuple(channel + numbers.randint(-20, 20) for channel in base)
            (folder / name).write_bytes(encode_picture(Image.new("RGB", (32, 32), colour), "PNG"))
        post = {
            "id": str(number),
            "words": ["Jordan", "lands"],
            "images": names,
            "entities": [{"start": 0, "end": 1, "type": kind}],
        }
        lines.append(json.dumps(post) + "\n")
    (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    write_posts(folder, "train", 16, 0)
    write_posts(folder, "valid", 16, 1)
    return JsonlCorpus(folder)


def build(corpus, encoder, num_images):
    """Return the data and a small method for a number of pictures."""
    data = MultimodalDataModule(corpus, "ner", encoder, num_images=num_images, **SIZES)
    data.setup("fit")
    arguments = {"vision_backbone": "test_resnet", "dropout": 0.0}
    rates = {"text_lr": 2e-3, "fusion_lr": 5e-3, "head_lr": 2e-2}
    return data, build_module(HVPNet, data.schema, encoder, **arguments, **rates)


def share_right(data, module):
    """Return the share of the validation posts whose type is found."""
    instances = data.instances["valid"]
    batch = Collator(data.schema, data.tokenizer.pad_id)(instances, range(len(instances)))
    predictions = module.eval()(batch)
    right = 0
    for prediction, instance in zip(predictions, instances, strict=True):
        right += prediction.entities == instance.post.entities
    return right / len(instances)


@pytest.mark.parametrize(("num_images", "least", "most"), [(2, 0.9, 1.0), (1, 0.0, 0.7)])
def test_the_second_picture_is_learned_only_if_it_is_read(
    corpus, tiny_bert, num_images, least, most
):
    data, module = build(corpus, tiny_bert, num_images)
    (batch,) = data.train_dataloader()
    optimizer = torch.optim.AdamW(module.parameter_groups())
    for step in range(40):
        optimizer.zero_grad()
        training_loss(module, batch, step).backward()
        optimizer.step()
    assert least <= share_right(data, module) <= most


def test_a_checkpoint_carries_the_number_of_pictures(corpus, tiny_bert, tmp_path):
    data, module = build(corpus, tiny_bert, 2)
    trainer = build_trainer(tmp_path, max_steps=1, limit_val_batches=0)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    extractor = Extractor.from_checkpoint(tmp_path / "two.ckpt", device="cpu")
    (form,) = extractor.formats
    assert (form.num_views, form.num_images) == (2, 2)
    post = corpus.posts("valid")[0]
    instance = data.instances["valid"][0]
    assert instance.views == post.images
    batch = Collator(data.schema, data.tokenizer.pad_id)([instance], [0])
    (expected,) = module.eval().predict(batch)
    own = Post("0", text="Jordan lands", image=post.image, more_images=post.more_images)
    (extraction,) = extractor.extract([own])
    assert extraction.problems == ()
    found = [(entity.type, entity.probability) for entity in extraction.entities]
    types = [entity.type for entity in expected.entities]
    assert found == [
        (kind, pytest.approx(probability, abs=1e-4))
        for kind, probability in zip(types, expected.probabilities, strict=True)
    ]


@pytest.mark.parametrize("pictures", ["shuffled", "none"])
def test_all_pictures_of_a_post_are_changed_together(corpus, tiny_bert, pictures):
    settings = {"num_images": 2, "pictures": pictures, **SIZES}
    data = MultimodalDataModule(corpus, "ner", tiny_bert, **settings)
    data.setup("fit")
    right = {post.id: post.images for post in corpus.posts("train")}
    for instance in data.instances["train"]:
        if pictures == "none":
            assert instance.views == (None, None)
        else:
            assert instance.views in right.values()
            assert instance.views != right[instance.post.id]
