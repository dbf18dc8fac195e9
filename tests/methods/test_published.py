"""The row of a paper's tables that a configuration repeats."""

import pytest
from helpers.command import succeed
from helpers.paths import CONFIGS

import mmie.methods
from mmie.methods.init_args import constructor_defaults
from mmie.methods.papers import DGHC, HVPNET, IMM, MLNET, RAP, RSRNET, TEXT_ONLY
from mmie.methods.published import Configuration, differing_settings, find_published

METHODS = {
    "TextOnly": TEXT_ONLY,
    "HVPNet": HVPNET,
    "RSRNeT": RSRNET,
    "RAP": RAP,
    "DGHC": DGHC,
    "IMM": IMM,
    "MLNet": MLNET,
}
FULL = {
    "TextOnly": {"data.pictures": "none"},
    "RSRNeT": {"data.num_objects": 3},
    "RAP": {"model.num_fusion_layers": 4},
    "DGHC": {"data.tag_scheme": "bioes"},
    "IMM": {"model.clip": "openai/clip-vit-base-patch32"},
    "MLNet": {"model.fusion_layers": 12},
}
"""Settings of full methods on the Twitter corpora, where they are not the defaults."""
MNRE = {"RSRNeT": {"model.text_encoder": "roberta-base"}, "RAP": {"model.num_fusion_layers": 3}}


def defaults_of(method):
    """Return the defaults of a method's constructor by dotted name."""
    defaults = constructor_defaults(getattr(mmie.methods, method))
    return {f"model.{name}": value for name, value in defaults.items()}


def configure(method, corpus, **settings):
    """Return the configuration of a full method with some settings changed; ``__`` is a dot."""
    own = MNRE.get(method, {}) if corpus == "MNRE" else {}
    changed = {name.replace("__", "."): value for name, value in settings.items()}
    values = {**FULL.get(method, {}), **own, **changed}
    return Configuration(method, corpus, values, defaults_of(method))


def find(method, corpus, **settings):
    """Return name and F1 of the row that a run on one corpus repeats, None if there is none."""
    row = find_published(METHODS[method], configure(method, corpus, **settings), corpus)
    return None if row is None else (row.ablation, row.scores.f1)


@pytest.mark.parametrize(
    ("method", "corpus", "f1"),
    [
        ("TextOnly", "Twitter2015", 71.81),
        ("HVPNet", "MNRE", 81.85),
        ("RSRNeT", "Twitter2017", 87.90),
        ("RSRNeT", "MNRE", 83.89),
        ("RAP", "Twitter2015", 76.58),
        ("RAP", "MNRE", 83.13),
        ("DGHC", "Twitter2017", 87.35),
        ("IMM", "Twitter2015", 76.01),
    ],
)
def test_full_methods_have_the_headline(method, corpus, f1):
    assert find(method, corpus) == ("", f1)


@pytest.mark.parametrize(
    ("method", "corpus", "settings", "row"),
    [
        ("RAP", "MNRE", {"model__units": ["rau", "fsru"]}, ("w/o CFU", 75.62)),
        ("RAP", "MNRE", {"model__units": ["fsru", "rau"]}, ("w/o CFU", 75.62)),
        ("RAP", "Twitter2017", {"model__relevance": False}, ("w/o MRR", 83.83)),
        ("RAP", "Twitter2015", {"model__num_fusion_layers": 3}, ("L = 3", 76.46)),
        ("RAP", "MNRE", {"model__num_fusion_layers": 4}, ("L = 4", 82.89)),
        ("RAP", "MNRE", {"model__path_weight": 0}, ("gamma = 0", 82.71)),
        ("DGHC", "Twitter2015", {"model__gating": "uniform"}, ("w/o Gating", 73.50)),
        ("DGHC", "Twitter2015", {"model__gating": "ones"}, ("w/o Gating", 73.50)),
        ("DGHC", "Twitter2015", {"model__gating": False}, ("w/o Gating", 73.50)),
        ("DGHC", "Twitter2017", {"data__num_objects": 0}, ("w/o Augmentation", 87.24)),
        ("RSRNeT", "MNRE", {"model__text_encoder": "bert-base-uncased"}, ("woRoB", 82.85)),
        ("RSRNeT", "Twitter2015", {"model__scales": [4]}, ("plain", 75.12)),
        ("RSRNeT", "MNRE", {"model__vision_backbone": "resnet50.tv_in1k"}, ("woRSt", 82.21)),
    ],
)
def test_switches_of_an_ablation_have_its_row(method, corpus, settings, row):
    assert find(method, corpus, **settings) == row


