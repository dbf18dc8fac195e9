"""CPU seconds of `Extractor` beside a plain loop with transformers and timm, in turn in one run.

    python tests/benchmarks/extraction.py --views 1 --posts 32 --repeats 5

Models have the sizes of BERT-base and ResNet-50 and random weights, pictures are JPEGs of
1200 x 800 pixels. Loading and the writing of graphs are not counted. All figures are CPU seconds
of the process, which neighbours change less than wall time.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizerFast

from mmie.checkpoints import read_checkpoint
from mmie.data import JsonlCorpus, MultimodalDataModule
from mmie.export.onnx_engine import read_calibration, use_onnx
from mmie.inference import Extractor
from mmie.methods import HVPNet, TextOnly
from mmie.types import Post

WIDTH, HEIGHT, WORDS, BATCH = 1200, 800, 16, 32
TAGS = ("PER", "LOC", "ORG", "MISC")


def write_posts(root: Path, count: int, views: int) -> list[Post[Any]]:
    """Write posts of random words and pictures of smooth noise, and return them."""
    generator = np.random.default_rng(0)
    names = [f"word{number}" for number in range(2000)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (root / "encoder").mkdir()
    (root / "encoder" / "vocab.txt").write_text("\n".join([*special, *names]))
    BertTokenizerFast(str(root / "encoder" / "vocab.txt")).save_pretrained(root / "encoder")
    BertConfig().save_pretrained(root / "encoder")
    (root / "pictures").mkdir()
    posts = []
    for number in range(count):
        files = []
        for view in range(views):
            small = generator.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            files.append(root / "pictures" / f"{number}_{view}.jpg")
            picture.save(files[-1], quality=90)
        words = tuple(generator.choice(names, generator.integers(WORDS // 2, 2 * WORDS)))
        image, crops = (files[0], tuple(files[1:])) if files else (None, ())
        posts.append(Post(id=str(number), words=tuple(map(str, words)), image=image, crops=crops))
    entities = [{"start": n, "end": n + 1, "type": tag} for n, tag in enumerate(TAGS)]
    record = {"id": "0", "words": names[:8], "entities": entities}
    for split in ("train", "valid", "test"):
        (root / f"{split}.jsonl").write_text(json.dumps(record) + "\n")
    return posts


def write_checkpoint(root: Path, views: int) -> Path:
    """Write a checkpoint with random weights."""
    settings: dict[str, Any] = {"tokenizer": str(root / "encoder"), "max_tokens": 128}
    data = MultimodalDataModule(JsonlCorpus(root), "ner", num_objects=max(views - 1, 0), **settings)
    data.setup("fit")
    torch.manual_seed(0)
    encoder = str(root / "encoder")
    if views:
        module: Any = HVPNet(data.schema, "resnet50", text_encoder=encoder, pretrained=False)
    else:
        module = TextOnly(data.schema, text_encoder=encoder, pretrained=False)
    content = {"state_dict": module.state_dict(), "MultimodalDataModule": data.state_dict()}
    module.on_save_checkpoint(content)
    torch.save(content, root / "model.ckpt")
    return root / "model.ckpt"


class PlainLoop:
    """What one would write: batches in order, states and pooled pictures, a linear tagger."""

    def __init__(self, root: Path, views: int) -> None:
        self.tokenizer = BertTokenizerFast.from_pretrained(root / "encoder")
        self.text = BertModel(BertConfig()).eval()
        self.vision = timm.create_model("resnet50", num_classes=0).eval() if views else None
        data = timm.data.resolve_model_data_config(self.vision) if views else None
        self.transform = timm.data.create_transform(**data) if data else None
        self.head = nn.Linear(768 + (2048 if views else 0), 1 + 2 * len(TAGS))

    @torch.inference_mode()
    def __call__(self, posts: list[Post[Any]]) -> None:
        for start in range(0, len(posts), BATCH):
            chunk = posts[start : start + BATCH]
            words = [list(post.words) for post in chunk]
            tokens = self.tokenizer(
                words, is_split_into_words=True, padding=True, return_tensors="pt"
            )
            states = self.text(**tokens).last_hidden_state  # (batch, tokens, hidden)
            if self.vision is not None:
                views = []
                for post in chunk:
                    for file in (post.image, *post.crops):
                        views.append(self.transform(Image.open(file).convert("RGB")))
                pooled = self.vision(torch.stack(views))  # (batch * views, channels)
                pooled = pooled.view(len(chunk), -1, pooled.shape[1]).mean(1, keepdim=True)
                states = torch.cat([states, pooled.expand(-1, states.shape[1], -1)], dim=-1)
            self.head(states).softmax(-1).max(-1)


def candidates(root: Path, views: int, checkpoint: Path) -> dict[str, Callable[..., Any]]:
    """Build what is compared, by name."""
    runs: dict[str, Callable[..., Any]] = {"plain loop": PlainLoop(root, views)}
    for precision in ("float32", "bfloat16"):
        extractor = Extractor.from_checkpoint(checkpoint, device="cpu", precision=precision)
        runs[f"torch {precision}"] = extractor.extract
    for precision in ("float32", "int8"):
        for fast in (False, True) if precision == "int8" and views else (False,):
            extractor = Extractor.from_checkpoint(checkpoint, device="cpu", fast_jpeg=fast)
            calibration = None
            if precision == "int8" and views:
                transform = extractor.ner.format.transform
                calibration = read_calibration(root / "pictures", transform)[:32]
            use_onnx(extractor.ner, root / "graphs", precision, calibration)
            runs[f"onnx {precision}" + (", fast_jpeg" if fast else "")] = extractor.extract
    return runs


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--views", type=int, default=1, help="Pictures of a post, 0 for none.")
    parser.add_argument("--posts", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        posts = write_posts(root, arguments.posts, arguments.views)
        checkpoint = write_checkpoint(root, arguments.views)
        assert read_checkpoint(checkpoint).schema.task == "ner"
        runs = candidates(root, arguments.views, checkpoint)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            run(posts[:4])
        for _ in range(arguments.repeats):
            for name, run in runs.items():
                start = time.process_time()
                run(posts)
                seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print("| engine | CPU ms per post | ratio |\n|---|---|---|")
    for name, median in medians.items():
        ratio = medians["plain loop"] / median
        print(f"| {name} | {1000 * median / len(posts):.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
