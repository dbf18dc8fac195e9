"""What holds for every method and both tasks. A new method is one row of `METHODS`."""

import shutil
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import torch
from helpers.methods import (
    batch_without_views,
    build_data,
    build_module,
    build_trainer,
    copy_state,
    distinct_instances,
    encode,
    equal_states,
    instance_without_views,
    make_batch,
    perturb,
    random_pixels_like,
    task_loss,
    train,
    training_loss,
)
from torch import nn

from mmie.methods import DGHC, IMM, RAP, HVPNet, MLNet, RSRNeT, TextOnly
from mmie.methods.loading import load_method
from mmie.types import Encoding

pytestmark = pytest.mark.filterwarnings(
    "ignore:You are trying to `self.log", "ignore:.*in eval mode"
)

TINY = {"vision_backbone": "test_resnet"}


@dataclass(frozen=True)
class Case:
    """A method, small.

    Attributes:
        method: The class.
        arguments: What makes it small.
        encoder: Fixture that gives the text encoder's folder.
        pretrained: Parts that train at ``text_lr``.
        head: Parts that train at ``head_lr``.
        frozen: Parts that are frozen by default.
        crops: Whether it looks at crops.
        sees: Whether it looks at pictures at all.
        width: Width of the states.
        fixed_views: Why the number of views, masked ones included, is part of the computation; "" if it is not.
    """

    method: type
    arguments: dict = field(default_factory=dict)
    encoder: str = "tiny_bert"
    pretrained: tuple = ("text", "vision")
    head: tuple = ("head",)
    frozen: tuple = ("vision",)
    crops: bool = True
    sees: bool = True
    width: int = 64
    fixed_views: str = ""


METHODS = {
    "text_only": Case(TextOnly, pretrained=("text",), frozen=(), crops=False, sees=False),
    "hvpnet": Case(HVPNet, TINY),
    "hvpnet_reference": Case(
        HVPNet,
        {**TINY, "variant": "reference"},
        fixed_views="it reads the views of all posts in the memory order of the public code",
    ),
    "rsrnet": Case(RSRNeT, TINY, "tiny_roberta"),
    "rap": Case(RAP, {**TINY, "num_fusion_layers": 2, "prompt_length": 4}),
    "dghc": Case(
        DGHC,
        {"vision_backbone": "test_vit", "prompt_dim": 16},
        frozen=(),
        fixed_views="its gates have a weight for every place of a view",
    ),
    "imm": Case(IMM, {"patch_size": 16}, pretrained=("text", "visual"), frozen=(), crops=False),
    "mlnet": Case(
        MLNet,
        {**TINY, "fusion_layers": 1, "lstm_size": 32, "lstm_dropout": 0.0},
        head=("head", "bilstm"),
    ),
}
TASKS = ["ner", "re"]
RATES = {"text_lr": 1e-3, "fusion_lr": 2e-3, "head_lr": 3e-3}


@pytest.fixture(params=[f"{name}-{task}" for name in METHODS for task in TASKS])
def setting(request, demo_data):
    """A method and a task: its data, its modules (`build`) and its batches (`batch`)."""
    name, task = request.param.split("-")
    case = METHODS[name]
    encoder = request.getfixturevalue(case.encoder)
    data = demo_data(task, encoder)

    def build(stirred=True, **changes):
        module = build_module(
            case.method, data.schema, **{"encoder": encoder, **case.arguments, **changes}
        )
        return perturb(module) if stirred else module

    posts = distinct_instances(data.instances["train"], 8)
    return SimpleNamespace(
        name=name,
        task=task,
        case=case,
        data=data,
        encoder=encoder,
        build=build,
        posts=posts,
        batch=make_batch(data, posts),
    )


def frozen_parts(setting, module):
    """What stays as it is where the text encoder is frozen, too."""
    return [module.text, *(getattr(module, part) for part in setting.case.frozen)]


