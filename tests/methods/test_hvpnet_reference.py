"""HVPNet's reference variant against a literal version of the published code."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmie.methods.hvpnet import HVPNet
from mmie.types import Batch, Schema

BATCH, CROPS, TOKENS, LAYERS, HEADS, HIDDEN = 2, 2, 9, 3, 4, 24
VIEWS, HEAD = 1 + CROPS, HIDDEN // HEADS
PREFIX = 4 * VIEWS
BERT = {
    "model_type": "bert",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 40,
    "vocab_size": 50,
    "max_position_embeddings": 40,
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    schema = Schema("ner", ("PER", "LOC"), 60, max_tokens=16, num_objects=CROPS, image_size=64)
    model = HVPNet(
        schema,
        variant="reference",
        text_encoder=BERT,
        vision_backbone="test_resnet",
        pretrained=False,
    ).eval()
    for parameter in [*model.text.parameters(), *model.visual_prefix.parameters()]:
        # so that gates differ and the prefix has an effect
        parameter.data += 0.1 * torch.randn_like(parameter)
    for module in model.vision.modules():
        # timm starts residual branches and means at 0
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    model.vision.keep_blank_features()
    return model


def make_batch(view_mask):
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(TOKENS) < torch.tensor([[TOKENS], [6]])
    ids = torch.randint(5, 60, (BATCH, TOKENS), generator=generator).masked_fill(~mask, 0)
    words = torch.zeros(BATCH, 3, dtype=torch.long)
    return Batch(
        ids=("a", "b"),
        counted=torch.ones(BATCH, dtype=torch.bool),
        index=torch.arange(BATCH),
        input_ids=ids,
        attention_mask=mask,
        token_type_ids=torch.tensor([0] * 5 + [1] * 4).expand(BATCH, -1) * mask,
        token_words=mask.long() - 1,
        characters=torch.ones(*words.shape, 1, dtype=torch.long),
        word_starts=words,
        word_mask=torch.ones_like(words, dtype=torch.bool),
        view_mask=view_mask,
        pixels=torch.randint(
            0, 256, (BATCH, VIEWS, 3, 64, 64), generator=generator, dtype=torch.uint8
        ),
        tags=words,
    )


def pooled_stages(resnet, picture, blank):
    """Compute the four stages of pictures (batch, 3, 64, 64) uint8, each pooled to 2 x 2."""
    mean, std = (
        torch.tensor(resnet.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std")
    )
    features = (picture.float() / 255 - mean) / std
    features[blank] = 0
    features = resnet.maxpool(resnet.act1(resnet.bn1(resnet.conv1(features))))
    pooled = []
    for stage in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4):
        features = stage(features)
        kernel = features.shape[-1] // 2
        pooled.append(functional.avg_pool2d(features, kernel, kernel))
    return pooled


def literal_prefix(model, pixels, missing=()):
    """Compute keys and values of every layer, one view and one scale at a time.

    Args:
        model: The method.
        pixels: (batch, views, 3, 64, 64) uint8
        missing: Pairs of a post and a view whose picture is 0 everywhere after normalising.

    Returns:
        For each layer keys and values, (batch, heads, prefix, head_size) each.
    """
    weights = model.visual_prefix.state_dict()
    splits = []
    for view in range(VIEWS):
        blank = [post for post, missing_view in missing if missing_view == view]
        stages = pooled_stages(model.vision.model, pixels[:, view], blank)
        maps = torch.cat(stages, dim=1)  # (batch, channels, 2, 2)
        rows = maps.view(BATCH, 4, -1)
        inner = torch.tanh(
            rows @ weights["encoder_conv.0.weight"].T + weights["encoder_conv.0.bias"]
        )
        outer = inner @ weights["encoder_conv.2.weight"].T + weights["encoder_conv.2.bias"]
        splits.append(outer.split(2 * HIDDEN, dim=-1))  # 4 chunks (batch, 4, 2 hidden)
    pairs = []
    for layer in range(LAYERS):
        mixed = []
        for chunks in splits:
            summary = (chunks[0] + chunks[1] + chunks[2] + chunks[3]).view(BATCH, -1) / 4
            scores = summary @ weights[f"gates.{layer}.weight"].T + weights[f"gates.{layer}.bias"]
            gate = functional.softmax(functional.leaky_relu(scores), dim=-1)
            mixed.append(sum(gate[:, scale].view(-1, 1, 1) * chunks[scale] for scale in range(4)))
        # (batch, 4 views, hidden) each
        keys, values = torch.cat(mixed, dim=1).split(HIDDEN, dim=-1)
        pairs.append(
            tuple(half.contiguous().view(BATCH, HEADS, PREFIX, HEAD) for half in (keys, values))
        )
    return pairs


def literal_bert(model, batch, pairs, prefix_mask, shift=0):
    """Compute BERT's last states with prefix keys and values.

    The public code's copy of BERT sets ``past_key_values_length = 0`` for its position ids.
    """
    weights = model.text.model.state_dict()

    def linear(name, states):
        return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, states):
        centred = states - states.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + 1e-12).rsqrt()
        return centred * scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def heads_of(states):
        return torch.stack(states.split(HEAD, dim=-1), dim=1)  # (batch, heads, tokens, head_size)

    states = weights["embeddings.word_embeddings.weight"][batch.input_ids]
    states = states + weights["embeddings.position_embeddings.weight"][shift : shift + TOKENS]
    states = states + weights["embeddings.token_type_embeddings.weight"][batch.token_type_ids]
    states = norm("embeddings.LayerNorm", states)
    text_mask = batch.attention_mask[:, None].expand(-1, HEADS, -1)
    # (batch, heads, 1, prefix + tokens)
    is_masked = ~torch.cat([prefix_mask, text_mask], dim=-1)[:, :, None]
    for layer, (prefix_keys, prefix_values) in enumerate(pairs):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            heads_of(linear(f"{name}.attention.self.{part}", states))
            for part in ("query", "key", "value")
        )
        key, value = torch.cat([prefix_keys, key], dim=2), torch.cat([prefix_values, value], dim=2)
        scores = (query @ key.transpose(2, 3) / math.sqrt(HEAD)).masked_fill(is_masked, -math.inf)
        read = torch.cat((scores.softmax(-1) @ value).unbind(1), dim=-1)  # (batch, tokens, hidden)
        states = norm(
            f"{name}.attention.output.LayerNorm",
            states + linear(f"{name}.attention.output.dense", read),
        )
        inner = functional.gelu(linear(f"{name}.intermediate.dense", states))
        states = norm(f"{name}.output.LayerNorm", states + linear(f"{name}.output.dense", inner))
    return states


ALL = torch.ones(BATCH, HEADS, PREFIX, dtype=torch.bool)


@torch.no_grad()
def test_states_equal_those_of_the_published_code(model):
    batch = make_batch(torch.ones(BATCH, VIEWS, dtype=torch.bool))
    pairs = literal_prefix(model, batch.pixels)
    states, expected = model.encode(batch).states, literal_bert(model, batch, pairs, ALL)
    real = batch.attention_mask
    assert (states - expected)[real].abs().max() < 1e-5
    upside_down = literal_prefix(model, batch.pixels.flip(3))
    for other in (
        literal_bert(model, batch, pairs, ~ALL),
        literal_bert(model, batch, pairs, ALL, shift=PREFIX),
        literal_bert(model, batch, upside_down, ALL),
    ):
        # the prefix, the positions and the picture have an effect
        assert (states - other)[real].abs().max() > 1e-2
    gates = model.visual_prefix.gate_weights(model.encode_images(batch))
    assert gates.std(dim=-1).mean() > 1e-2


@torch.no_grad()
def test_missing_crops_are_blank_views(model):
    batch = make_batch(torch.tensor([[True, True, False], [True, False, True]]))
    pairs = literal_prefix(model, batch.pixels, missing=[(0, 2), (1, 1)])
    expected = literal_bert(model, batch, pairs, ALL)
    assert (model.encode(batch).states - expected)[batch.attention_mask].abs().max() < 1e-5


@torch.no_grad()
def test_missing_crops_can_be_masked(model, monkeypatch):
    monkeypatch.setattr(model, "missing_crops", "mask")
    view_mask = torch.tensor([[True, True, False], [True, False, True]])
    batch = make_batch(view_mask)
    prefix_mask = ALL.clone()
    for head in range(HEADS):
        for position in range(PREFIX):
            # row of the (prefix, hidden) matrix that was viewed
            row = (head * PREFIX + position) * HEAD // HIDDEN
            prefix_mask[:, head, position] = view_mask[:, row // 4]
    expected = literal_bert(model, batch, literal_prefix(model, batch.pixels), prefix_mask)
    assert (model.encode(batch).states - expected)[batch.attention_mask].abs().max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("with_pixels", [True, False])
def test_without_views_states_are_those_of_the_text(model, with_pixels):
    batch = make_batch(torch.zeros(BATCH, VIEWS, dtype=torch.bool))
    batch.pixels = batch.pixels if with_pixels else None
    nothing = torch.zeros(BATCH, HEADS, 0, HEAD)
    expected = literal_bert(model, batch, [(nothing, nothing)] * LAYERS, ALL[..., :0])
    assert (model.encode(batch).states - expected)[batch.attention_mask].abs().max() < 1e-5
