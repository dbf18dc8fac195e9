"""Published indices of object crops, which are pickled dictionaries."""

from collections.abc import Sequence
from pathlib import Path

from mmie.data.corpora.base import CorpusError
from mmie.data.parsing import existing_or_first
from mmie.utils.text import first_line


def load_crop_index(candidates: Sequence[Path]) -> dict[str, list[str]]:
    """Load the names of crop files by image file (Twitter) or line number (MNRE).

    The index is a pickle. It is loaded with ``weights_only=True``, which builds nothing but
    containers, numbers and strings.

    Args:
        candidates: Paths that the index may have, the preferred one first.

    Returns:
        For each image file or line number, as a string, its crop files, best first. Empty if no
        such file exists.

    Raises:
        CorpusError: The file cannot be loaded, or is not a dictionary with lists of strings.
    """
    file = existing_or_first(candidates)
    if not file.exists():
        return {}
    import torch  # imports for seconds, which corpora without crops need not wait for

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything on other files
        raise CorpusError(
            f"{file}: expected a dictionary of crop files, "
            f"found what cannot be loaded ({first_line(error)})"
        ) from None
    wrong_content = f"{file}: expected a dictionary with lists of crop files, found other values"
    if not isinstance(content, dict):
        raise CorpusError(wrong_content)
    index: dict[str, list[str]] = {}
    for key, crops in content.items():
        if not isinstance(crops, list | tuple) or not all(isinstance(crop, str) for crop in crops):
            raise CorpusError(wrong_content)
        index[str(key)] = list(crops)
    return index