@pytest.mark.parametrize(
    ("method", "corpus", "settings"),
    [
        ("RAP", "MNRE", {"model__units": ["rau"]}),
        ("RAP", "MNRE", {"model__relevance": False, "model__path_weight": 0.0}),
        ("RAP", "MNRE", {"model__prompting": False}),
        ("RAP", "MNRE", {"model__prompt_length": 8}),
        ("RAP", "MNRE", {"model__path_weight": 1.25}),
        ("RAP", "MNRE", {"model__pretrained": False}),
        ("RAP", "MNRE", {"model__pretrained_vision": False}),
        ("RAP", "MNRE", {"model__text_encoder": "bert-large-uncased"}),
        ("RAP", "MNRE", {"model__text_encoder.hidden_size": 32}),
        ("RAP", "MNRE", {"model__vision_backbone": "resnet50"}),
        ("RAP", "MNRE", {"model__pooling": "cls"}),
        ("RAP", "MNRE", {"model__unheard_of": 1}),
        ("RAP", "MNRE", {"model__init_from": "a.ckpt"}),
        ("RAP", "MNRE", {"data__num_objects": 2}),
        ("RAP", "MNRE", {"data__train_fraction": 0.5}),
        ("RAP", "MNRE", {"data__pictures": "shuffled"}),
        ("RAP", "MNRE", {"data__use_context": True}),
        ("RAP", "Twitter2015", {"data__tag_scheme": "bioes"}),
        ("HVPNet", "MNRE", {"model__mapping": "one_to_three"}),  # a figure alone shows it
        ("DGHC", "MNRE", {}),
        ("MLNet", "Twitter2015", {}),  # its scores are those after pretraining
        ("TextOnly", "MNRE", {}),  # so are those of MTB
        ("RAP", "DemoCorpus", {}),
        ("RAP", "JsonlCorpus", {}),
    ],
)
def test_runs_that_no_paper_reports_have_no_row(method, corpus, settings):
    assert find(method, corpus, **settings) is None


@pytest.mark.parametrize(
    ("method", "corpus", "settings"),
    [
        ("RAP", "MNRE", {"model__fusion_lr": 1.0, "model__dropout": 0.5, "data__batch_size": 2}),
        ("RAP", "MNRE", {"data__tag_scheme": "bioes", "trainer.max_epochs": 1}),
        ("RAP", "Twitter2015", {"model__pooling": "cls"}),
        ("RAP", "MNRE", {"model__text_encoder": "/models/bert-base-uncased"}),
        ("RAP", "MNRE", {"model__vision_backbone": "resnet101.tv_in1k"}),
        ("RAP", "MNRE", {"model__gate_norm": "none", "model__local_views": "all"}),
        ("RAP", "MNRE", {"model__path_reduction": "mean", "model__cosine_norm": "views"}),
        ("RAP", "MNRE", {"model__normalize_paths": False}),
        ("HVPNet", "MNRE", {"model__pool_to": 7}),
        ("HVPNet", "MNRE", {"model__variant": "reference", "model__missing_crops": "attend"}),
        ("RSRNeT", "MNRE", {"model__missing_crops": "mask"}),
        ("DGHC", "Twitter2015", {"model__gating": "softmax", "model__view_projection": "mlp"}),
        ("DGHC", "Twitter2015", {"model__gating": True}),
        ("IMM", "MNRE", {"model__norm": "pre", "data__num_objects": 3, "model__pooling": "cls"}),
    ],
)
def test_training_settings_and_readings_of_the_paper_do_not_change_the_row(
    method, corpus, settings
):
    assert find(method, corpus, **settings) == ("", METHODS[method].score(corpus).f1)


def test_editions_decide():
    edited = HVPNET.editions["Twitter2015"][0]
    trained = configure("HVPNet", "Twitter2015")
    assert find_published(HVPNET, trained, "Twitter2015", edited).scores.f1 == 75.32
    assert find_published(HVPNET, trained, "Twitter2015", "Twitter-2015, original labels") is None
    mnre = configure("RAP", "MNRE")
    assert find_published(RAP, mnre, "MNRE", "MNRE, version 1") is None
    assert find_published(RAP, mnre, "MNRE", "unknown edition") is None
    assert find_published(RAP, mnre, "MNRE", "MNRE, version 2").scores.f1 == 83.13


