"""HVPNet and RSRNeT against what their public code computes in float64.

The expected numbers were computed by the public repositories (see ``cases/parity`` beside the real
data), for weights and inputs that ``tools/parity/recipe.py`` makes there.
"""

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.paths import SHARED

from mmie.checkpoints.public import PUBLIC_RELATIONS, PUBLIC_TAGS, map_public_weights
from mmie.methods import HVPNet, RSRNeT
from mmie.tags import tag_names
from mmie.types import Batch, Entity, Relation, Schema

CASES, RECIPE = SHARED / "cases" / "parity", SHARED / "tools" / "parity" / "recipe.py"
CLASSES = {"hvpnet": HVPNet, "rsrnet": RSRNeT}
BACKBONES = {"hvpnet": "resnet50.tv_in1k", "rsrnet": "resnest50d"}
TYPES = ("LOC", "MISC", "ORG", "PER")
TOLERANCE = 1e-9

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CASES.is_dir() and RECIPE.is_file()), reason=f"no parity fixtures in {CASES}"
    ),
]


@pytest.fixture(scope="module", params=["hvpnet_ner", "hvpnet_re", "rsrnet_ner", "rsrnet_re"])
def case(request):
    """Return the public numbers, and this package's method with the same weights."""
    spec = importlib.util.spec_from_file_location("recipe", RECIPE)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    with np.load(CASES / f"{request.param}.npz") as file:
        expected = {name: file[name] for name in file}
    model, task = request.param.split("_")
    salt = json.loads(str(expected["facts"]))["salt"]
    public = {
        name: torch.from_numpy(recipe.fill(name, shape, salt))
        for name, shape, _ in json.loads(str(expected["state_dict"]))
    }
    labels = TYPES if task == "ner" else PUBLIC_RELATIONS
    method = CLASSES[model](
        Schema(task, labels, recipe.VOCABULARY, max_tokens=recipe.TOKENS),
        variant="reference",
        text_encoder=recipe.encoder_config(model, task),
        vision_backbone=BACKBONES[model],
        pretrained=False,
    )
    method = method.double().eval()
    markers = list(recipe.markers(model).values())
    weights = map_public_weights(
        public,
        model,
        task,
        tag_names(labels, "bio") if task == "ner" else labels,
        method.text.model.get_input_embeddings().weight,
        markers,
    )
    incompatible = method.load_state_dict(weights.state_dict, strict=False)
    assert incompatible.unexpected_keys == []
    batch = make_batch(recipe, expected, salt)
    return SimpleNamespace(
        model=model, task=task, expected=expected, method=method, batch=batch, missing=incompatible
    )


def make_batch(recipe, expected, salt):
    """Build the batch of the public inputs."""
    mask = torch.from_numpy(expected["attention_mask"]).bool()
    posts, tokens = mask.shape
    positions = torch.arange(tokens).expand(posts, -1)
    relation = Relation(Entity(0, 1), Entity(1, 2), "")
    return Batch(
        ids=("a", "b"),
        counted=torch.ones(posts, dtype=torch.bool),
        index=torch.arange(posts),
        input_ids=torch.from_numpy(expected["input_ids"]),
        attention_mask=mask,
        token_type_ids=torch.zeros(posts, tokens, dtype=torch.long),
        token_words=positions,
        word_starts=positions,  # a word for each token, to compare the emissions of all
        word_mask=mask,
        characters=torch.zeros(posts, tokens, 1, dtype=torch.long),
        view_mask=torch.from_numpy(expected["present"]),
        pixels=torch.from_numpy(recipe.pictures(salt)),
        relations=(relation,) * posts,
        markers=torch.from_numpy(expected["markers"]) if "markers" in expected else None,
        labels=torch.from_numpy(expected["labels"]) if "markers" in expected else None,
    )


def difference(ours, public):
    """Return the largest absolute difference."""
    return (ours - torch.from_numpy(public)).abs().max().item()


@torch.no_grad()
def test_states_are_the_public_ones(case):
    states = case.method.encode(case.batch).states  # (posts, tokens, hidden)
    real = case.batch.attention_mask
    assert difference(states[real], case.expected["hidden"][real]) < TOLERANCE


@torch.no_grad()
def test_scores_are_the_public_ones(case):
    states = case.method.encode(case.batch).states
    if case.task == "re":
        logits = case.method.head.logits(states, case.batch)
        assert difference(logits, case.expected["logits"]) < TOLERANCE
        assert logits.argmax(1).tolist() == case.expected["decoded"].tolist()
        losses = torch.nn.functional.cross_entropy(logits, case.batch.labels, reduction="none")
        np.testing.assert_allclose(losses, case.expected["losses"], rtol=1e-9)
        return
    emissions = case.method.head.emissions(states, case.batch)  # (posts, tokens, tags)
    columns = [PUBLIC_TAGS.index(tag) for tag in tag_names(TYPES, "bio")]
    real = case.batch.attention_mask
    assert difference(emissions[real], case.expected["emissions"][..., columns][real]) < TOLERANCE


@torch.no_grad()
def test_gates_and_prefixes_are_the_public_ones(case):
    stages, _ = case.method._views(case.batch)
    pooled = torch.cat(stages, dim=2)[:, :, ::12]  # every twelfth channel
    assert difference(pooled, case.expected["pooled"]) < TOLERANCE
    gates = case.method.visual_prefix.gate_weights(stages)
    assert difference(gates, case.expected["gates"]) < TOLERANCE
    prefix = case.method.prefix(case.batch)
    assert prefix.mask.all()  # the missing crop is attended to
    for ours, name in ((prefix.keys, "prefix_keys"), (prefix.values, "prefix_values")):
        ends = ours[[0, -1]][..., :2]  # first and last layer, two channels of each head
        assert difference(ends, case.expected[name]) < TOLERANCE


def test_all_weights_but_the_crfs_masks_are_loaded(case):
    buffers = {"vision.mean", "vision.std", "head.temperature"}
    metrics = {name for name in case.missing.missing_keys if name.startswith("metrics.")}
    assert set(case.missing.missing_keys) - metrics <= buffers
