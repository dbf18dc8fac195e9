"""Every overlay in `configs/ablations` changes what its method computes."""

import functools
import importlib

import pytest
import torch
from helpers.command import succeed
from helpers.methods import (
    build_data,
    build_module,
    copy_shared_weights,
    make_batch,
    perturb,
    training_loss,
)
from helpers.paths import CONFIGS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:You are trying to `self.log")]

STEMS = {file.stem for file in CONFIGS.glob("*.yaml")}
CORPORA = ("twitter2015", "mnre")
NETWORKS = {"text_encoder", "vision_backbone"}
"""Settings that name pretrained networks, which the tests replace by tiny ones."""
UNCHANGED = {
    ("rap_layers_4", "twitter2015"),
    ("rap_layers_3", "mnre"),
    ("rap_path_weight_1.5", "twitter2015"),
    ("rap_path_weight_1.5", "mnre"),
}
"""Rows of the papers' tables that are the full method itself."""


def method_of_overlay(overlay):
    """Return the longest name of a method that an overlay's name starts with."""
    methods = {stem.rpartition("_")[0] for stem in STEMS if stem.endswith(CORPORA[0])}
    return max((method for method in methods if overlay.startswith(f"{method}_")), key=len)


def overlay_cases():
    """Yield every overlay with a corpus.

    The corpus is one of entities, except for an overlay of relations alone. Overlays whose effect
    depends on the task come with both.
    """
    for overlay in sorted(file.stem for file in (CONFIGS / "ablations").glob("*.yaml")):
        is_of_relations = overlay == "rsrnet_woRoB"
        depends_on_task = overlay.startswith("rap_layers") or (overlay, "mnre") in UNCHANGED
        if not is_of_relations:
            yield overlay, "twitter2015"
        if is_of_relations or depends_on_task:
            yield overlay, "mnre"


CASES = list(overlay_cases())


@functools.cache
def parse_configs(*names):
    """Return the model and data settings of configurations that are laid over one another."""
    options = [f"--config={CONFIGS / f'{name}.yaml'}" for name in names]
    config = succeed("fit", *options, "--print_config").config
    return config["model"], config["data"]


def differing_settings(full, ablated):
    """Return the names of settings that differ."""
    return {name for name in full.keys() | ablated.keys() if full.get(name) != ablated.get(name)}


def shrink(arguments):
    """Replace networks in constructor arguments by tiny ones."""
    is_vit = "vit" in arguments.get("vision_backbone", "")
    small = {
        "fusion_layers": min(2, arguments.get("fusion_layers") or 2),
        "clip": None,
        "vision_backbone": "test_vit" if is_vit else "test_resnet",
    }
    left_out = {"schema", "pretrained", "text_encoder", "init_from"}
    shrunk = {name: value for name, value in arguments.items() if name not in left_out}
    shrunk.update((name, value) for name, value in small.items() if name in shrunk)
    return shrunk


@pytest.fixture(scope="module")
def load_for(demo_root, tiny_bert):
    """Function that loads the demo corpus with the data settings of a configuration."""

    @functools.cache
    def load(task, tag_scheme, num_objects):
        return build_data(
            demo_root, task, tiny_bert, tag_scheme=tag_scheme, num_objects=num_objects
        )

    return lambda data: load(data["task"], data["tag_scheme"], data["num_objects"])


def build(model, data, encoder):
    """Build a small module of a parsed configuration, and a batch for it."""
    package, _, name = model["class_path"].rpartition(".")
    method = getattr(importlib.import_module(package), name)
    module = build_module(method, data.schema, encoder, **shrink(model["init_args"]))
    instances = {}
    for instance in data.instances["train"]:
        if instance.post.crops:
            instances[instance.post.words] = instance
    return module, make_batch(data, list(instances.values())[:4])


def compute_results(module, batch):
    """Compute states and losses in eval mode, and mark the losses that training has."""
    module.eval()
    with torch.no_grad():
        encoding = module.encode(batch)
        module.train()
        torch.manual_seed(0)
        training_losses = module.encode(batch).losses
    results = {"states": encoding.states, **encoding.losses}
    results.update((f"train {name}", torch.ones(())) for name in training_losses)
    return results


def all_close(left, right):
    """Tell whether two results have the same names, shapes and values."""
    if left.keys() != right.keys():
        return False
    for name, value in left.items():
        other = right[name]
        if value.shape != other.shape:
            return False
        if (value - other).abs().max() > 1e-4 * value.abs().max():
            return False
    return True


@pytest.mark.parametrize(("overlay", "corpus"), CASES)
def test_ablation_changes_the_computation(load_for, tiny_bert, overlay, corpus):
    config = f"{method_of_overlay(overlay)}_{corpus}"
    full = parse_configs(config)
    ablated = parse_configs(config, f"ablations/{overlay}")
    model_changes = differing_settings(full[0]["init_args"], ablated[0]["init_args"])
    data_changes = differing_settings(full[1], ablated[1])
    assert bool(model_changes | data_changes) == ((overlay, corpus) not in UNCHANGED)
    full_module, batch = build(full[0], load_for(full[1]), tiny_bert)
    module, ablated_batch = build(ablated[0], load_for(ablated[1]), tiny_bert)
    perturb(full_module)
    copy_shared_weights(perturb(module), full_module)
    has_same_views = torch.equal(batch.view_mask, ablated_batch.view_mask)
    assert has_same_views == ("num_objects" not in data_changes)
    full_results = compute_results(full_module, batch)
    has_same_results = all_close(full_results, compute_results(module, ablated_batch))
    assert has_same_results == (model_changes | data_changes <= NETWORKS | {"tokenizer"})
    loss = training_loss(module, ablated_batch)  # last, because it changes running statistics
    loss.backward()
    assert loss.isfinite()


def test_every_method_with_switches_has_ablations():
    methods = {method_of_overlay(overlay) for overlay, _ in CASES}
    assert methods >= {"hvpnet", "rsrnet", "rap", "dghc", "imm", "mlnet"}