def is_key_bias(name):
    """A key's bias adds the same to all scores of a query, so that its gradient is 0 but for rounding."""
    return name.endswith("key.bias")


def test_posts_are_fit_for_these_tests(setting):
    lengths = {len(post) for post in setting.posts}
    assert len(setting.posts) == 8
    assert len(lengths) > 2
    assert 8 < setting.batch.view_mask.sum() < setting.batch.view_mask.numel()


def test_states_are_as_wide_as_the_text_encoder_and_the_loss_is_a_finite_number(setting):
    module = setting.build()
    encoding = module.encode(setting.batch)
    assert isinstance(encoding, Encoding)
    assert encoding.states.shape == (*setting.batch.input_ids.shape, setting.case.width)
    assert all(loss.shape == () and loss.isfinite() for loss in encoding.losses.values())
    loss = training_loss(module, setting.batch)
    assert loss.shape == ()
    assert loss.isfinite()


def test_the_loss_is_the_mean_of_the_task_plus_the_methods_own(setting):
    module = setting.build()
    module.train()
    torch.manual_seed(3)
    encoding = module.encode(setting.batch)
    expected = module.head.loss(encoding.states, setting.batch).sum() / 8 + sum(
        encoding.losses.values()
    )
    torch.testing.assert_close(training_loss(module, setting.batch, seed=3), expected)


def test_forward_answers_every_post_in_order(setting):
    predictions = setting.build()(setting.batch)
    assert [prediction.id for prediction in predictions] == [post.post.id for post in setting.posts]
    labels = set(setting.data.schema.labels)
    for prediction, post in zip(predictions, setting.posts, strict=True):
        assert {entity.type for entity in prediction.entities} <= labels
        assert all(0 <= e.start < e.end <= len(post.post.words) for e in prediction.entities)
        assert {relation.label for relation in prediction.relations} <= labels
        asked = [] if post.relation is None else [(post.relation.head, post.relation.tail)]
        assert [(relation.head, relation.tail) for relation in prediction.relations] == asked


def test_every_trainable_parameter_gets_a_gradient(setting):
    module = setting.build()
    training_loss(module, setting.batch).backward()
    missing = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    dead = [name for name, p in module.named_parameters() if p.requires_grad and not p.grad.any()]
    assert [name for name in dead if not is_key_bias(name)] == []
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.requires_grad)


def test_what_is_frozen_is_the_backbone_by_default_and_the_text_if_asked(setting):
    module = setting.build()
    frozen = {name.split(".")[0] for name, p in module.named_parameters() if not p.requires_grad}
    assert frozen == set(setting.case.frozen)
    module = setting.build(freeze_text=True)
    training_loss(module, setting.batch).backward()
    assert all(p.grad is None for part in frozen_parts(setting, module) for p in part.parameters())
    still = ("text", *setting.case.frozen)
    trained = [
        (name, p) for name, p in module.named_parameters() if name.split(".")[0] not in still
    ]
    assert all(p.requires_grad and p.grad is not None for _, p in trained)
    assert [name for name, p in trained if not p.grad.any() and not is_key_bias(name)] == []


def test_every_trainable_parameter_is_in_exactly_one_group_with_its_rate(setting):
    module = setting.build(**RATES)
    placed = {}
    for group in module.parameter_groups():
        for parameter in group["params"]:
            assert parameter not in placed
            placed[parameter] = group["lr"]
    names = dict(module.named_parameters())
    assert set(placed) == {p for p in names.values() if p.requires_grad}
    rates = {
        **dict.fromkeys(setting.case.pretrained, 1e-3),
        **dict.fromkeys(setting.case.head, 3e-3),
    }
    for name, parameter in names.items():
        if parameter.requires_grad:
            assert placed[parameter] == rates.get(name.split(".")[0], 2e-3), name
    assert (
        sum(name.startswith(("head.classifier.", "head.crf.", "head.emission.")) for name in names)
        >= 2
    )


