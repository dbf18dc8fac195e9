"""Studies of one configuration: what they vary, and the runs that they plan."""

import pytest
import yaml
from helpers.paths import CONFIGS

from mmie.experiments.sweep import SweepError
from mmie.experiments.variations import (
    find_pretraining,
    plan_variations,
    read_base,
    vary_ablations,
    vary_crops,
    vary_number,
    vary_pretraining,
)
from mmie.methods import IMM, RAP, MLNet, TextOnly, papers
from mmie.methods.init_args import constructor_defaults


def base_of(name, tmp_path):
    """Read a configuration of the repository."""
    return read_base(str(CONFIGS / f"{name}.yaml"), tmp_path)


def rows_of(variations):
    """Return label and settings of variations."""
    return [(variation.label, dict(variation.settings)) for variation in variations]


def test_a_base_is_merged_of_its_files(tmp_path):
    overlay = CONFIGS / "ablations" / "dghc_wo_augmentation.yaml"
    base = read_base(f"{CONFIGS / 'dghc_twitter2015.yaml'}+{overlay}", tmp_path)
    assert (base.class_path, base.corpus, base.task) == ("mmie.methods.DGHC", "Twitter2015", "ner")
    assert base.data["num_objects"] == 0
    assert base.model["warmup_ratio"] == 0.01


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a", "expected settings"), ("a: [", "expected settings"), ("data: {}", "expected model")],
)
def test_wrong_bases_are_refused(tmp_path, text, message):
    file = tmp_path / "base.yaml"
    file.write_text(text)
    with pytest.raises(SweepError, match=message):
        read_base(str(file), tmp_path)
    with pytest.raises(SweepError, match="stands for"):
        read_base(str(CONFIGS / "rap_*.yaml"), tmp_path)


def test_ablations_are_those_of_the_papers_table(tmp_path):
    variations = vary_ablations(base_of("rap_mnre", tmp_path), papers.RAP)
    assert rows_of(variations) == [
        ("full method", {}),
        ("w/o MRR (Table 5)", {"model.init_args.relevance": "false"}),
        ("w/o RAU (Table 5)", {"model.init_args.units": '["fsru", "cfu"]'}),
        ("w/o FSRU (Table 5)", {"model.init_args.units": '["rau", "cfu"]'}),
        ("w/o CFU (Table 5)", {"model.init_args.units": '["rau", "fsru"]'}),
        ("w/o prompting (Figure 9)", {"model.init_args.prompting": "false"}),
    ]
    with pytest.raises(SweepError, match="has no ablations"):
        vary_ablations(base_of("text_only_mnre", tmp_path), papers.TEXT_ONLY)


@pytest.mark.parametrize(
    ("corpus", "left_out"), [("twitter2015", "woRoB"), ("twitter2017", "woRoB"), ("mnre", "woXlm")]
)
def test_rows_of_the_other_task_are_left_out(tmp_path, corpus, left_out):
    variations = vary_ablations(base_of(f"rsrnet_{corpus}", tmp_path), papers.RSRNET)
    names = {variation.label.split()[0] for variation in variations}
    assert names == {"full", "woRoB", "woXlm", "woRSt", "plain", "1T3"} - {left_out}


def test_pretraining_is_compared_with_random_weights(tmp_path):
    mlnet = base_of("mlnet_twitter2015", tmp_path)
    full, without, random = vary_pretraining(mlnet, constructor_defaults(MLNet), True)
    assert (full.is_pretrained, without.is_pretrained, random.is_pretrained) == (True, False, False)
    assert dict(random.settings) == {"model.init_args.pretrained_vision": "false"}
    _, random = vary_pretraining(base_of("imm_mnre", tmp_path), constructor_defaults(IMM), False)
    assert dict(random.settings) == {"model.init_args.patch_embedding": "null"}
    with pytest.raises(SweepError, match="no vision weights"):
        vary_pretraining(base_of("demo_rap", tmp_path), constructor_defaults(RAP), False)
    base = base_of("text_only_mnre", tmp_path)
    with pytest.raises(SweepError, match="no vision weights"):
        vary_pretraining(base, constructor_defaults(TextOnly), False)


