"""Loading of Hugging Face tokenizers, and their files as texts for a checkpoint."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from mmie.types import MmieError
from mmie.utils.files import named_errors
from mmie.utils.references import find_file_reference, without_origin

_VOCABULARY = "tokenizer.json"
"""File that the tokenizers library reads by itself. It names no other files."""


class TokenizerError(MmieError, ValueError):
    """Tokenizer that cannot be loaded, or that cannot keep words apart."""


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder or of the hub without running code of its own.

    Raises:
        TokenizerError: The tokenizer cannot be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(source, add_prefix_space=True, trust_remote_code=False)
    except Exception as error:  # transformers raises almost anything on damaged files
        raise TokenizerError(
            f"tokenizer '{source}' is no tokenizer's folder and the hub does not have it or cannot "
            "be reached: name a folder that holds its tokenizer.json"
        ) from error


def tokenizer_to_files(tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Return all files of a tokenizer, name to text, without the place that it was read from."""
    texts = {}
    with tempfile.TemporaryDirectory() as folder, named_errors(Path(folder), Path(folder)):
        tokenizer.save_pretrained(folder)
        for file in sorted(Path(folder).glob("*.json")):
            text = file.read_text(encoding="utf-8")
            if file.name != _VOCABULARY:
                settings = without_origin(json.loads(text))
                text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
            texts[file.name] = text
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
        TokenizerError: The name leads out of the folder, the text is not a string, or it names
            other files or code.
    """
    is_file_name = (
        isinstance(name, str)
        and name == Path(name).name
        and name not in ("", "..")
        and "\0" not in name
    )
    if not is_file_name or not isinstance(text, str):
        raise TokenizerError(
            f"the checkpoint's tokenizer has a file {name!r}: expected a text of its folder"
        )
    if name != _VOCABULARY:
        _check_settings(str(name), text)
    (folder / str(name)).write_text(text, encoding="utf-8", errors="replace")


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
