"""Loading of Hugging Face tokenizers, and their files as texts for a checkpoint."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from mmie.types import MmieError


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
    """Return all files of a tokenizer, name to text."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = sorted(Path(folder).glob("*.json"))
        return {file.name: file.read_text(encoding="utf-8") for file in files}


def tokenizer_from_files(files: Mapping[str, str]) -> PreTrainedTokenizerBase:
    """Load the tokenizer whose files `tokenizer_to_files` returned.

    Raises:
        TokenizerError: The files are not those of a tokenizer.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            _write_file(Path(folder), name, text)
        return load_tokenizer(folder)


def _write_file(folder: Path, name: object, text: object) -> None:
    """Write a file of a foreign checkpoint.

    Raises:
        TokenizerError: The name leads out of the folder, or the text is not a string.
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
    (folder / str(name)).write_text(text, encoding="utf-8", errors="replace")
