import copy
import json

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from mmie.blocks.errors import EncoderUnsuited, WeightsUnavailable
from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.text_encoder import TextEncoder, unavailable_line

LAYERS, HEADS, HEAD, TOKENS = 2, 2, 4, 6
SHAPE = {
    "hidden_size": HEADS * HEAD,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 12,
    "vocab_size": 30,
    "max_position_embeddings": 16,
}
FAMILIES = {
    "bert": {"model_type": "bert", **SHAPE},
    "roberta": {"model_type": "roberta", "type_vocab_size": 1, **SHAPE},
    "xlm-roberta": {"model_type": "xlm-roberta", "type_vocab_size": 1, **SHAPE},
}
BERT = FAMILIES["bert"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def config_of(settings):
    return AutoConfig.for_model(**settings)


def save(folder, settings=BERT, dtype=torch.float32):
    """A folder with weights as transformers saves them, and the model that they are of."""
    torch.manual_seed(7)
    model = AutoModel.from_config(config_of(settings)).to(dtype).eval()
    model.save_pretrained(folder)
    return model


def text(tokens=TOKENS, batch=2, segments=0):
    ids = torch.randint(5, 30, (batch, tokens), generator=torch.Generator().manual_seed(0))
    return ids, torch.ones_like(ids, dtype=torch.bool), torch.full_like(ids, segments)


def make_prefix(layers=LAYERS, heads=HEADS, size=HEAD, length=3):
    return Prefix(*torch.randn(2, layers, 2, heads, length, size))


@pytest.mark.parametrize("kind", [str, lambda folder: folder], ids=["str", "Path"])
def test_folder_with_weights(tmp_path, family, kind):
    saved = save(tmp_path, FAMILIES[family])
    encoder = TextEncoder(kind(tmp_path))
    for name, weight in encoder.model.state_dict().items():
        assert torch.equal(weight, saved.state_dict()[name]), name
    ids, mask, segments = text()
    expected = saved(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(encoder.eval()(ids, mask, segments), expected)


def test_folder_with_a_configuration_only(tmp_path, family):
    config_of(FAMILIES[family]).save_pretrained(tmp_path)
    encoder = TextEncoder(str(tmp_path), pretrained=False)
    assert encoder.config.model_type == family
    assert (encoder.hidden_size, encoder.num_layers, encoder.num_heads) == (
        HEADS * HEAD,
        LAYERS,
        HEADS,
    )
    assert encoder(*text()).shape == (2, TOKENS, HEADS * HEAD)


def test_not_pretrained_ignores_weights_in_the_folder(tmp_path):
    saved = save(tmp_path)
    encoder = TextEncoder(tmp_path, pretrained=False)
    name = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(encoder.model.state_dict()[name], saved.state_dict()[name])


def test_mapping_is_left_as_it_is(family):
    settings = copy.deepcopy(FAMILIES[family])
    encoder = TextEncoder(settings, pretrained=False)
    assert settings == FAMILIES[family]
    assert encoder.config.model_type == family
    assert encoder(*text()).shape == (2, TOKENS, HEADS * HEAD)


def test_own_configuration_builds_the_same_network(tmp_path, family):
    save(tmp_path, FAMILIES[family])
    encoder = TextEncoder(tmp_path, vocab_size=34).eval()
    settings = json.loads(json.dumps(encoder.config.to_dict()))
    again = TextEncoder(settings, pretrained=False, vocab_size=34).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(*text()), encoder(*text()))


@pytest.mark.parametrize("pretrained", [True, False])
def test_weights_are_float32_whatever_was_published(tmp_path, pretrained):
    save(tmp_path, dtype=torch.bfloat16)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    encoder = TextEncoder(tmp_path, pretrained)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    mapping = TextEncoder({**BERT, "dtype": "float16"}, pretrained=False)
    assert {parameter.dtype for parameter in mapping.parameters()} == {torch.float32}


@pytest.mark.parametrize("build", [lambda f: TextEncoder(f), lambda f: TextEncoder(f, False)])
def test_it_starts_in_training_mode(tmp_path, build):
    save(tmp_path)
    encoder = build(tmp_path)
    assert all(module.training for module in encoder.modules())
    assert not any(module.training for module in encoder.eval().modules())


@pytest.mark.parametrize(
    ("mapping", "pretrained", "says"),
    [
        (BERT, True, "pretrained: false"),
        ({"hidden_size": 8}, False, "needs a model_type"),
        ({}, False, "needs a model_type"),
        ({"model_type": "nosuch"}, False, "model_type 'nosuch'.*transformers does not know"),
    ],
)
def test_wrong_mapping(mapping, pretrained, says):
    with pytest.raises(ValueError, match=says) as caught:
        TextEncoder(mapping, pretrained)
    assert_short_line(caught.value)


def assert_short_line(error):
    assert "\n" not in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize(
    "source", ["no-such-model", "nobody/no-such-model", "/no/such/folder", "./no/such/folder"]
)
def test_unreachable_source(source, pretrained):
    with pytest.raises(
        WeightsUnavailable, match=rf"text encoder '{source}'.*name a folder.*pretrained: false"
    ) as caught:
        TextEncoder(source, pretrained)
    assert_short_line(caught.value)
    assert str(caught.value) == unavailable_line("text encoder", source, pretrained)


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def nothing_at_all(folder):
    for file in folder.iterdir():
        file.unlink()


def cut_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])