def test_weights_decay_but_biases_norms_and_embeddings_do_not(setting):
    module = setting.build(weight_decay=0.05)
    decays = {
        p: group["weight_decay"] for group in module.parameter_groups() for p in group["params"]
    }
    norms_and_embeddings = nn.LayerNorm | nn.BatchNorm2d | nn.GroupNorm | nn.Embedding
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.requires_grad:
                spared = isinstance(part, norms_and_embeddings) or parameter.ndim < 2
                spared |= name in {"cls_token", "pos_embed"}  # a ViT's embeddings
                assert decays[parameter] == (0.0 if spared else 0.05), (part, name)


def test_every_trainable_parameter_changes_in_a_step(setting):
    module = setting.build(**RATES)
    before = copy_state(module)
    train(module, setting.batch, steps=1)
    after = copy_state(module)
    still = [
        name
        for name, p in module.named_parameters()
        if p.requires_grad and torch.equal(before[name], after[name])
    ]
    assert [name for name in still if not is_key_bias(name)] == []


def test_what_is_frozen_does_not_move(setting):
    module = setting.build(freeze_text=True, **RATES)
    before = [copy_state(part) for part in frozen_parts(setting, module)]
    train(module, setting.batch, steps=3)
    module.train()
    assert module.training
    parts = frozen_parts(setting, module)
    assert not any(part.training for frozen in parts for part in frozen.modules())
    assert all(equal_states(old, copy_state(part)) for old, part in zip(before, parts, strict=True))


def test_a_masked_views_pixels_change_nothing(setting):
    module, batch = setting.build(), setting.batch
    states = encode(module, batch)
    noise = torch.where(
        batch.view_mask[..., None, None, None], batch.pixels, random_pixels_like(batch.pixels)
    )
    noisy = make_batch(setting.data, setting.posts, pixels=noise)
    assert not torch.equal(noisy.pixels, batch.pixels)
    assert torch.equal(encode(module, noisy), states)
    torch.testing.assert_close(
        training_loss(module, noisy), training_loss(module, batch), rtol=0, atol=0
    )


def test_a_masked_view_is_as_if_it_were_not_there(setting):
    if setting.case.fixed_views:
        pytest.skip(setting.case.fixed_views)
    posts = [post for post in setting.posts if sum(view is not None for view in post.views) == 2]
    batch = make_batch(setting.data, posts)
    trimmed = replace(batch, pixels=batch.pixels[:, :2], view_mask=batch.view_mask[:, :2])
    module = setting.build()
    assert len(posts) > 1
    torch.testing.assert_close(encode(module, trimmed), encode(module, batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("view", [0, 1], ids=["picture", "crop"])
def test_a_readable_views_pixels_change_its_posts_states_and_no_other(setting, view):
    module, batch = setting.build().double(), setting.batch
    states = encode(module, batch)
    pixels = batch.pixels.clone()
    pixels[2, view] = random_pixels_like(pixels[2, view])
    assert batch.view_mask[2, view]
    changed = (
        (encode(module, make_batch(setting.data, setting.posts, pixels=pixels)) - states)
        .abs()
        .amax(dim=2)
    )
    real = batch.attention_mask
    if not (setting.case.sees if view == 0 else setting.case.crops):
        assert changed.max() == 0
        return
    assert (changed[2][real[2]] > 1e-9).all()
    others = [row for row in range(8) if row != 2]
    assert changed[others].max() < 1e-12


def test_a_posts_result_does_not_depend_on_its_batch(setting):
    posts = [instance_without_views(setting.posts[0]), *setting.posts[1:]]
    module, batch = setting.build(), make_batch(setting.data, posts)
    states, predictions = encode(module, batch), module(batch)
    with torch.no_grad():
        losses = module.head.loss(states, batch)
    for row, post in enumerate(posts):
        alone = make_batch(setting.data, [post])
        length = alone.input_ids.shape[1]
        expected = encode(module, alone)
        torch.testing.assert_close(states[row : row + 1, :length], expected, rtol=0, atol=1e-5)
        assert module(alone) == predictions[row : row + 1]
        torch.testing.assert_close(
            module.head.loss(expected, alone)[0], losses[row], rtol=1e-5, atol=1e-5
        )
    assert min(map(len, posts)) < batch.input_ids.shape[1]


def test_posts_without_any_picture_give_finite_results_and_gradients(setting):
    module, bare = setting.build(), batch_without_views(setting.batch)
    assert encode(module, bare).isfinite().all()
    assert len(module(bare)) == 8
    training_loss(module, bare).backward()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)
    noisy = make_batch(setting.data, setting.posts, view_mask=bare.view_mask)
    assert torch.equal(encode(module, noisy), encode(module, bare))


def test_a_batch_of_one(setting):
    module, one = setting.build(), make_batch(setting.data, setting.posts[:1])
    training_loss(module, one).backward()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)
    assert len(module(one)) == 1