def test_the_pretraining_lies_beside_the_configuration(tmp_path):
    for name, expected in (
        ("mlnet_twitter2015", "mlnet_pretrain_twitter2015"),
        ("demo_mlnet", "demo_mlnet_pretrain"),
    ):
        config = str(CONFIGS / f"{name}.yaml")
        found = find_pretraining(config, base_of(name, tmp_path), papers.MLNET)
        assert found == CONFIGS / f"{expected}.yaml"
    config = str(CONFIGS / "rap_mnre.yaml")
    assert find_pretraining(config, base_of("rap_mnre", tmp_path), papers.RAP) is None
    alone = tmp_path / "mlnet_alone.yaml"
    alone.write_text((CONFIGS / "mlnet_twitter2015.yaml").read_text())
    assert find_pretraining(str(alone), read_base(str(alone), tmp_path), papers.MLNET) is None


def test_a_number_has_its_own_value_first(tmp_path):
    base, defaults = base_of("rap_mnre", tmp_path), constructor_defaults(RAP)
    variations = vary_number(base, defaults, "num_fusion_layers")
    assert [variation.value for variation in variations] == [3, 2, 4, 5, 6]
    assert dict(variations[1].settings) == {"model.init_args.num_fusion_layers": "2"}
    weights = vary_number(base, defaults, "path_weight")
    assert sorted(weight.value for weight in weights) == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    (own, other) = vary_number(base, defaults, "prompt_length", "16,8")
    assert (own.value, other.label) == (16, "prompt_length = 8")
    objects = vary_number(base, defaults, "num_objects", "0")
    assert dict(objects[1].settings) == {"data.num_objects": "0"}
    with pytest.raises(SweepError, match="no such argument"):
        vary_number(base, defaults, "depth")
    with pytest.raises(SweepError, match="expected numbers"):
        vary_number(base, defaults, "prompt_length", "many")
    with pytest.raises(SweepError, match="separated by commas"):
        vary_number(base, defaults, "text_lr")


def test_crops_are_counted_down_and_detectors_added(tmp_path):
    base = base_of("hvpnet_mnre", tmp_path)
    assert rows_of(vary_crops(base, papers.HVPNET, ["coco=data/coco"])) == [
        ("3 crops", {}),
        ("2 crops", {"data.num_objects": "2"}),
        ("1 crop", {"data.num_objects": "1"}),
        ("no crops", {"data.num_objects": "0"}),
        ("3 crops of coco", {"data.corpus.init_args.root": "data/coco"}),
    ]
    with pytest.raises(SweepError, match="expected NAME=ROOT"):
        vary_crops(base, papers.HVPNET, ["coco"])
    with pytest.raises(SweepError, match="reads no crops"):
        vary_crops(base_of("imm_mnre", tmp_path), papers.IMM, [])


def test_runs_start_from_the_pretraining_of_their_seed(tmp_path):
    config = str(CONFIGS / "mlnet_twitter2015.yaml")
    base = base_of("mlnet_twitter2015", tmp_path)
    variations = vary_pretraining(base, constructor_defaults(MLNet), True)
    pretraining = CONFIGS / "mlnet_pretrain_twitter2015.yaml"
    jobs = plan_variations(config, variations, ["a=1"], "2", tmp_path, pretraining)
    assert [(str(job.folder.relative_to(tmp_path)), job.tests) for job in jobs] == [
        ("mlnet_pretrain_twitter2015/seed_1234", False),
        ("mlnet_pretrain_twitter2015/seed_1235", False),
        ("mlnet_twitter2015/full/seed_1234", True),
        ("mlnet_twitter2015/full/seed_1235", True),
        ("mlnet_twitter2015/wo_pretraining/seed_1234", True),
        ("mlnet_twitter2015/wo_pretraining/seed_1235", True),
        ("mlnet_twitter2015/random_vision/seed_1234", True),
        ("mlnet_twitter2015/random_vision/seed_1235", True),
    ]
    assert (jobs[3].after, jobs[4].after) == ((jobs[1],), ())
    start = f"--model.init_args.init_from={jobs[1].folder / 'best.ckpt'}"
    assert start in jobs[3].fit_options
    assert "--a=1" in jobs[0].fit_options
    for setting in ("model.init_args.pretrained_vision=true", "model.init_from=b"):
        with pytest.raises(SweepError, match="the study sets this itself"):
            plan_variations(config, variations, [setting], "1", tmp_path, pretraining)


def test_settings_of_a_row_are_options_that_the_command_reads(tmp_path):
    for variation in vary_ablations(base_of("rap_mnre", tmp_path), papers.RAP):
        for _, text in variation.settings:
            assert yaml.safe_load(text) in (False, ["fsru", "cfu"], ["rau", "cfu"], ["rau", "fsru"])
