"""Every overlay in `configs/ablations` changes what its method computes."""

import functools
import importlib

import pytest
import torch
from helpers.command import succeed
from helpers.methods import build_data, build_module, make_batch, perturb, training_loss
from helpers.paths import CONFIGS

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

STEMS = {file.stem for file in CONFIGS.glob("*.yaml")}
CORPORA = ("twitter2015", "mnre")
NETWORKS = {"text_encoder", "vision_backbone"}
"""Settings that name pretrained networks, which tiny ones stand in for."""
UNCHANGED = {
    ("rap_layers_4", "twitter2015"),
    ("rap_layers_3", "mnre"),
    ("rap_path_weight_1.5", "twitter2015"),
    ("rap_path_weight_1.5", "mnre"),
}
"""Rows of the paper's tables that are the full method itself."""


def method_of(overlay):
    """The longest stem of a method's configurations that the overlay's name starts with."""
    methods = {stem.rpartition("_")[0] for stem in STEMS if stem.endswith(CORPORA[0])}
    return max((method for method in methods if overlay.startswith(f"{method}_")), key=len)


def cases():
    """Every overlay over an entity configuration; over a relation one where its row says or meets the full method."""
    for overlay in sorted(file.stem for file in (CONFIGS / "ablations").glob("*.yaml")):
        if overlay != "rsrnet_woRoB":
            yield overlay, "twitter2015"
        if (
            overlay == "rsrnet_woRoB"
            or overlay.startswith("rap_layers")
            or (overlay, "mnre") in UNCHANGED
        ):
            yield overlay, "mnre"


CASES = list(cases())


@functools.cache
def parsed(*names):
    """Model and data settings that the parser makes of configurations laid over one another."""
    config = succeed(
        "fit", *(f"--config={CONFIGS / f'{name}.yaml'}" for name in names), "--print_config"
    ).config
    return config["model"], config["data"]


def changed(full, ablated):
    """Names of settings that differ."""
    return {name for name in full.keys() | ablated.keys() if full.get(name) != ablated.get(name)}


def shrunk(arguments):
    """Constructor arguments with tiny networks in the place of the real ones."""
    small = {
        "fusion_layers": 1,
        "clip": None,
        "vision_backbone": tiny_backbone(arguments.get("vision_backbone", "")),
    }
    left_out = {"schema", "pretrained", "text_encoder", "init_from"}
    kept = {name: value for name, value in arguments.items() if name not in left_out}
    return kept | {name: value for name, value in small.items() if name in kept}


def tiny_backbone(name):
    return "test_vit" if "vit" in name else "test_resnet"


@pytest.fixture(scope="module")
def load(demo_root, tiny_bert):
    """Data modules over the demo corpus by the settings that matter here."""

    @functools.cache
    def load(task, tag_scheme, num_objects):
        return build_data(
            demo_root, task, tiny_bert, tag_scheme=tag_scheme, num_objects=num_objects
        )

    return load


def build(model, data, encoder):
    """The module that a parsed configuration names, small, and a batch for it."""
    package, _, name = model["class_path"].rpartition(".")
    method = getattr(importlib.import_module(package), name)
    module = build_module(method, data.schema, encoder, **shrunk(model["init_args"]))
    posts = {one.post.words: one for one in data.instances["train"] if len(one.post.crops) > 0}
    return module, make_batch(data, [*posts.values()][:4])


def take_over(module, source):
    """Give ``module`` the tensors that ``source`` has under the same name and shape."""
    own = module.state_dict()
    shared = {name: value for name, value in source.state_dict().items() if name in own}
    module.load_state_dict(
        {n: v for n, v in shared.items() if v.shape == own[n].shape}, strict=False
    )


def computed(module, batch):
    """Everything that does not depend on random numbers: states and losses in evaluation, losses that training has."""
    module.eval()
    with torch.no_grad():
        encoding = module.encode(batch)
        module.train()
        torch.manual_seed(0)
        names = sorted(module.encode(batch).losses)
    return {
        "states": encoding.states,
        **encoding.losses,
        **{f"train {name}": torch.ones(()) for name in names},
    }


def alike(left, right):
    return left.keys() == right.keys() and all(
        value.shape == right[name].shape
        and (value - right[name]).abs().max() <= 1e-4 * value.abs().max()
        for name, value in left.items()
    )


@pytest.mark.parametrize(("overlay", "corpus"), CASES)
def test_an_ablation_changes_the_computation(load, tiny_bert, overlay, corpus):
    full = parsed(base := f"{method_of(overlay)}_{corpus}")
    ablated = parsed(base, f"ablations/{overlay}")
    differing = [
        changed(full[0]["init_args"], ablated[0]["init_args"]),
        changed(full[1], ablated[1]),
    ]
    assert bool(differing[0] | differing[1]) == ((overlay, corpus) not in UNCHANGED)
    (whole, batch), (module, ablated_batch) = (
        build(model, load(data["task"], data["tag_scheme"], data["num_objects"]), tiny_bert)
        for model, data in (full, ablated)
    )
    perturb(whole)
    take_over(perturb(module), whole)
    loss = training_loss(module, ablated_batch)
    loss.backward()
    assert loss.isfinite()
    same_views = torch.equal(batch.view_mask, ablated_batch.view_mask)
    assert same_views == ("num_objects" not in differing[1])
    same_result = alike(computed(whole, batch), computed(module, ablated_batch))
    assert same_result == (differing[0] | differing[1] <= NETWORKS | {"tokenizer"})


def test_there_are_ablations_of_every_method_that_has_switches():
    assert {method_of(overlay) for overlay, _ in CASES} >= {
        "hvpnet",
        "rsrnet",
        "rap",
        "dghc",
        "imm",
        "mlnet",
    }
