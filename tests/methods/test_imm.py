"""IMM's visual layers, switches and losses. `test_imm_equations` checks its equations."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.backbones import save_timm_folder
from helpers.methods import (
    batch_without_views,
    build_module,
    copy_state,
    distinct_instances,
    encode,
    make_batch,
    parameter_rates,
    parameters_without_gradient,
    perturb,
    random_pixels_like,
    train,
    training_loss,
)
from torch import nn
from torch.nn import functional

from mmie.methods.imm import IMM, KnowledgeSlots
from mmie.types import MmieError

POSTS, TOKENS, PATCHES, HIDDEN = 3, 5, 4, 8
INTERMEDIATE = SimpleNamespace(intermediate_act_fn=nn.GELU())

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


@pytest.fixture
def data(demo_data, tiny_bert):
    return demo_data("ner", tiny_bert)


@pytest.fixture
def batch(data):
    return make_batch(data, distinct_instances(data.instances["train"], 6))


@pytest.fixture
def build(data, tiny_bert):
    def build(perturbed=True, encoder=tiny_bert, **changes):
        module = build_module(IMM, data.schema, encoder, **{"patch_size": 16, **changes})
        return perturb(module) if perturbed else module

    return build


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_slots_start_at_0_with_scores_of_about_1():
    torch.manual_seed(0)
    slots = KnowledgeSlots(64, INTERMEDIATE)
    text = functional.layer_norm(torch.randn(20, 64), (64,))
    assert not slots(text[None], text[None], torch.ones(1, 20).bool()).any()
    assert 0.5 < (text @ slots.key(text.roll(1, 0)).T).std() < 2


def test_slot_scale_flattens_the_selection():
    torch.manual_seed(0)
    # the mean of many patches is short, a single patch has length 16
    text, pictures = functional.layer_norm(torch.randn(2, 1, 50, 256), (256,))
    lengths = []
    for scaled in (False, True):
        slots = KnowledgeSlots(256, INTERMEDIATE, scaled)
        lengths.append(slots.select(text, pictures).norm(dim=-1).mean())
    assert lengths[0] > 14
    assert lengths[1] < 8


def test_selection_under_autocast_is_that_in_float32():
    """Scores in bfloat16 would move selected vectors by up to 8 % of their length."""
    torch.manual_seed(0)
    text, pictures = functional.layer_norm(torch.randn(2, 16, 50, 256), (256,))
    slots = KnowledgeSlots(256, INTERMEDIATE)
    expected = slots.select(text, pictures)
    with torch.autocast("cpu", torch.bfloat16):
        selected = slots.select(text, pictures)
    assert (selected - expected).norm(dim=-1).max() < 0.01 * 256**0.5


def test_similarity_under_autocast_is_that_in_float32(build, batch):
    vectors = {"clip_text": random(len(batch), 9), "clip_image": random(len(batch), 9, seed=1)}
    batch = replace(batch, features={name: value.float() for name, value in vectors.items()})
    module = build(clip="clip")
    expected = module.similarity(batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.similarity(batch), expected)


def test_similarity_without_clip_is_the_identity(build, batch):
    assert torch.equal(build().similarity(batch), torch.eye(len(batch)))


def test_missing_clip_vectors_raise(build, batch):
    module = build(clip="openai/clip")
    with pytest.raises(
        MmieError,
        match=r"'openai/clip', but the batch lacks its vectors clip_text, clip_image.*null",
    ):
        training_loss(module, batch)
    only = replace(batch, features={"clip_text": random(len(batch), 3).float()})
    with pytest.raises(MmieError, match="vectors clip_image "):
        training_loss(module, only)
    assert training_loss(module, batch_without_views(batch)).isfinite()
    assert encode(module, batch).isfinite().all()


def test_clip_vectors_decide_which_pairs_match(build, batch):
    module, losses = build(clip="clip"), []
    for turn in (0, 1):
        vectors = torch.eye(len(batch))
        features = {"clip_text": vectors, "clip_image": vectors.roll(turn, 0)}
        losses.append(training_loss(module, replace(batch, features=features)))
    assert losses[0] != losses[1]
    torch.testing.assert_close(losses[0], training_loss(build(), batch))


@pytest.mark.parametrize("encoder", ["tiny_bert", "tiny_roberta"])
def test_initial_states_are_those_of_the_text_encoder(demo_data, encoder, request):
    folder = request.getfixturevalue(encoder)
    data = demo_data("re", folder)
    module = build_module(IMM, data.schema, folder, patch_size=16)
    batch = make_batch(data, distinct_instances(data.instances["train"], 6))
    with torch.no_grad():
        expected = module.encode_text(batch)
    assert torch.equal(encode(module, batch), expected)
    assert torch.equal(encode(perturb(module), batch_without_views(batch)), expected)
    assert (encode(module, batch) - expected).abs().max() > 1e-3


def test_pre_norm_changes_the_states(build, batch):
    module = build(perturbed=False, norm="pre")
    with torch.no_grad():
        assert (encode(module, batch) - module.encode_text(batch)).abs().max() > 1e-5
    deep = {**module.text.config.to_dict(), "initializer_range": 0.3}
    states = [
        encode(build(perturbed=False, encoder=deep, norm=order), batch) for order in ("pre", "post")
    ]
    assert (states[0] - states[1]).abs().max() > 0.1


def test_only_the_global_picture_has_influence(build, batch):
    module = build()
    states, noise = encode(module, batch), random_pixels_like(batch.pixels)
    crops = torch.cat([batch.pixels[:, :1], noise[:, 1:]], dim=1)
    assert torch.equal(encode(module, replace(batch, pixels=crops)), states)
    assert (encode(module, replace(batch, pixels=noise)) - states).abs().max() > 1e-3


def test_masked_pictures_have_no_influence(build, batch):
    module = build()
    batch.view_mask[1, 0] = False
    noisy = batch.pixels.clone()
    noisy[1] = random_pixels_like(noisy[1])
    assert torch.equal(encode(module, replace(batch, pixels=noisy)), encode(module, batch))
    assert torch.equal(encode(module, batch)[1], encode(module, batch_without_views(batch))[1])
    assert torch.equal(
        training_loss(module, replace(batch, pixels=noisy)), training_loss(module, batch)
    )


def test_semantic_loss_is_computed_in_training_only_and_weighted(build, batch):
    module = build(sw_weight=0.2)
    assert module.encode(batch).losses == {}
    losses = []
    for weight in (0.2, 0.4):
        torch.manual_seed(1)
        losses.append(build(sw_weight=weight).train().encode(batch).losses["sw"].item())
    assert losses[1] == pytest.approx(2 * losses[0])
    assert set(build(sw_loss=False).train().encode(batch).losses) == set()


def test_semantic_loss_of_at_most_one_picture_is_0(build, batch):
    module = build().train()
    assert module.encode(batch_without_views(batch)).losses["sw"] == 0
    batch.view_mask[1:, 0] = False
    assert module.encode(batch).losses["sw"].abs() < 1e-6


@pytest.mark.slow
def test_training_lowers_the_semantic_loss(build, batch):
    module = build(perturbed=False, sw_weight=1.0, text_lr=1e-3, fusion_lr=1e-3, dropout=0.0)

    def semantic(seed):
        module.train()
        torch.manual_seed(seed)
        with torch.no_grad():
            return module.encode(batch).losses["sw"].item()

    before = sum(map(semantic, range(3)))
    train(module, batch, steps=30)
    assert sum(map(semantic, range(3))) < 0.7 * before


def test_visual_layers_start_as_copies_and_share_attention_and_norms(build):
    deep = {**build().text.config.to_dict(), "num_hidden_layers": 4}
    module = build(perturbed=False, encoder=deep, num_shared_layers=1, freeze_text=True)
    layers, visual = module.layers, module.visual
    assert [len(visual.feed_forwards), len(visual.blocks), len(module.slots)] == [1, 3, 3]
    torch.testing.assert_close(
        visual.feed_forwards[0].intermediate.dense.weight, layers[0].intermediate.dense.weight
    )
    torch.testing.assert_close(visual.feed_forwards[0].output.weight, layers[0].output.dense.weight)
    for copied, layer in zip(visual.blocks[:-1], layers[1:3], strict=True):
        for parameter, original in zip(copied.parameters(), layer.parameters(), strict=True):
            assert torch.equal(parameter, original)
            assert parameter is not original
    assert all(parameter.requires_grad for parameter in visual.parameters())
    assert all(not parameter.requires_grad for parameter in module.text.parameters())
    module.train()
    assert all(part.training for part in visual.modules())
    shared = [name for name in module.state_dict() if ".query." in name]
    # weight and bias of 4 text layers and 3 visual blocks, as the ISA layer shares its attention
    assert len(shared) == 2 * (4 + 3)


@pytest.mark.parametrize(
    "switches", [{"sw_loss": False}, {"insert_activation": False}, {"norm": "pre"}, {}]
)
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_every_parameter_gets_a_gradient(build, batch, switches, gradient_checkpointing):
    module = build(**switches, gradient_checkpointing=gradient_checkpointing)
    training_loss(module, batch).backward()
    assert parameters_without_gradient(module) == []


@pytest.mark.parametrize("switches", [{}, {"norm": "pre"}])
def test_gradient_checkpointing_changes_no_gradient(build, batch, switches):
    modules = [build(**switches, gradient_checkpointing=value) for value in (False, True)]
    for module in modules:
        training_loss(module, batch).backward()
    for (name, p), (_, q) in zip(*(module.named_parameters() for module in modules), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=name)


def test_training_step_without_pictures_gives_every_parameter_a_gradient(build, batch):
    module = build()
    training_loss(module, batch_without_views(batch)).backward()
    assert [name for name, p in module.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_without_insert_activation_states_are_those_of_the_text_encoder(build, batch):
    for switches in ({"insert_activation": False}, {"insert_activation": False, "sw_loss": False}):
        module = build(**switches)
        with torch.no_grad():
            assert torch.equal(encode(module, batch), module.encode_text(batch))
        assert training_loss(module, batch).isfinite()
    assert module.visual is None
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"text", "head"}


def test_visual_layers_train_at_the_text_rate(build):
    module = build(text_lr=1e-5, fusion_lr=1e-4, head_lr=1e-3)
    rates = parameter_rates(module)
    expected = {"text": 1e-5, "visual": 1e-5, "slots": 1e-4, "head": 1e-3}
    assert all(rates[p] == expected[name.split(".")[0]] for name, p in module.named_parameters())


def test_bfloat16_autocast_of_a_batch_of_one(build, data, batch):
    module = build().train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(batch, 0)
        alone = module.training_step(
            make_batch(data, distinct_instances(data.instances["train"], 1)), 0
        )
    (loss + alone).backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "middle"}, "norm is 'middle', expected post or pre"),
        ({"matching": "sum"}, "matching is 'sum', expected cosine, dot, projection"),
        ({"temperature": 0.0}, "temperature is 0.0, expected above 0"),
        (
            {"num_shared_layers": 0},
            "num_shared_layers is 0, the text encoder has 2 layers: expected 1 to 1",
        ),
        ({"num_shared_layers": 2}, "num_shared_layers is 2"),
        ({"patch_size": 24}, "pictures are 64 pixels wide, patch_size is 24: it must divide them"),
        ({"patch_size": 0}, "patch_size is 0"),
        (
            {"encoder": {"model_type": "distilbert", "dim": 16, "n_heads": 2, "n_layers": 2}},
            "use one of the BERT",
        ),
    ],
)
def test_invalid_arguments_raise(build, changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_module_can_be_rebuilt_without_the_vit_folder(build, data, tmp_path):
    save_timm_folder(tmp_path, "test_vit")
    module = build()
    module.visual.patches._load(str(tmp_path))
    arguments = module.rebuild_args()
    assert arguments["patch_embedding"] is None
    again = IMM(data.schema, **{"patch_size": 16, "pretrained": False, **arguments})
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.visual.patches.mean, module.visual.patches.mean)
    assert copy_state(again).keys() == copy_state(module).keys()


def test_clip_vectors_of_several_pictures_are_averaged(data, tiny_bert, batch):
    """The mean is that of unit vectors of readable pictures."""
    schema = replace(data.schema, num_images=2)
    module = build_module(IMM, schema, tiny_bert, patch_size=16, clip="clip")
    assert [spec.num_images for spec in module.feature_specs()] == [1, 2]
    texts, pictures = random(len(batch), 9).float(), random(len(batch), 2, 9, seed=1).float()
    mask = batch.view_mask.clone()
    mask[:, :2] = True
    mask[0, 1] = mask[1, 0] = mask[2, 0] = mask[2, 1] = False
    features = {"clip_text": texts, "clip_image": pictures}
    similarity = module.similarity(replace(batch, view_mask=mask, features=features))
    for post in range(len(batch)):
        vectors = functional.normalize(pictures[post, mask[post, :2]], dim=-1)
        for text in range(len(batch)):
            expected = 0.0
            if len(vectors):
                mean = vectors.mean(0)
                expected = functional.cosine_similarity(texts[text], mean, dim=0).relu().item()
            assert similarity[text, post].item() == pytest.approx(expected, abs=1e-5)
