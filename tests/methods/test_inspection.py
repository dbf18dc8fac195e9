"""Diagnosis of all methods, against literal versions and without side effects."""

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

METHOD_AXES = {
    "text_only": {},
    "hvpnet": {"gates": "blvs", "prefix_mass": "blwv"},
    "hvpnet_reference": {"gates": "blvs", "prefix_mass": "blwv"},
    "rsrnet": {"gates": "blvs", "prefix_mass": "blwv"},
    "rap": {
        "relevance": "b",
        "routing": "bfuu",
        "paths": "bfuu",
        "prompt_mass": "blwp",
    },
    "dghc": {"gates": "blv", "correlation": "bd", "prefix_mass": "blwv"},
    "imm": {"learned_similarity": "bb"},
    "mlnet": {"match": "b"},
}
"""Axes of the numbers that a method adds to those of all methods."""
SHARED_AXES = {"view_support": "bv", "view_change": "bv", "representation": "brc"}


@pytest.fixture
def make(request, demo_data):
    """Function that builds a method for a task, with its data, instances and a batch."""

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


def batch_lacking_view(setting, view):
    """Collate instances that lack a view."""
    posts = [
        replace(post, views=(*post.views[:view], None, *post.views[view + 1 :]))
        for post in setting.posts
    ]
    return make_batch(setting.data, posts)


def log_probability(module, batch, predictions):
    """Compute the log probability of each prediction from the head's scores."""
    schema = module.schema
    with torch.no_grad():
        states = module.encode(batch).states
        if batch.markers is not None:
            chosen = [
                schema.labels.index(prediction.relations[0].label) for prediction in predictions
            ]
            return module.head.logits(states, batch).log_softmax(-1)[range(len(batch)), chosen]
        ids = {tag: i for i, tag in enumerate(tag_names(schema.labels, schema.tag_scheme))}
        words = batch.word_mask.shape[1]
        spelled = [
            entities_to_tags(prediction.entities, words, schema.tag_scheme)
            for prediction in predictions
        ]
        tags = torch.tensor([[ids[tag] for tag in row] for row in spelled])
        return -module.head.crf.loss(module.head.emissions(states, batch), tags, batch.word_mask)


def test_names_and_shapes_are_those_of_the_docstrings(setting):
    batch, text = setting.batch, setting.module.text
    diagnosis = setting.module.diagnose(batch)
    sizes = {"b": 5, "v": batch.view_mask.shape[1], "l": text.num_layers, "d": text.hidden_size}
    sizes["w"] = batch.word_mask.shape[1]
    # scales, then prompt positions, fusion layers and units of RAP
    sizes |= {"s": 4, "p": 4, "f": 2, "u": 3}
    sizes["r"] = sizes["w"] if setting.task == "ner" else 1
    sizes["c"] = diagnosis["representation"].shape[-1]
    expected = {**SHARED_AXES, **METHOD_AXES.get(setting.name, {})}
    assert {name: tuple(values.shape) for name, values in diagnosis.items()} == {
        name: tuple(sizes[axis] for axis in axes) for name, axes in expected.items()
    }
    assert all(
        values.isfinite().all() and not values.requires_grad for values in diagnosis.values()
    )
    assert diagnosis["representation"].shape[-1] in (
        METHODS[setting.name].width,
        2 * METHODS[setting.name].width,
    )


@pytest.mark.slow
def test_diagnosis_changes_no_state_mode_or_random_number(setting):
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


@pytest.mark.slow
def test_view_ablation_equals_encoding_posts_without_the_view(setting):
    module, batch = setting.module, setting.batch
    diagnosis, predictions = module.diagnose(batch), module(batch)
    with torch.no_grad():
        states = module.encode(batch).states
    for view in range(batch.view_mask.shape[1]):
        lacking = batch_lacking_view(setting, view)
        support = log_probability(module, batch, predictions) - log_probability(
            module, lacking, predictions
        )
        torch.testing.assert_close(
            diagnosis["view_support"][:, view], support, rtol=1e-4, atol=1e-5
        )
        with torch.no_grad():
            others = module.encode(lacking).states
        for row, real in enumerate(batch.attention_mask):
            moved = (others[row, real] - states[row, real]).norm() / states[row, real].norm()
            torch.testing.assert_close(
                diagnosis["view_change"][row, view], moved, rtol=1e-4, atol=1e-6
            )
    assert not diagnosis["view_support"][~batch.view_mask].any()
    assert not diagnosis["view_change"][~batch.view_mask].any()
    case = METHODS[setting.name]
    assert diagnosis["view_change"][:, 0].any() == case.uses_images
    assert diagnosis["view_change"][:, 1:].any() == case.uses_crops


