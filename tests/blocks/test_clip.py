"""Vectors of a tiny CLIP against those of transformers."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPModel, CLIPProcessor

from mmie.blocks.clip import ClipVectors, clip_identity
from mmie.blocks.errors import WeightsUnavailable

TEXTS = ["a cat", "two dogs and a cat " * 4, "a"]
LENGTH = 12  # positions of the tiny CLIP


@pytest.fixture
def folder(tiny_clip):
    return tiny_clip


@pytest.fixture
def pixels():
    return torch.randint(
        0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def test_vectors_equal_the_embeddings_of_the_full_model(folder, pixels):
    clip = ClipVectors(folder)
    processor = CLIPProcessor.from_pretrained(folder)
    given = processor(
        text=TEXTS,
        images=list(pixels),
        padding=True,
        truncation=True,
        max_length=LENGTH,
        return_tensors="pt",
    )
    with torch.no_grad():
        expected = CLIPModel.from_pretrained(folder).eval()(**given)
    texts, pictures = clip.texts(TEXTS), clip.pictures(pixels)
    assert texts.shape == pictures.shape == (3, clip.size) == (3, 8)
    torch.testing.assert_close(texts, expected.text_embeds)
    torch.testing.assert_close(pictures, expected.image_embeds)


def test_vectors_have_length_one_and_depend_on_their_input(folder, pixels):
    clip = ClipVectors(folder)
    for vectors in (clip.texts(TEXTS), clip.pictures(pixels)):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
        assert functional.pdist(vectors).min() > 1e-4


def test_vector_of_a_text_does_not_depend_on_other_texts(folder):
    clip = ClipVectors(folder)
    torch.testing.assert_close(clip.texts(TEXTS)[2:], clip.texts(TEXTS[2:]))


def test_holding_module_neither_trains_nor_saves_clip(folder, pixels):
    holder = nn.Linear(2, 2)
    holder.clip = ClipVectors(folder)
    assert len(list(holder.parameters())) == len(holder.state_dict()) == 2
    holder.train()
    first = holder.clip.texts(TEXTS)
    assert torch.equal(first, holder.clip.texts(TEXTS))
    assert not first.requires_grad
    assert not holder.clip.pictures(pixels).requires_grad


def test_missing_model_gives_an_error_of_one_line(tmp_path):
    with pytest.raises(WeightsUnavailable, match=r"CLIP '.*': the folder holds no model") as error:
        ClipVectors(tmp_path)
    assert "\n" not in str(error.value)


def test_weights_of_another_model_raise(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    CLIPModel.from_pretrained(folder).vision_model.save_pretrained(tmp_path / "part")
    (tmp_path / "part" / "model.safetensors").rename(tmp_path / "model.safetensors")
    with pytest.raises(WeightsUnavailable, match="its weights lack"):
        ClipVectors(tmp_path)


def test_identity_is_the_hub_name_or_changes_with_the_files(folder, tmp_path):
    assert clip_identity("openai/clip") == {"clip": "openai/clip"}
    (tmp_path / "config.json").write_text("{}")
    assert clip_identity(folder) != clip_identity(tmp_path)
    assert clip_identity(folder) == clip_identity(str(folder))
