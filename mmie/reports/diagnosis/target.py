"""A trained method and the split that it is diagnosed on."""

import difflib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmie.checkpoints import read_checkpoint
from mmie.checkpoints.compatibility import describe_changed_splits
from mmie.data import Corpus, MultimodalDataModule
from mmie.data.encoding import WordTokenizer
from mmie.data.instances import Instance
from mmie.methods import ExtractionModule
from mmie.methods.loading import build_method
from mmie.reports.corpora import holds_contexts
from mmie.runs.folder import CONFIG, find_checkpoint, run_folder_of
from mmie.types import MmieError, Split
from mmie.utils.devices import resolve_device
from mmie.utils.files import read_yaml

_STAGES: dict[Split, str] = {"train": "fit", "valid": "validate", "test": "test"}
_USED_SETTINGS = ("use_context", "context_file", "pictures", "seed")
"""Settings of a ``data`` section that a checkpoint does not decide."""


class DiagnosisError(MmieError, ValueError):
    """A post or run that does not fit, or a configuration that does not name the corpus."""


@dataclass(frozen=True, slots=True)
class DiagnosisTarget:
    """Trained method and the split that it is diagnosed on.

    Attributes:
        checkpoint: Checkpoint file of the method.
        module: The method.
        data: The corpus, encoded as the method was trained, with the split set up.
        split: The split.
        notes: Reasons why something that the run's configuration names is left out.
    """

    checkpoint: Path
    module: ExtractionModule
    data: MultimodalDataModule
    split: Split
    notes: tuple[str, ...] = ()

    @property
    def instances(self) -> list[Instance]:
        """Instances of the split."""
        return self.data.instances[self.split]

    @property
    def units(self) -> list[str]:
        """Names of the units in a fusion layer, for a method that has them."""
        fusion: Any = self.module.fusion
        return [type(unit).__name__ for unit in fusion.layers[0]]


def read_data_settings(checkpoint: str | Path, config: str | Path | None = None) -> dict[str, Any]:
    """Read the ``data`` section of a configuration.

    Args:
        checkpoint: A run folder, or a checkpoint file in it.
        config: File of the configuration, by default that of the run folder.

    Raises:
        DiagnosisError: The file cannot be read, or has no ``data`` section.
    """
    path = run_folder_of(checkpoint) / CONFIG if config is None else Path(config)
    try:
        settings: dict[str, Any] = dict(read_yaml(path)["data"])
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise DiagnosisError(
            f"{path}: expected a configuration with a data section: name one with --config"
        ) from error
    return settings


def load_target(
    checkpoint: str | Path,
    corpus: Corpus,
    settings: dict[str, Any],
    split: Split = "test",
    context_file: str | None = None,
) -> DiagnosisTarget:
    """Load a checkpoint, and a split in the encoding that the checkpoint was trained with.

    Args:
        checkpoint: Checkpoint file of the method, or its run folder.
        corpus: The corpus.
        settings: A ``data`` section, of which contexts, pictures and seed are used. It may come
            from somebody else, so that a context file outside of the folder of the corpus is left
            out.
        split: The split.
        context_file: Context file to read wherever it lies, in place of that of the settings.

    Raises:
        CheckpointError: The checkpoint cannot be read, or its method cannot be built.
        RunFolderError: The run folder has no best checkpoint.
        CorpusError: The corpus holds nothing for the method's task.
        DeviceError: The device is not available.
    """
    checkpoint = find_checkpoint(checkpoint)
    content = read_checkpoint(checkpoint)
    state, schema = content.data_state(), content.schema
    module = build_method(content)
    used_settings = {name: settings[name] for name in _USED_SETTINGS if name in settings}
    named_by_run = used_settings.pop("context_file", None)
    notes = []
    if context_file is not None:
        used_settings["context_file"] = context_file
    elif holds_contexts(corpus, named_by_run):
        used_settings["context_file"] = named_by_run
    elif named_by_run is not None:
        notes.append(
            f"{checkpoint}: the context file of the run is left out, because it lies outside of "
            f"{corpus.root}. Posts have the contexts of the corpus alone."
        )
    data = MultimodalDataModule(
        corpus,
        schema.task,
        max_tokens=schema.max_tokens,
        num_objects=schema.num_objects,
        num_images=schema.num_images,
        tag_scheme=schema.tag_scheme,
        labels=list(schema.labels),
        image_size=schema.image_size,
        resize=state.transform.resize,
        max_pixels=state.transform.max_pixels,
        **used_settings,
    )
    data.tokenizer = WordTokenizer.from_files(state.tokenizer, schema.max_tokens)
    data.setup(_STAGES[split])
    changed = describe_changed_splits(content, data.digests, [split])
    if changed:
        warnings.warn(changed, stacklevel=2)
    module.to(resolve_device())
    return DiagnosisTarget(Path(checkpoint), module, data, split, tuple(notes))


def check_unprompted(target: DiagnosisTarget, unprompted: DiagnosisTarget) -> None:
    """Raise unless one run prompts the text encoder and the other is the same method without it.

    Raises:
        DiagnosisError: The method or the task differs, or the runs do not differ in prompting.
    """
    for option, run, value in (("checkpoint", target, True), ("unprompted", unprompted, False)):
        if getattr(run.module, "prompting", None) is not value:
            raise DiagnosisError(
                f"--{option} {run.checkpoint}: expected a run with prompting: {str(value).lower()}"
            )
    names = []
    for run in (target, unprompted):
        names.append(f"{type(run.module).__name__} for {run.module.schema.task}")
    if names[0] != names[1]:
        raise DiagnosisError(
            f"--unprompted {unprompted.checkpoint}: expected {names[0]}, not {names[1]}"
        )


def find_post(target: DiagnosisTarget, post_id: str) -> list[Instance]:
    """Return the instances of a post.

    Raises:
        DiagnosisError: The split has no post of this id. The message names posts of similar ids.
    """
    instances = [instance for instance in target.instances if instance.post.id == post_id]
    if instances:
        return instances
    ids = list(dict.fromkeys(instance.post.id for instance in target.instances))
    similar = difflib.get_close_matches(post_id, ids, n=3, cutoff=0.5) or ids[:3]
    more = ", ..." if len(ids) > len(similar) else ""
    raise DiagnosisError(
        f"--post {post_id}: {target.data.corpus.name} {target.split} has no such post; "
        f"it has {', '.join(similar)}{more}"
    )
