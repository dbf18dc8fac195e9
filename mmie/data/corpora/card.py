"""Card of a corpus: a JSON file beside its posts, whose note every report prints.

The file holds a JSON object with the key ``note``. Further keys are for readers of the file.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from mmie.data.corpora.base import CorpusError
from mmie.utils.files import atomic_write_text

CARD_FILE = "corpus_card.json"
"""Name of the card in the folder of a corpus."""


def write_card(folder: Path, note: str, facts: Mapping[str, object]) -> None:
    """Write the card of a corpus.

    Args:
        folder: Folder of the corpus.
        note: Remark that reports print beside scores of the corpus.
        facts: Further values for readers of the file.

    Raises:
        OSError: The file cannot be written.
    """
    text = json.dumps({"note": note, **facts}, indent=2, ensure_ascii=False)
    atomic_write_text(folder / CARD_FILE, text + "\n")


def read_note(folder: Path) -> str:
    """Read the note of a corpus in one line. It is empty without a card.

    Raises:
        CorpusError: The card cannot be read, or is not a JSON object with a text as ``note``.
    """
    file = folder / CARD_FILE
    if not file.exists():
        return ""
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorpusError(f"{file}: expected a JSON object, found {error}") from None
    note = card.get("note") if isinstance(card, dict) else None
    if not isinstance(note, str):
        raise CorpusError(f"{file}: expected a JSON object with a text as 'note'")
    return " ".join(note.split())