def no_config(folder):
    (folder / "config.json").unlink()


def broken_config(folder):
    (folder / "config.json").write_text("{")


def other_width(folder):
    edit_config(folder, hidden_size=16)


def unknown_type(folder):
    edit_config(folder, model_type="nosuch")


def edit_config(folder, **changes):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, **changes}))


DAMAGES = [
    no_weights,
    nothing_at_all,
    cut_weights,
    no_config,
    broken_config,
    other_width,
    unknown_type,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_folder_that_cannot_be_read(tmp_path, damage):
    save(tmp_path)
    damage(tmp_path)
    with pytest.raises(
        WeightsUnavailable, match=r"the folder holds no model.*config\.json and model\.safetensors"
    ) as e:
        TextEncoder(tmp_path)
    assert str(tmp_path) in str(e.value)
    assert_short_line(e.value)


@pytest.mark.parametrize("damage", [nothing_at_all, no_config, broken_config, unknown_type])
def test_configuration_that_cannot_be_read(tmp_path, damage):
    save(tmp_path)
    damage(tmp_path)
    with pytest.raises(WeightsUnavailable, match=r"needed: config\.json;"):
        TextEncoder(tmp_path, pretrained=False)


def test_weights_of_another_model_are_refused(tmp_path):
    save(tmp_path, {**BERT, "num_hidden_layers": 1})
    edit_config(tmp_path, num_hidden_layers=2)
    with pytest.raises(
        WeightsUnavailable, match=r"lack 16 tensors, among them encoder\.layer\.1\."
    ) as caught:
        TextEncoder(tmp_path)
    assert_short_line(caught.value)


def test_weights_without_pooler_are_whole(tmp_path, family):
    model = AutoModel.from_config(config_of(FAMILIES[family]), add_pooling_layer=False)
    model.save_pretrained(tmp_path)
    assert torch.equal(
        TextEncoder(tmp_path).model.state_dict()["embeddings.LayerNorm.weight"], torch.ones(8)
    )


@pytest.mark.parametrize("source", ["folder", "mapping"])
def test_no_pooler(tmp_path, family, source):
    save(tmp_path, FAMILIES[family])
    encoder = (
        TextEncoder(tmp_path)
        if source == "folder"
        else TextEncoder(FAMILIES[family], pretrained=False)
    )
    assert not [name for name, _ in encoder.named_parameters() if "pooler" in name]
    encoder(*text()).square().sum().backward()
    assert not [name for name, parameter in encoder.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(("asked", "rows"), [(None, 30), (4, 30), (30, 30), (31, 31), (37, 37)])
def test_embedding_grows_and_never_shrinks(tmp_path, family, asked, rows):
    saved = save(tmp_path, FAMILIES[family])
    encoder = TextEncoder(tmp_path, vocab_size=asked)
    embedding = encoder.model.get_input_embeddings()
    assert embedding.weight.shape[0] == encoder.config.vocab_size == rows
    assert torch.equal(embedding.weight[:30], saved.get_input_embeddings().weight)
    assert embedding.padding_idx == encoder.config.pad_token_id
    assert embedding.weight.requires_grad
    states = encoder(
        torch.full((1, 2), rows - 1), torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2).long()
    )
    assert states.isfinite().all()


def test_segments_are_for_encoders_that_know_two(family):
    encoder = TextEncoder(FAMILIES[family], pretrained=False).eval()
    same = torch.equal(encoder(*text(segments=0)), encoder(*text(segments=1)))
    assert same == (family != "bert")


def test_segments_reach_bert():
    encoder = TextEncoder(BERT, pretrained=False).eval()
    ids, mask, segments = text()
    segments[:, 3:] = 1
    expected = encoder.model(
        input_ids=ids, attention_mask=mask, token_type_ids=segments
    ).last_hidden_state
    assert torch.equal(encoder(ids, mask, segments), expected)


def test_positions_are_counted_right(family):
    encoder = TextEncoder(FAMILIES[family], pretrained=False).eval()
    most = encoder.max_positions
    assert most == (16 if family == "bert" else 14)
    assert encoder(*text(most)).isfinite().all()
    ids, mask, segments = text(most + 1)
    with pytest.raises((IndexError, RuntimeError)):  # transformers' own word for it
        encoder.model(input_ids=ids, attention_mask=mask)
    with pytest.raises(
        ValueError, match=rf"up to {most + 1}, text encoder has {most}: lower data.max_tokens"
    ):
        encoder(ids, mask, segments)


def test_shifted_positions_are_counted_too(family):
    encoder = TextEncoder(FAMILIES[family], pretrained=False).eval()
    shift = encoder.max_positions - TOKENS
    assert encoder(*text(), position_shift=shift).isfinite().all()
    with pytest.raises(ValueError, match=f"up to {encoder.max_positions + 1}"):
        encoder(*text(), position_shift=shift + 1)


@pytest.mark.parametrize(
    "wrong", [{"layers": 3}, {"heads": 1}, {"size": 5}, {"heads": 1, "size": 8}]
)
def test_prefix_for_another_encoder(wrong):
    encoder = TextEncoder(BERT, pretrained=False)
    theirs = tuple({"layers": LAYERS, "heads": HEADS, "size": HEAD, **wrong}.values())
    with pytest.raises(ValueError, match="prefix has") as caught:
        encoder(*text(), make_prefix(**wrong))
    assert f"= {(LAYERS, HEADS, HEAD)}" in str(caught.value)
    assert f"prefix has {theirs}" in str(caught.value)
    assert_short_line(caught.value)


UNREADING = ["mpnet", "deberta", "deberta-v2", "distilbert", "albert", "big_bird"]
"""Types that read no prefix: written before the attention interface, or without numbers on their layers."""


@pytest.mark.parametrize("model_type", UNREADING)
def test_encoder_that_would_drop_the_prefix(model_type):
    encoder = TextEncoder({**BERT, "model_type": model_type}, pretrained=False)
    assert encoder(*text()).isfinite().all()
    sizes = (encoder.num_layers, encoder.num_heads, encoder.hidden_size // encoder.num_heads)
    for refused in (encoder.check_reads_prefix, lambda: encoder(*text(), make_prefix(*sizes))):
        with pytest.raises(
            EncoderUnsuited, match=f"'{model_type}' hands no prefix on to its layers"
        ) as caught:
            refused()
        assert_short_line(caught.value)


READING = ["electra", "camembert", "ernie", "modernbert"]


@pytest.mark.parametrize("model_type", READING)
def test_other_encoders_with_the_attention_interface(model_type):
    encoder = TextEncoder(
        {**BERT, "model_type": model_type, "pad_token_id": 0}, pretrained=False
    ).eval()
    assert not torch.allclose(encoder(*text(), make_prefix()), encoder(*text()), atol=1e-4)


@pytest.mark.parametrize("model_type", ["bert", "roberta", *READING, *UNREADING])
def test_padding_is_hidden_in_encoders_of_every_type(model_type):
    """The mask suits the attention: one that is added to the scores must not be boolean."""
    encoder = TextEncoder(
        {**BERT, "model_type": model_type, "pad_token_id": 0}, pretrained=False
    ).eval()
    ids, mask, segments = text()
    mask[1, 4:] = False
    other = torch.where(mask, ids, 7)
    states = encoder(ids, mask, segments)
    assert torch.equal(encoder(other, mask, segments)[mask], states[mask])
    assert not torch.allclose(
        encoder(ids, torch.ones_like(mask), segments)[1, :4], states[1, :4], atol=1e-7
    )


@pytest.mark.parametrize("model_type", ["mpnet", "albert"])
def test_encoder_that_cannot_recompute_its_activations(model_type):
    with pytest.raises(
        EncoderUnsuited, match=f"'{model_type}' cannot recompute.*gradient_checkpointing: false"
    ) as e:
        TextEncoder(
            {**BERT, "model_type": model_type}, pretrained=False, gradient_checkpointing=True
        )
    assert_short_line(e.value)


def test_frozen_encoder_stays_frozen():
    encoder = TextEncoder(BERT, pretrained=False, frozen=True)
    parent = nn.Sequential(encoder)
    for act in (lambda: None, encoder.train, parent.train, parent.eval):
        act()
        assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder(*text()).requires_grad
    keys, values = make_prefix().keys, make_prefix().values.requires_grad_()
    encoder(*text(), Prefix(keys, values))[..., 0].sum().backward()
    assert values.grad.ne(0).flatten(1).any(1).all()
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_frozen_encoder_may_grow():
    encoder = TextEncoder(BERT, pretrained=False, vocab_size=40, frozen=True)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
