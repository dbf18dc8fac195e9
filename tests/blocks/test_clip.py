"""CLIP's vectors against transformers' own, from a tiny model made here."""

import string

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

from mmie.blocks.clip import ClipVectors
from mmie.blocks.errors import WeightsUnavailable

TEXTS = ["a cat", "two dogs and a cat " * 4, "a"]
LENGTH = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as CLIP's are published, with letters for a vocabulary."""
    path = tmp_path_factory.mktemp("clip")
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    vocabulary = {token: number for number, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": len(vocabulary) - 2, "eos_token_id": len(vocabulary) - 1, "pad_token_id": 1}
    text = {**sizes, **ends, "vocab_size": len(vocabulary), "max_position_embeddings": LENGTH}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 16}, projection_dim=8)
    CLIPModel(config).save_pretrained(path)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPProcessor(CLIPImageProcessor(**size), tokenizer).save_pretrained(path)
    return path


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_vectors_are_those_that_the_whole_model_compares(folder, pixels):
    clip = ClipVectors(folder)
    processor = CLIPProcessor.from_pretrained(folder)
    given = processor(
        text=TEXTS, images=list(pixels), padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    with torch.no_grad():
        expected = CLIPModel.from_pretrained(folder).eval()(**given)
    texts, pictures = clip.texts(TEXTS), clip.pictures(pixels)
    assert texts.shape == pictures.shape == (3, clip.size) == (3, 8)
    torch.testing.assert_close(texts, expected.text_embeds)
    torch.testing.assert_close(pictures, expected.image_embeds)


def test_vectors_have_length_one_and_depend_on_what_is_given(folder, pixels):
    clip = ClipVectors(folder)
    for vectors in (clip.texts(TEXTS), clip.pictures(pixels)):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
        assert functional.pdist(vectors).min() > 1e-4


def test_a_texts_vector_does_not_depend_on_the_others(folder):
    clip = ClipVectors(folder)
    torch.testing.assert_close(clip.texts(TEXTS)[2:], clip.texts(TEXTS[2:]))


def test_a_module_that_holds_it_neither_trains_nor_saves_it(folder, pixels):
    holder = nn.Linear(2, 2)
    holder.clip = ClipVectors(folder)
    assert len(list(holder.parameters())) == len(holder.state_dict()) == 2
    holder.train()
    first = holder.clip.texts(TEXTS)
    assert torch.equal(first, holder.clip.texts(TEXTS))
    assert not first.requires_grad
    assert not holder.clip.pictures(pixels).requires_grad


def test_a_model_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(WeightsUnavailable, match=r"CLIP '.*': the folder holds no model") as error:
        ClipVectors(tmp_path)
    assert "\n" not in str(error.value)


def test_another_models_weights_are_refused(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    CLIPModel.from_pretrained(folder).vision_model.save_pretrained(tmp_path / "part")
    (tmp_path / "part" / "model.safetensors").rename(tmp_path / "model.safetensors")
    with pytest.raises(WeightsUnavailable, match="its weights lack"):
        ClipVectors(tmp_path)
