"""Loading of Hugging Face tokenizers, and their files as texts for a checkpoint."""

import importlib.util
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from mmie.data.slow_tokenizers import (
    ANALYSERS,
    SLOW_FILES,
    TokenizerError,
    convert_japanese,
    prepare_slow,
    write_merges,
)
from mmie.utils.files import named_errors
from mmie.utils.model_names import is_missing_folder, missing_folder_message
from mmie.utils.optional import MissingPackageError
from mmie.utils.references import find_file_reference, without_origin

_VOCABULARY = "tokenizer.json"
"""File that the tokenizers library reads by itself. It names no other files."""


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder or of the hub without running code of its own.

    Raises:
        TokenizerError: The tokenizer cannot be loaded.
        MissingPackageError: A package that the tokenizer needs is not installed.
    """
    if is_missing_folder(source):
        raise TokenizerError(missing_folder_message("tokenizer", source))
    try:
        settings = get_tokenizer_config(source)
        if settings.get("subword_tokenizer_type") == "sentencepiece":
            raise TokenizerError(
                f"tokenizer '{source}' splits Japanese words by a sentencepiece model, which is "
                "not supported: name a text encoder with WordPiece or character subwords, or one "
                "that has a tokenizer.json"
            )
        if settings.get("word_tokenizer_type") in ANALYSERS:
            return convert_japanese(source)
        tokenizer = AutoTokenizer.from_pretrained(
            source, add_prefix_space=True, trust_remote_code=False
        )
        return prepare_slow(tokenizer)
    except (MissingPackageError, TokenizerError):
        raise
    except Exception as error:  # transformers raises almost anything on damaged files
        if "tiktoken" in str(error) and importlib.util.find_spec("sentencepiece") is None:
            raise MissingPackageError(
                f"tokenizer '{source}' has a sentencepiece model and no tokenizer.json, and "
                "package 'sentencepiece' is not installed: pip install 'mmie[sentencepiece]'"
            ) from error
        raise TokenizerError(
            f"tokenizer '{source}' is no tokenizer's folder and the hub does not have it or cannot "
            "be reached: name a folder that holds its tokenizer.json"
        ) from error


def begin_words_with_blanks(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make a fast tokenizer split each word as if a blank stood before it.

    Byte-level and sentencepiece vocabularies hold most words only with a blank. transformers sets
    this for the classes that it has (RoBERTa's), and not for a bare tokenizer.json (ModernBERT's).
    """
    whole: Any = tokenizer.backend_tokenizer.pre_tokenizer
    has_steps = isinstance(whole, pre_tokenizers.Sequence)
    for step in whole if has_steps else [whole]:
        if isinstance(step, pre_tokenizers.ByteLevel):
            step.add_prefix_space = True
        elif isinstance(step, pre_tokenizers.Metaspace):
            step.prepend_scheme = "always"


def tokenizer_to_files(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Return all files of a tokenizer, name to text, without the place that it was read from.

    All are JSON. A file of a slow tokenizer that is not (``vocab.txt``) becomes a JSON string
    (``vocab.txt.json``).
    """
    texts = {}
    with tempfile.TemporaryDirectory() as folder, named_errors(Path(folder), Path(folder)):
        tokenizer.save_pretrained(folder)
        write_merges(tokenizer, Path(folder))
        for file in sorted(Path(folder).iterdir()):
            if file.suffix == ".json":
                text = file.read_text(encoding="utf-8")
                if file.name != _VOCABULARY:
                    settings = without_origin(json.loads(text))
                    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
                texts[file.name] = text
            elif file.name in SLOW_FILES:
                text = file.read_text(encoding="utf-8")
                texts[f"{file.name}.json"] = json.dumps(text, ensure_ascii=False)
    return texts


def tokenizer_from_files(files: Mapping[str, str]) -> PreTrainedTokenizerBase:
    """Load the tokenizer whose files `tokenizer_to_files` returned.

    Raises:
        TokenizerError: The files are not those of a tokenizer.
    """
    with tempfile.TemporaryDirectory() as folder, named_errors(Path(folder), Path(folder)):
        for name, text in files.items():
            _write_file(Path(folder), name, text)
        return load_tokenizer(folder)


def _write_file(folder: Path, name: object, text: object) -> None:
    """Write a file of a foreign checkpoint.

    Raises:
        TokenizerError: The name leads out of the folder or is not that of a JSON file, the text is
            not a string, or it names other files or code.
    """
    is_file_name = (
        isinstance(name, str)
        and name == Path(name).name
        and name.endswith(".json")  # mmie writes no others, and some have parsers in C++
        and "\0" not in name
    )
    if not is_file_name or not isinstance(text, str):
        raise TokenizerError(
            f"the checkpoint's tokenizer has a file {name!r}: expected a text of its folder"
        )
    target = folder / str(name)
    if name != _VOCABULARY:
        _check_settings(str(name), text)
        if target.stem in SLOW_FILES:
            target, text = target.with_suffix(""), _read_string(str(name), text)
    target.write_text(text, encoding="utf-8", errors="replace")


def _read_string(name: str, text: str) -> str:
    """Return the text of a file that is stored as a JSON string.

    Raises:
        TokenizerError: The content is no JSON string.
    """
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, str):
        raise TokenizerError(f"the checkpoint's {name} is no JSON string, as mmie writes it")
    return content


def _check_settings(name: str, text: str) -> None:
    """Raise if settings of a tokenizer name other files or code.

    Raises:
        TokenizerError: The settings name a file or code, or are nested too deeply.
    """
    try:
        found = find_file_reference(json.loads(text))
    except RecursionError:
        raise TokenizerError(f"the checkpoint's {name} is nested too deeply") from None
    except ValueError:
        return  # a text that is no JSON names nothing; the tokenizer's reader reports it
    if found is not None:
        raise TokenizerError(
            f"the checkpoint's {name} has {found}: expected a tokenizer that is built from the "
            "checkpoint alone"
        )
