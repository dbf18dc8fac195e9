"""What each method says of itself: against literal versions, and that looking changes nothing."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.methods import (
    batch_without_views,
    build_module,
    copy_state,
    distinct_instances,
    equal_states,
    instance_without_views,
    make_batch,
    perturb,
)
from test_contract import METHODS, TASKS
from torch.nn import functional
from transformers import AttentionInterface

from mmie.blocks.prefix_attention import PREFIX_ATTENTION, prefix_attention, watch_prefixes
from mmie.methods import MLNetPretraining
from mmie.methods.inspection import inspecting, without_view
from mmie.methods.mlnet_pretraining import PredictionUnsupported
from mmie.tags import entities_to_tags, tag_names

OWN = {
    "text_only": {},
    "hvpnet": {"gates": "blvs", "prefix_mass": "blwv"},
    "hvpnet_reference": {"gates": "blvs", "prefix_mass": "blwv"},
    "rsrnet": {"gates": "blvs", "prefix_mass": "blwv"},
    "rap": {
        "relevance": "b",
        "routing": "bfuu",
        "paths": "bfuu",
        "unprompted": "brc",
        "prompt_mass": "blwp",
    },
    "dghc": {"gates": "blv", "correlation": "bd", "prefix_mass": "blwv"},
    "imm": {"learned_similarity": "bb"},
    "mlnet": {"match": "b"},
}
"""By method, what it gives beside what all give, and the axes."""
ALL = {"view_support": "bv", "view_change": "bv", "representation": "brc"}


@pytest.fixture
def make(request, demo_data):
    """Builds a method for a task: its module, data, instances and batch."""

    def make(name, task="ner", **changes):
        case = METHODS[name]
        encoder = request.getfixturevalue(case.encoder)
        data = demo_data(task, encoder)
        arguments = {"encoder": encoder, **case.arguments, **changes}
        module = perturb(build_module(case.method, data.schema, **arguments))
        posts = distinct_instances(data.instances["train"], 5)
        posts[3] = instance_without_views(posts[3])
        return SimpleNamespace(module=module, data=data, posts=posts, batch=make_batch(data, posts))

    return make


@pytest.fixture(params=[f"{name}-{task}" for name in METHODS for task in TASKS])
def setting(request, make):
    name, task = request.param.split("-")
    return SimpleNamespace(name=name, task=task, **vars(make(name, task)))


def less(setting, view):
    """The batch made of instances that lack a view."""
    posts = [
        replace(post, views=(*post.views[:view], None, *post.views[view + 1 :]))
        for post in setting.posts
    ]
    return make_batch(setting.data, posts)


def log_probability(module, batch, predictions):
    """Of each answer, by the head's own scores."""
    schema = module.schema
    with torch.no_grad():
        states = module.encode(batch).states
        if batch.markers is not None:
            chosen = [
                schema.labels.index(prediction.relations[0].label) for prediction in predictions
            ]
            return module.head.logits(states, batch).log_softmax(-1)[range(len(batch)), chosen]
        ids = {tag: place for place, tag in enumerate(tag_names(schema.labels, schema.tag_scheme))}
        words = batch.word_mask.shape[1]
        spelled = [
            entities_to_tags(prediction.entities, words, schema.tag_scheme)
            for prediction in predictions
        ]
        tags = torch.tensor([[ids[tag] for tag in row] for row in spelled])
        return -module.head.crf.loss(module.head.emissions(states, batch), tags, batch.word_mask)


def test_every_method_gives_what_its_docstring_says_in_these_shapes(setting):
    found, batch, text = setting.module.diagnose(setting.batch), setting.batch, setting.module.text
    sizes = {"b": 5, "v": batch.view_mask.shape[1], "l": text.num_layers, "d": text.hidden_size}
    sizes |= {
        "w": batch.word_mask.shape[1],
        "s": 4,
        "p": 4,
        "f": 2,
        "u": 3,
    }  # scales, prompt, layers and units of RAP
    sizes["r"] = sizes["w"] if setting.task == "ner" else 1
    sizes["c"] = found["representation"].shape[-1]
    expected = {**ALL, **OWN.get(setting.name, {})}
    assert {name: tuple(values.shape) for name, values in found.items()} == {
        name: tuple(sizes[axis] for axis in axes) for name, axes in expected.items()
    }
    assert all(values.isfinite().all() and not values.requires_grad for values in found.values())
    assert found["representation"].shape[-1] in (
        METHODS[setting.name].width,
        2 * METHODS[setting.name].width,
    )