def test_diagnosis_of_a_batch_without_images(setting):
    diagnosis = setting.module.diagnose(batch_without_views(setting.batch))
    assert not diagnosis["view_support"].any()
    assert all(values.isfinite().all() for values in diagnosis.values())


def test_representation_gives_the_scores_of_the_head(setting):
    module, batch = setting.module, setting.batch
    diagnosis = module.diagnose(batch)["representation"]
    with torch.no_grad():
        states = module.encode(batch).states
        if setting.task == "ner":
            torch.testing.assert_close(
                module.head.emission(diagnosis), module.head.emissions(states, batch)
            )
        else:
            torch.testing.assert_close(
                module.head.classifier(diagnosis[:, 0]), module.head.logits(states, batch)
            )


@pytest.mark.parametrize("name", ["hvpnet", "mlnet"])
def test_view_ablation_of_cached_features_equals_that_of_pixels(make, name):
    setting = make(name)
    module, batch = setting.module, setting.batch
    with torch.no_grad():
        rows = module.vision.encode_views(batch.pixels, batch.view_mask)
    features = torch.cat([part.flatten(2) for part in rows], dim=2)  # (batch, views, width)
    cached = replace(batch, pixels=None, features={"vision": features})
    torch.testing.assert_close(module.diagnose(cached), module.diagnose(batch))
    ablated = without_view(cached, 1).features["vision"]
    assert not ablated[:, 1].any()
    assert torch.equal(ablated[:, 2], features[:, 2])


