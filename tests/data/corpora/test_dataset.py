"""Parquet, Arrow and saved data sets as a corpus, from Python and from the command line."""

import json
import shutil

import pytest
from helpers.command import check_refused, metrics, run, succeed, tiny_options

from mmie.data import JsonlCorpus
from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.dataset import DatasetCorpus
from mmie.types import SPLITS, Entity

datasets = pytest.importorskip("datasets", reason="needs the package datasets: mmie[datasets]")

TAGS = ["O", "B-PER", "I-PER", "B-LOC"]
NAMES = {"train": "train", "valid": "validation", "test": "test"}
FILE = "train-00000-of-00001.parquet"


def tiny_table(**columns) -> "datasets.Dataset":
    """Return a data set of two posts with class labels."""
    features = {
        "tokens": datasets.List(datasets.Value("string")),
        "ner_tags": datasets.List(datasets.ClassLabel(names=TAGS)),
    }
    columns = {"tokens": [["Ann", "Lee"], ["Rome"]], "ner_tags": [[1, 2], [3]], **columns}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def demo_tables(root, pictures_as) -> dict[str, "datasets.Dataset"]:
    """Return the demo corpus by split.

    Args:
        root: Folder of the demo corpus.
        pictures_as: Makes the value of a cell from the path of a picture. Objects get the library's
            feature of pictures.
    """
    tables = {}
    for split, name in NAMES.items():
        lines = (root / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = []
        for line in lines:
            record = json.loads(line)
            crops = [pictures_as(root / crop) for crop in record.get("crops", [])]
            rows.append({**record, "image": pictures_as(root / record["image"]), "crops": crops})
        table = datasets.Dataset.from_list(rows)
        if isinstance(rows[0]["image"], dict):
            table = table.cast_column("image", datasets.Image())
            table = table.cast_column("crops", datasets.List(datasets.Image()))
        tables[name] = table
    return tables


@pytest.fixture(scope="module")
def parquet_folder(demo_root, tmp_path_factory):
    """Folder of Parquet files that hold the pictures of the demo corpus."""
    folder = tmp_path_factory.mktemp("parquet") / "demo"
    (folder / "data").mkdir(parents=True)
    tables = demo_tables(demo_root, lambda path: {"bytes": path.read_bytes(), "path": path.name})
    for name, table in tables.items():
        table.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder


def check_demo(corpus, demo_root):
    """Check that a corpus has the posts of the demo corpus, pictures byte for byte."""
    assert corpus.splits == SPLITS
    for split in SPLITS:
        for post, other in zip(
            corpus.posts(split), JsonlCorpus(demo_root).posts(split), strict=True
        ):
            assert (post.id, post.words) == (other.id, other.words)
            assert (post.entities, post.relations) == (other.entities, other.relations)
            pictures = [picture.read_bytes() for picture in (post.image, *post.crops)]
            assert pictures == [picture.read_bytes() for picture in (other.image, *other.crops)]


def test_a_folder_of_parquet(parquet_folder, demo_root):
    corpus = DatasetCorpus(parquet_folder)
    check_demo(corpus, demo_root)
    assert (corpus.name, corpus.tasks) == ("demo", ("ner", "re"))


def test_a_saved_data_set_with_pictures_elsewhere(demo_root, tmp_path):
    saved = datasets.DatasetDict(demo_tables(demo_root, str))
    saved.save_to_disk(tmp_path / "saved")
    corpus = DatasetCorpus(tmp_path / "saved", pictures=demo_root)
    check_demo(corpus, demo_root)
    assert corpus.posts("test") == JsonlCorpus(demo_root).posts("test")
    with pytest.raises(CorpusError, match=r"saved, train, row 0: .* leads out of .*saved"):
        DatasetCorpus(tmp_path / "saved").posts("train")


def test_single_tables_are_the_training_split(tmp_path):
    table = tiny_table()
    table.save_to_disk(tmp_path / "saved")
    table.to_parquet(tmp_path / "one.parquet")
    (tmp_path / "arrow").mkdir()
    with datasets.arrow_writer.ArrowWriter(
        path=str(tmp_path / "arrow" / "train.arrow"), features=table.features
    ) as writer:
        writer.write_table(table.data.table)
        writer.finalize()
    for name in ("saved", "one.parquet", "arrow"):
        corpus = DatasetCorpus(tmp_path / name)
        assert corpus.splits == ("train",)
        assert corpus.name == name.removesuffix(".parquet")
        ann, rome = corpus.posts("train")
        assert (ann.id, ann.words, ann.entities) == ("0", ("Ann", "Lee"), (Entity(0, 2, "PER"),))
        assert (rome.id, rome.entities) == ("1", (Entity(0, 1, "LOC"),))
        with pytest.raises(CorpusError, match=rf"{name}: expected the valid split, found 'train'"):
            corpus.posts("valid")


def test_splits_of_other_names_are_chosen(tmp_path):
    saved = datasets.DatasetDict(train=tiny_table(), dev_2=tiny_table())
    saved.save_to_disk(tmp_path / "saved")
    corpus = DatasetCorpus(tmp_path / "saved", splits={"train": "train", "valid": "dev_2"})
    assert len(corpus.posts("valid")) == 2
    assert corpus.place("valid").endswith("saved, dev_2")


def test_a_malformed_row_is_named(tmp_path):
    tiny_table(ner_tags=[[1, 2], [3, 0]]).to_parquet(tmp_path / FILE)
    with pytest.raises(CorpusError, match=r", train, row 1: expected a list of 1 tags, found"):
        DatasetCorpus(tmp_path).posts("train")


def test_class_labels_are_named_at_any_depth(tmp_path):
    kinds = datasets.ClassLabel(names=["PER", "LOC"])
    span = {"start": datasets.Value("int64"), "end": datasets.Value("int64"), "type": kinds}
    features = datasets.Features(
        {"text": datasets.Value("string"), "entities": datasets.List(span)}
    )
    entities = [[{"start": 0, "end": 3, "type": 0}, {"start": 7, "end": 11, "type": 1}]]
    table = datasets.Dataset.from_dict(
        {"text": ["Ann in Rome"], "entities": entities}, features=features
    )
    table.to_parquet(tmp_path / FILE)
    (post,) = DatasetCorpus(tmp_path).posts("train")
    assert post.entities == (Entity(0, 1, "PER"), Entity(2, 3, "LOC"))


@pytest.mark.parametrize("kind", ["missing", "damaged", "other"])
def test_what_is_no_data_set_is_refused_in_one_line(tmp_path, kind):
    folder = tmp_path / "mine"
    if kind != "missing":
        folder.mkdir()
        name = "train.parquet" if kind == "damaged" else "train.jsonl"
        (folder / name).write_bytes(b"PAR1 is not enough")
    with pytest.raises(CorpusError, match="mine") as caught:
        DatasetCorpus(folder).posts("train")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_fit_and_a_test_from_the_command_line(parquet_folder, demo_root, tmp_path):
    run_dir = tmp_path / "run"
    options = [
        option for option in tiny_options("hvpnet", demo_root, run_dir) if "corpus" not in option
    ]
    options += ["--model.init_args.text_encoder", demo_root / "encoder"]
    corpus = ["--data.corpus", "DatasetCorpus", "--data.corpus.root", parquet_folder]
    succeed("fit", *options, *corpus, "--trainer.limit_train_batches=1")
    succeed("test", f"--config={run_dir / 'config.yaml'}")
    assert metrics(run_dir)["test"]["count"] == len(JsonlCorpus(demo_root).posts("test"))
    stats = json.loads(
        succeed(
            "corpus",
            "stats",
            "--json",
            "--corpus",
            "DatasetCorpus",
            "--corpus.root",
            parquet_folder,
        ).out
    )
    assert stats["splits"]["test"]["pictures_readable"] == stats["splits"]["test"]["pictures"] > 0
    missing = tmp_path / "none"
    outcome = run("corpus", "stats", "--corpus", "DatasetCorpus", "--corpus.root", missing)
    check_refused(outcome, str(missing), "a data set on the hub")


def test_pictures_may_lie_beside_the_files(tmp_path, demo_root):
    for folder in ("images", "crops"):
        shutil.copytree(demo_root / folder, tmp_path / folder)
    for split, name in NAMES.items():
        lines = (demo_root / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        table = datasets.Dataset.from_list([json.loads(line) for line in lines])
        table.to_parquet(tmp_path / f"{name}.parquet")
    corpus = DatasetCorpus(tmp_path)
    assert corpus.splits == SPLITS
    for split in SPLITS:
        posts = zip(corpus.posts(split), JsonlCorpus(demo_root).posts(split), strict=True)
        assert all(post.image.name == other.image.name for post, other in posts)