def test_looking_changes_nothing(setting):
    module, batch = setting.module, setting.batch
    module.train()
    module.head.eval()
    modes = [part.training for part in module.modules()]
    weights, generator, mask = copy_state(module), torch.get_rng_state(), batch.view_mask.clone()
    first, second = module.diagnose(batch), module.diagnose(batch)
    assert [part.training for part in module.modules()] == modes
    assert equal_states(copy_state(module), weights)
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(batch.view_mask, mask)
    assert all(torch.equal(values, second[name]) for name, values in first.items())
    assert AttentionInterface._global_mapping[PREFIX_ATTENTION] is prefix_attention
    module.eval()
    predictions = module(batch)
    module.diagnose(batch)
    assert module(batch) == predictions
    assert torch.is_grad_enabled()


def test_leaving_a_view_out_is_answering_the_posts_that_lack_it(setting):
    module, batch = setting.module, setting.batch
    found, predictions = module.diagnose(batch), module(batch)
    with torch.no_grad():
        states = module.encode(batch).states
    for view in range(batch.view_mask.shape[1]):
        lacking = less(setting, view)
        support = log_probability(module, batch, predictions) - log_probability(
            module, lacking, predictions
        )
        torch.testing.assert_close(found["view_support"][:, view], support, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            others = module.encode(lacking).states
        for row, real in enumerate(batch.attention_mask):
            moved = (others[row, real] - states[row, real]).norm() / states[row, real].norm()
            torch.testing.assert_close(found["view_change"][row, view], moved, rtol=1e-4, atol=1e-6)
    assert not found["view_support"][~batch.view_mask].any()
    assert not found["view_change"][~batch.view_mask].any()
    case = METHODS[setting.name]
    assert found["view_change"][:, 0].any() == case.sees
    assert found["view_change"][:, 1:].any() == case.crops


def test_a_batch_without_any_picture_can_be_diagnosed(setting):
    found = setting.module.diagnose(batch_without_views(setting.batch))
    assert not found["view_support"].any()
    assert all(values.isfinite().all() for values in found.values())


def test_what_is_classified_gives_the_heads_scores(setting):
    module, batch = setting.module, setting.batch
    found = module.diagnose(batch)["representation"]
    with torch.no_grad():
        states = module.encode(batch).states
        if setting.task == "ner":
            torch.testing.assert_close(
                module.head.emission(found), module.head.emissions(states, batch)
            )
        else:
            torch.testing.assert_close(
                module.head.classifier(found[:, 0]), module.head.logits(states, batch)
            )


@pytest.mark.parametrize("name", ["hvpnet", "mlnet"])
def test_kept_features_are_left_out_as_pixels_are(make, name):
    setting = make(name)
    module, batch = setting.module, setting.batch
    with torch.no_grad():
        rows = module.vision.encode_views(batch.pixels, batch.view_mask)
    kept = torch.cat([part.flatten(2) for part in rows], dim=2)  # (batch, views, width)
    stored = replace(batch, pixels=None, features={"vision": kept})
    found, expected = module.diagnose(stored), module.diagnose(batch)
    torch.testing.assert_close(found, expected)
    assert not without_view(stored, 1).features["vision"][:, 1].any()
    assert torch.equal(without_view(stored, 1).features["vision"][:, 2], kept[:, 2])


def attend_literally(module, batch, prefix):
    """Attention to every prefix position, (batch, layers, heads, words, prefix), from captured queries and keys."""
    layers = module.text.model.encoder.layer
    caught = {}
    hooks = [
        getattr(layer.attention.self, part).register_forward_hook(
            lambda _module, _inputs, output, key=(place, part): caught.__setitem__(key, output)
        )
        for place, layer in enumerate(layers)
        for part in ("query", "key")
    ]
    with torch.no_grad():
        module.encode(batch)
    for hook in hooks:
        hook.remove()
    size, heads, length = prefix.keys.shape[-1], prefix.keys.shape[2], prefix.keys.shape[3]
    mass = torch.zeros(len(batch), len(layers), heads, batch.word_mask.shape[1], length)
    for post, layer, head in torch.cartesian_prod(
        *map(torch.arange, (len(batch), len(layers), heads))
    ).tolist():
        cut = slice(head * size, (head + 1) * size)
        keys = torch.cat([prefix.keys[layer, post, head], caught[layer, "key"][post, :, cut]])
        before = torch.ones(length, dtype=torch.bool)
        if prefix.mask is not None:
            before = prefix.mask[post] if prefix.mask.ndim == 2 else prefix.mask[post, head]
        open_keys = torch.cat([before, batch.attention_mask[post]])
        for word in batch.word_mask[post].nonzero().flatten().tolist():
            query = caught[layer, "query"][post, batch.word_starts[post, word], cut]
            weights = torch.exp(keys @ query / size**0.5) * open_keys
            mass[post, layer, head, word] = (weights / weights.sum())[:length]
    return mass


@pytest.mark.parametrize("name", ["hvpnet", "hvpnet_reference", "dghc", "rap"])
def test_the_mass_on_a_prefix_is_the_literal_softmax(make, name):
    setting = make(name, "re")
    module, batch = setting.module, setting.batch
    prefixes = []
    hook = module.text.register_forward_pre_hook(lambda _module, inputs: prefixes.append(inputs[3]))
    with torch.no_grad():
        module.encode(batch)
    hook.remove()
    prefix, found = prefixes[-1], module.diagnose(batch)
    literal = attend_literally(module, batch, prefix)
    if name == "rap":
        torch.testing.assert_close(found["prompt_mass"], literal.mean(2))
        return
    mass, views = found["prefix_mass"], batch.view_mask.shape[1]
    expected = torch.zeros(*mass.shape)
    for view in range(
        views
    ):  # the positions that a mask of this view alone leaves open are this view's
        alone = replace(
            batch, view_mask=torch.arange(views).expand(len(batch), -1) == view, view_index=None
        )
        with torch.no_grad():
            open_positions = prefix_mask(module, alone)
        expected[..., view] = (literal * open_positions[:, None, :, None]).sum(-1).mean(2)
    torch.testing.assert_close(mass, expected)
    assert ((mass >= 0) & (mass <= 1)).all()
    assert (mass.sum(-1)[batch.word_mask[:, None].expand(-1, mass.shape[1], -1)] < 1).all()
    assert not mass.transpose(1, 3)[~batch.view_mask].any()
    assert (mass.amax((1, 2))[batch.view_mask] > 0).all()
    assert not mass.transpose(1, 2)[~batch.word_mask].any()


def prefix_mask(module, batch):
    """Open prefix positions, (batch, heads, prefix)."""
    prefixes = []
    hook = module.text.register_forward_pre_hook(lambda _module, inputs: prefixes.append(inputs[3]))
    module.encode(batch)
    hook.remove()
    mask = prefixes[-1].mask
    return mask.unsqueeze(1).expand(-1, module.text.num_heads, -1) if mask.ndim == 2 else mask


def test_watching_ends_with_an_error_too_and_does_not_change_what_is_attended(make):
    setting = make("hvpnet")
    with torch.no_grad():
        states = setting.module.encode(setting.batch).states
        with watch_prefixes() as masses:
            assert torch.equal(setting.module.encode(setting.batch).states, states)
    assert sorted(masses) == list(range(setting.module.text.num_layers))
    with pytest.raises(RuntimeError, match="stop"), watch_prefixes():
        raise RuntimeError("stop")
    assert AttentionInterface._global_mapping[PREFIX_ATTENTION] is prefix_attention


@pytest.mark.parametrize("name", ["hvpnet", "hvpnet_reference", "rsrnet", "dghc"])
def test_gates_sum_to_one_and_are_0_on_masked_views(make, name):
    setting = make(name)
    batch, gates = setting.batch, setting.module.diagnose(setting.batch)["gates"]
    by_view = gates.transpose(1, 2)  # (batch, views, layers, ...)
    assert not by_view[~batch.view_mask].any()
    assert (by_view[batch.view_mask] > 0).all()
    total = (
        by_view[batch.view_mask].sum(-1)
        if gates.ndim == 4
        else gates[batch.view_mask.any(1)].sum(-1)
    )
    torch.testing.assert_close(total, torch.ones_like(total))
    assert gates.std() > 0.01


def test_switched_off_parts_are_not_there(make):
    bare = make("hvpnet", use_image=False)
    assert bare.module.diagnose(bare.batch).keys() == ALL.keys()
    bare = make("dghc", correlation=False, gating=False)
    found = bare.module.diagnose(bare.batch)
    assert "correlation" not in found
    assert torch.equal(
        found["gates"], bare.batch.view_mask.unsqueeze(1).expand_as(found["gates"]).float()
    )
    bare = make("rap", relevance=False, prompting=False)
    assert bare.module.diagnose(bare.batch).keys() == ALL.keys() | {
        "routing",
        "paths",
        "unprompted",
    }
    bare = make("imm", sw_loss=False, insert_activation=False)
    assert bare.module.diagnose(bare.batch).keys() == ALL.keys()


def test_dghcs_correlation_is_equations_2_and_3(make):
    setting = make("dghc")
    module, batch = setting.module, setting.batch
    with torch.no_grad():
        text, picture = module.text_vector(batch), module.view_vectors(batch)[:, 0]
        parts = module.correlation
        for row, found in enumerate(module.diagnose(batch)["correlation"]):
            match = torch.tanh(text[row] @ parts.match.weight @ picture[row])
            expected = torch.tanh(
                parts.from_text.weight @ text[row]
                + parts.from_picture.weight @ picture[row] * match
            )
            torch.testing.assert_close(found, expected)


def test_raps_routing_is_what_the_path_loss_compares(make):
    setting = make("rap", num_fusion_layers=3, path_weight=1.0)
    module, batch = setting.module, setting.batch
    found = module.diagnose(batch)
    with torch.no_grad():
        cls = functional.normalize(module.encode_text(batch)[:, 0], dim=-1)
        loss = module.encode(batch).losses["router"]
    vectors = functional.normalize(found["routing"].flatten(1), dim=-1)
    difference = (vectors @ vectors.T - cls @ cls.T).square()
    expected = sum(difference[i, j] for i in range(5) for j in range(5) if i != j) / 20
    torch.testing.assert_close(loss, expected)
    assert not found["routing"][:, -1, :, 1:].any()
    assert not found["paths"][:, -1, :, 1:].any()


def test_raps_paths_are_the_routing_divided_by_what_leads_to_a_unit(make):
    setting = make("rap", num_fusion_layers=3)
    found = setting.module.diagnose(setting.batch)
    routing, paths = found["routing"], found["paths"]
    for layer, target in ((layer, target) for layer in range(3) for target in range(3)):
        if layer < 2 or target == 0:
            into = routing[:, layer, :, target]
            torch.testing.assert_close(paths[:, layer, :, target], into / into.sum(1, keepdim=True))
    raw = make("rap", normalize_paths=False)
    found = raw.module.diagnose(raw.batch)
    assert torch.equal(found["paths"], found["routing"])


def test_raps_relevance_is_what_opens_its_gate(make):
    setting = make("rap")
    module, batch = setting.module, setting.batch
    with torch.no_grad():
        gate = module.gate(*module.features(module.encode_text(batch), batch), batch)
    torch.testing.assert_close(torch.tanh(module.diagnose(batch)["relevance"]), gate)


def test_mlnets_match_opens_its_gate_above_a_half(make):
    setting = make("mlnet")
    module, batch = setting.module, setting.batch
    with torch.no_grad():
        gate = module.gate(
            module.lower_text_layers(batch),
            module.encode_regions(module.region_grid(batch), batch),
            batch,
        )
    match = module.diagnose(batch)["match"]
    assert torch.equal(match > 0.5, gate > 0.5)
    assert match[3] == 0
    assert (match[[0, 1, 2, 4]] > 0).all()


def test_imms_similarities_are_the_cosines_of_every_text_with_every_picture(make):
    setting = make("imm", clip="somewhere")
    module, posts, batch = setting.module, setting.posts, setting.batch
    generator = torch.Generator().manual_seed(0)
    vectors = {name: torch.randn(5, 6, generator=generator) for name in ("clip_text", "clip_image")}
    found = module.diagnose(replace(batch, features=vectors))
    assert not found["learned_similarity"][:, 3].any()
    assert not found["clip_similarity"][:, 3].any()
    for text, picture in ((0, 0), (0, 1), (2, 4), (3, 1)):
        pair = [replace(posts[text], views=posts[picture].views)]
        alone = module.diagnose(make_batch(setting.data, pair))["learned_similarity"]
        torch.testing.assert_close(
            found["learned_similarity"][text, picture], alone[0, 0], rtol=1e-4, atol=1e-5
        )
        cosine = functional.cosine_similarity(
            vectors["clip_text"][text], vectors["clip_image"][picture], dim=0
        )
        torch.testing.assert_close(found["clip_similarity"][text, picture], cosine.clamp(min=0))


def test_imms_learned_similarity_is_what_its_loss_compares(make):
    setting = make("imm")
    module, batch = setting.module, setting.batch
    caught = []
    hook = module.text.model.encoder.layer[0].output.LayerNorm.register_forward_hook(
        lambda _module, _inputs, output: caught.append(output)
    )
    found = module.learned_similarity(batch)
    hook.remove()
    assert module.num_shared_layers == 1
    text, pictures = (functional.normalize(states[:, 0], dim=-1) for states in caught)
    torch.testing.assert_close(found, text @ pictures.T)
    with pytest.raises(ValueError, match="no picture"):
        module.learned_similarity(batch_without_views(batch))


def test_a_pretraining_has_no_answer_to_explain(demo_data, tiny_bert):
    data = demo_data("ner", tiny_bert)
    module = build_module(
        MLNetPretraining,
        data.schema,
        tiny_bert,
        vision_backbone="test_resnet",
        fusion_layers=1,
        lstm_size=8,
    )
    with pytest.raises(PredictionUnsupported):
        module.diagnose(make_batch(data, distinct_instances(data.instances["train"], 2)))


def test_inspecting_restores_every_parts_mode_after_an_error():
    module = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout())
    module[1].eval()
    seen = []
    with pytest.raises(ZeroDivisionError), inspecting(module):
        seen.append((module.training, torch.is_grad_enabled(), 1 / 0))
    with inspecting(module):
        seen.append((module.training, module[0].training, torch.is_grad_enabled()))
    assert seen == [(False, False, False)]
    assert [part.training for part in module.modules()] == [True, True, False]
    assert torch.is_grad_enabled()