def literal_prefix_attention(module, batch, prefix):
    """Compute the attention to every prefix position from captured queries and keys.

    Returns:
        (batch, layers, heads, words, prefix)
    """
    layers = module.text.model.encoder.layer
    captured = {}
    hooks = [
        getattr(layer.attention.self, part).register_forward_hook(
            lambda _module, _inputs, output, key=(index, part): captured.__setitem__(key, output)
        )
        for index, layer in enumerate(layers)
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
        keys = torch.cat([prefix.keys[layer, post, head], captured[layer, "key"][post, :, cut]])
        before = torch.ones(length, dtype=torch.bool)
        if prefix.mask is not None:
            before = prefix.mask[post] if prefix.mask.ndim == 2 else prefix.mask[post, head]
        open_keys = torch.cat([before, batch.attention_mask[post]])
        for word in batch.word_mask[post].nonzero().flatten().tolist():
            query = captured[layer, "query"][post, batch.word_starts[post, word], cut]
            weights = torch.exp(keys @ query / size**0.5) * open_keys
            mass[post, layer, head, word] = (weights / weights.sum())[:length]
    return mass


@pytest.mark.parametrize("name", ["hvpnet", "hvpnet_reference", "dghc", "rap"])
def test_prefix_masses_equal_a_literal_softmax(make, name):
    setting = make(name, "re")
    module, batch = setting.module, setting.batch
    prefixes = []
    hook = module.text.register_forward_pre_hook(lambda _module, inputs: prefixes.append(inputs[3]))
    with torch.no_grad():
        module.encode(batch)
    hook.remove()
    prefix, diagnosis = prefixes[-1], module.diagnose(batch)
    literal = literal_prefix_attention(module, batch, prefix)
    if name == "rap":
        torch.testing.assert_close(diagnosis["prompt_mass"], literal.mean(2))
        return
    mass, views = diagnosis["prefix_mass"], batch.view_mask.shape[1]
    expected = torch.zeros(*mass.shape)
    # the positions of a view are those that a mask of this view alone leaves open
    open_by_view = []
    for view in range(views):
        view_mask = torch.arange(views).expand(len(batch), -1) == view
        with torch.no_grad():
            open_by_view.append(
                open_prefix_positions(module, replace(batch, view_mask=view_mask, view_index=None))
            )
    if attends_to_blank_crops(module):  # which the picture alone leaves open as well
        open_by_view[0] = open_by_view[0] & ~torch.stack(open_by_view[1:]).any(0)
    for view, open_positions in enumerate(open_by_view):
        expected[..., view] = (literal * open_positions[:, None, :, None]).sum(-1).mean(2)
    attended = attended_views(module, batch)
    torch.testing.assert_close(mass, expected)
    assert ((mass >= 0) & (mass <= 1)).all()
    assert (mass.sum(-1)[batch.word_mask[:, None].expand(-1, mass.shape[1], -1)] < 1).all()
    assert not mass.transpose(1, 3)[~attended].any()
    assert (mass.amax((1, 2))[attended] > 0).all()
    assert not mass.transpose(1, 2)[~batch.word_mask].any()


def attends_to_blank_crops(module):
    """Tell whether crops that a readable picture lacks are attended to."""
    return getattr(module, "missing_crops", "mask") == "attend"


def attended_views(module, batch):
    """Return which views the text attends to, (batch, views) bool."""
    if attends_to_blank_crops(module):
        return batch.view_mask | batch.view_mask[:, :1]
    return batch.view_mask


def open_prefix_positions(module, batch):
    """Return the prefix positions that are not masked, (batch, heads, prefix)."""
    prefixes = []
    hook = module.text.register_forward_pre_hook(lambda _module, inputs: prefixes.append(inputs[3]))
    module.encode(batch)
    hook.remove()
    mask = prefixes[-1].mask
    return mask.unsqueeze(1).expand(-1, module.text.num_heads, -1) if mask.ndim == 2 else mask


def test_watching_prefixes_keeps_states_and_ends_after_an_error(make):
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
def test_gates_sum_to_1_and_are_0_on_masked_views(make, name):
    setting = make(name)
    batch, gates = setting.batch, setting.module.diagnose(setting.batch)["gates"]
    by_view = gates.transpose(1, 2)  # (batch, views, layers, ...)
    attended = attended_views(setting.module, batch)
    assert not by_view[~attended].any()
    assert (by_view[attended] > 0).all()
    total = by_view[attended].sum(-1) if gates.ndim == 4 else gates[attended.any(1)].sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    assert gates.std() > 0.01


def test_disabled_parts_are_left_out(make):
    reduced = make("hvpnet", use_image=False)
    assert reduced.module.diagnose(reduced.batch).keys() == SHARED_AXES.keys()
    reduced = make("dghc", correlation=False, gating=False)
    diagnosis = reduced.module.diagnose(reduced.batch)
    assert "correlation" not in diagnosis
    assert torch.equal(
        diagnosis["gates"],
        reduced.batch.view_mask.unsqueeze(1).expand_as(diagnosis["gates"]).float(),
    )
    reduced = make("rap", relevance=False, prompting=False)
    assert reduced.module.diagnose(reduced.batch).keys() == SHARED_AXES.keys() | {
        "routing",
        "paths",
    }
    reduced = make("imm", sw_loss=False, insert_activation=False)
    assert reduced.module.diagnose(reduced.batch).keys() == SHARED_AXES.keys()


def test_dghc_correlation_equals_equations_2_and_3(make):
    setting = make("dghc")
    module, batch = setting.module, setting.batch
    with torch.no_grad():
        text, picture = module.text_vector(batch), module.view_vectors(batch)[:, 0]
        parts = module.correlation
        for row, diagnosis in enumerate(module.diagnose(batch)["correlation"]):
            match = torch.tanh(text[row] @ parts.match.weight @ picture[row])
            expected = torch.tanh(
                parts.from_text.weight @ text[row]
                + parts.from_picture.weight @ picture[row] * match
            )
            torch.testing.assert_close(diagnosis, expected)


def test_rap_router_loss_compares_the_routing(make):
    setting = make("rap", num_fusion_layers=3, path_weight=1.0)
    module, batch = setting.module, setting.batch
    diagnosis = module.diagnose(batch)
    with torch.no_grad():
        cls = functional.normalize(module.encode_text(batch)[:, 0], dim=-1)
        loss = module.encode(batch).losses["router"]
    vectors = functional.normalize(diagnosis["routing"].flatten(1), dim=-1)
    difference = (vectors @ vectors.T - cls @ cls.T).square()
    expected = sum(difference[i, j] for i in range(5) for j in range(5) if i != j)
    torch.testing.assert_close(loss, expected)
    assert not diagnosis["routing"][:, -1, :, 1:].any()
    assert not diagnosis["paths"][:, -1, :, 1:].any()


def test_rap_paths_are_the_normalised_routing(make):
    setting = make("rap", num_fusion_layers=3)
    diagnosis = setting.module.diagnose(setting.batch)
    routing, paths = diagnosis["routing"], diagnosis["paths"]
    for layer, target in ((layer, target) for layer in range(3) for target in range(3)):
        if layer < 2 or target == 0:
            into = routing[:, layer, :, target]
            torch.testing.assert_close(paths[:, layer, :, target], into / into.sum(1, keepdim=True))
    unnormalised = make("rap", normalize_paths=False)
    diagnosis = unnormalised.module.diagnose(unnormalised.batch)
    assert torch.equal(diagnosis["paths"], diagnosis["routing"])


def test_rap_gate_is_the_tanh_of_relevance(make):
    setting = make("rap")
    module, batch = setting.module, setting.batch
    with torch.no_grad():
        gate = module.gate(*module.features(module.encode_text(batch), batch), batch)
    torch.testing.assert_close(torch.tanh(module.diagnose(batch)["relevance"]), gate)


@pytest.mark.parametrize("gate", ["per_layer", "once"])
def test_mlnet_match_is_the_mean_score_of_the_gates(make, gate):
    setting = make("mlnet", fusion_layers=2, gate=gate)
    module, batch = setting.module, setting.batch
    with torch.no_grad():
        regions = module.encode_regions(module.region_grid(batch), batch)
        scores = module.fuse(module.lower_text_layers(batch), regions, batch).scores
    assert scores.shape == (len(batch), 1 if gate == "once" else 2)
    match = module.diagnose(batch)["match"]
    torch.testing.assert_close(match, scores.sigmoid().mean(1) * batch.view_mask.any(1))
    assert match[3] == 0
    assert (match[[0, 1, 2, 4]] > 0).all()


def test_imm_similarities_are_cosines_of_all_texts_and_pictures(make):
    setting = make("imm", clip="somewhere")
    module, posts, batch = setting.module, setting.posts, setting.batch
    generator = torch.Generator().manual_seed(0)
    vectors = {name: torch.randn(5, 6, generator=generator) for name in ("clip_text", "clip_image")}
    diagnosis = module.diagnose(replace(batch, features=vectors))
    assert not diagnosis["learned_similarity"][:, 3].any()
    assert not diagnosis["clip_similarity"][:, 3].any()
    for text, picture in ((0, 0), (0, 1), (2, 4), (3, 1)):
        pair = [replace(posts[text], views=posts[picture].views)]
        alone = module.diagnose(make_batch(setting.data, pair))["learned_similarity"]
        torch.testing.assert_close(
            diagnosis["learned_similarity"][text, picture], alone[0, 0], rtol=1e-4, atol=1e-5
        )
        cosine = functional.cosine_similarity(
            vectors["clip_text"][text], vectors["clip_image"][picture], dim=0
        )
        torch.testing.assert_close(diagnosis["clip_similarity"][text, picture], cosine.clamp(min=0))


def test_imm_learned_similarity_compares_start_tokens_after_the_isa(make):
    setting = make("imm")
    module, batch = setting.module, setting.batch
    captured = []
    hook = module.text.model.encoder.layer[0].output.LayerNorm.register_forward_hook(
        lambda _module, _inputs, output: captured.append(output)
    )
    diagnosis = module.learned_similarity(batch)
    hook.remove()
    assert module.num_shared_layers == 1
    text, pictures = (functional.normalize(states[:, 0], dim=-1) for states in captured)
    torch.testing.assert_close(diagnosis, text @ pictures.T)
    with pytest.raises(ValueError, match="no picture"):
        module.learned_similarity(batch_without_views(batch))


def test_pretraining_cannot_be_diagnosed(demo_data, tiny_bert):
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


def test_inspecting_restores_the_mode_of_every_submodule_after_an_error():
    module = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout())
    module[1].eval()
    with pytest.raises(ZeroDivisionError), inspecting(module):
        1 / 0  # noqa: B018
    with inspecting(module):
        modes = (module.training, module[0].training, torch.is_grad_enabled())
    assert modes == (False, False, False)
    assert [part.training for part in module.modules()] == [True, True, False]
    assert torch.is_grad_enabled()