def test_overfits_eight_posts(setting):
    module = setting.build(stirred=False, text_lr=2e-3, fusion_lr=2e-3, head_lr=2e-2, dropout=0.0)
    start = task_loss(module, setting.batch)
    train(module, setting.batch, steps=45)
    assert task_loss(module, setting.batch) < 0.1 * start
    predictions = module(setting.batch)
    if setting.task == "ner":
        assert [prediction.entities for prediction in predictions] == [
            post.post.entities for post in setting.posts
        ]
    else:
        assert [prediction.relations[0] for prediction in predictions] == [
            post.relation for post in setting.posts
        ]


def test_the_same_seed_gives_the_same_module(setting):
    first, second, other = (setting.build(seed=seed, **RATES) for seed in (1, 1, 2))
    for module in (first, second, other):
        train(module, setting.batch, steps=2)
    assert equal_states(copy_state(first), copy_state(second))
    assert not equal_states(copy_state(first), copy_state(other))


def test_gradient_checkpointing_changes_neither_loss_nor_gradient(setting):
    plain, thrifty = setting.build(), setting.build(gradient_checkpointing=True)
    assert any(
        getattr(part, "gradient_checkpointing", False) for part in thrifty.text.model.modules()
    )
    losses = [training_loss(module, setting.batch) for module in (plain, thrifty)]
    torch.testing.assert_close(losses[0], losses[1])
    for module, loss in zip((plain, thrifty), losses, strict=True):
        assert module.text.training
        loss.backward()
    for (name, p), (_, q) in zip(plain.named_parameters(), thrifty.named_parameters(), strict=True):
        if p.requires_grad:
            torch.testing.assert_close(p.grad, q.grad, msg=name)


def test_a_checkpoint_alone_gives_the_same_answers(setting, demo_root, tmp_path):
    encoder = tmp_path / "encoder"
    shutil.copytree(setting.encoder, encoder)
    module = setting.build(encoder=str(encoder), **RATES)
    frozen = [copy_state(getattr(module, part)) for part in setting.case.frozen]
    trainer = build_trainer(tmp_path, max_steps=3, limit_val_batches=1)
    trainer.fit(module, build_data(demo_root, setting.task, str(encoder)))
    trainer.save_checkpoint(tmp_path / "module.ckpt")
    shutil.rmtree(encoder)
    plain = torch.load(tmp_path / "module.ckpt", weights_only=True)
    assert {"mmie", "state_dict", "MultimodalDataModule"} <= plain.keys()
    loaded = load_method(tmp_path / "module.ckpt")
    assert type(loaded) is setting.case.method
    assert not loaded.training
    assert torch.equal(encode(loaded, setting.batch), encode(module, setting.batch))
    assert loaded(setting.batch) == module(setting.batch)
    assert all(
        equal_states(copy_state(getattr(loaded, part)), old)
        for part, old in zip(setting.case.frozen, frozen, strict=True)
    )