def test_pretraining_decides():
    start = configure("MLNetPretraining", "Twitter2015", model__fusion_layers=12)
    trained = configure("MLNet", "Twitter2015", model__init_from="a.ckpt")

    def find_start(start, **settings):
        configuration = configure("MLNet", "Twitter2015", model__init_from="a.ckpt", **settings)
        row = find_published(MLNET, configuration, "Twitter2015", start=start)
        return None if row is None else row.scores.f1

    assert find_start(start) == 76.28
    assert find_start(start, model__gate="once", model__match_weight=0.1) == 76.28
    assert find_start(start, model__fusion_layers=1) == 73.75
    assert find_start(start, model__fusion="late") == 73.75
    assert find_start(start, model__char_embedding=False) == 74.22
    assert find_start(start, model__fusion_layers=6) is None
    other_corpus = configure("MLNetPretraining", "Twitter2017", model__fusion_layers=12)
    assert find_start(other_corpus) is None
    features = configure(
        "MLNetPretraining", "Twitter2015", model__fusion_layers=12, model__mvm_mask="features"
    )
    assert find_start(features) is None
    without = configure(
        "MLNetPretraining",
        "Twitter2015",
        model__fusion_layers=12,
        model__char_embedding=False,
    )
    assert find_start(without) is None
    assert find_start(without, model__char_embedding=False) == 74.22
    assert find_start(configure("MLNet", "Twitter2015")) is None
    crossed = find_published(MLNET, trained, "Twitter2017", start=start)
    assert (crossed.setting, crossed.scores.f1) == ("trained on Twitter2015", 66.28)
    assert find_published(MLNET, configure("MLNet", "Twitter2015"), "Twitter2017") is None


def test_weights_of_another_task_decide():
    trained = configure("IMM", "MNRE", model__init_from="a.ckpt", model__pooling="cls")
    start = configure("IMM", "Twitter2017")
    assert find_published(IMM, trained, "MNRE", start=start).scores.f1 == 83.80
    assert find_published(IMM, trained, "MNRE") is None
    other = configure("HVPNet", "Twitter2017")
    assert find_published(IMM, trained, "MNRE", start=other) is None
    ablated = configure("IMM", "Twitter2017", model__sw_loss=False)
    assert find_published(IMM, trained, "MNRE", start=ablated) is None
    earlier = configure("IMM", "Twitter2017", model__init_from="b.ckpt")
    assert find_published(IMM, trained, "MNRE", start=earlier) is None


def test_corpora_of_training_and_test_decide():
    trained = configure("DGHC", "Twitter2015")
    assert find_published(DGHC, trained, "Twitter2017").scores.f1 == 60.81
    ablated = configure("DGHC", "Twitter2015", model__correlation=False)
    assert find_published(DGHC, ablated, "Twitter2017") is None
    assert find_published(RAP, configure("RAP", "Twitter2015"), "Twitter2017") is None


def parse_settings(*names):
    """Return the settings of configurations that are laid over one another, by dotted name."""
    options = [f"--config={CONFIGS / f'{name}.yaml'}" for name in names]
    config = succeed("fit", *options, "--print_config").config
    settings = {f"model.{name}": value for name, value in config["model"]["init_args"].items()}
    settings.update((f"data.{name}", value) for name, value in config["data"].items())
    return settings


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_configurations_of_the_corpora_are_the_papers_methods(method):
    stem = "text_only" if method == "TextOnly" else method.lower()
    for name, corpus in (("twitter2015", "Twitter2015"), ("mnre", "MNRE")):
        settings = parse_settings(f"{stem}_{name}")
        if method == "MLNet":
            settings["model.fusion_layers"] = 12
        configuration = Configuration(method, corpus, settings, defaults_of(method))
        assert differing_settings(METHODS[method], configuration) == {}


@pytest.mark.slow
@pytest.mark.parametrize("method", [method for method in METHODS if method != "TextOnly"])
def test_overlays_have_the_settings_of_their_rows(method):
    stem = method.lower()
    full = parse_settings(f"{stem}_twitter2017")
    for ablation in METHODS[method].ablations:
        ablated = parse_settings(f"{stem}_twitter2017", f"ablations/{ablation.overlay}")
        changed = {name for name in ablated if ablated[name] != full.get(name)}
        readings = [ablation.settings, *ablation.readings]
        assert any(changed <= settings.keys() for settings in readings), ablation.overlay
        values = [{name: ablated.get(name) for name in settings} for settings in readings]
        expected = [
            {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in row.items()
            }
            for row in readings
        ]
        assert any(value == other for value, other in zip(values, expected, strict=True))
