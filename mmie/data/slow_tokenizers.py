"""Slow tokenizers of transformers: split word by word, repaired, or converted to a fast one.

A fast tokenizer reports the word of each subword. A slow one does not, and since the words of a
post are given, each is split by itself. No word needs a blank before it: the vocabularies mark the
inside or the end of a word (``@@``, ``##``), not its start.
"""

from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertJapaneseTokenizer,
    BertweetTokenizer,
    PhobertTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from mmie.types import MmieError
from mmie.utils.optional import require

SLOW_TOKENIZERS = (BertweetTokenizer, BertJapaneseTokenizer)
"""Slow tokenizers that words can be split with."""
SLOW_FILES = ("vocab.txt", "bpe.codes")
"""Files of their vocabularies that are not JSON."""
ANALYSERS = ("mecab", "sudachi", "jumanpp")
"""Morphological analysers that Japanese BERT splits sentences with."""
_FOLLOWER = "x"
"""Word that stands behind each word where the normalisation depends on a blank there."""
_CACHED_WORDS = 2**16
"""Words whose subwords are kept, since slow tokenizers take long and words recur."""


class TokenizerError(MmieError, ValueError):
    """Tokenizer that cannot be loaded, or that cannot keep words apart."""


class WordSplitter:
    """Splitting of single words by a slow tokenizer, with a cache.

    Args:
        tokenizer: One of `SLOW_TOKENIZERS`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self._follower: list[str] = []
        if getattr(tokenizer, "normalization", False):
            self._follower = tokenizer.tokenize(_FOLLOWER, split_special_tokens=True)

    def split(self, word: str) -> list[int]:
        """Return the ids of a word's subwords.

        Blanks that the tokenizer's normalisation puts into a word ("don't" as "do n't") do not make
        it two words. A special token in the word is ordinary text.
        """
        ids = self._known.get(word)
        if ids is None:
            if len(self._known) >= _CACHED_WORDS:
                self._forget()
            text = f"{word} {_FOLLOWER}" if self._follower else word
            tokens = self.tokenizer.tokenize(text, split_special_tokens=True)
            own_tokens = tokens[: len(tokens) - len(self._follower)]
            numbers: Any = self.tokenizer.convert_tokens_to_ids(own_tokens)
            ids = self._known[word] = list(numbers)
        return ids

    def _forget(self) -> None:
        """Empty the cache, and that of the tokenizer itself, which has no bound."""
        self._known.clear()
        own_cache = getattr(self.tokenizer, "cache", None)
        if isinstance(own_cache, dict):
            own_cache.clear()


def prepare_slow(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Make a slow tokenizer split like the one that was trained, on every machine.

    PhoBERT's becomes BERTweet's, which splits alike and can be saved without its first files.

    Raises:
        MissingPackageError: The tokenizer replaces emojis by names, and the package that names them
            is not installed.
    """
    if isinstance(tokenizer, PhobertTokenizer):
        tokenizer = BertweetTokenizer(
            tokenizer.vocab_file,
            tokenizer.merges_file,
            added_tokens_decoder=tokenizer.added_tokens_decoder,
            **tokenizer.special_tokens_map,
        )
    if isinstance(tokenizer, BertweetTokenizer):
        if tokenizer.normalization:
            require("emoji", "tweets")
        _repair_merges(tokenizer)
    return tokenizer


def _repair_merges(tokenizer: BertweetTokenizer) -> None:
    """Read merges from lines without counts, as transformers saves them but does not read them.

    Without this, every word of a tokenizer that was saved once falls into characters.
    """
    lines = Path(tokenizer.merges_file).read_text(encoding="utf-8").split("\n")
    pairs = [tuple(line.split()[:2]) for line in lines]
    ranks = {pair: rank for rank, pair in enumerate(pairs) if len(pair) == 2}
    tokenizer.bpe_ranks = ranks  # type: ignore[assignment]


def write_merges(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the merges of BERTweet's tokenizer with the counts that transformers leaves out."""
    if not isinstance(tokenizer, BertweetTokenizer):
        return
    pairs = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    lines = [" ".join([*pair, "0"]) + "\n" for pair in pairs]
    file = folder / tokenizer.vocab_files_names["merges_file"]
    file.write_text("".join(lines), encoding="utf-8")


def convert_japanese(source: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer of Japanese BERT as a fast one that splits words, not sentences.

    The words of a post take the place of those of its morphological analyser, which need not be
    installed. Text is normalised (NFKC) as the analyser's is.

    Args:
        source: Local folder or hub name.

    Raises:
        OSError: The source has no vocabulary.
    """
    slow = BertJapaneseTokenizer.from_pretrained(
        source, do_word_tokenize=False, trust_remote_code=False
    )
    fast = Tokenizer(models.WordPiece(dict(slow.vocab), unk_token=str(slow.unk_token)))
    steps: list[normalizers.Normalizer] = [normalizers.NFKC()]
    if slow.do_lower_case:
        steps.append(normalizers.Lowercase())
    fast.normalizer = normalizers.Sequence(steps)
    splits: list[pre_tokenizers.PreTokenizer] = [pre_tokenizers.WhitespaceSplit()]
    if slow.subword_tokenizer_type == "character":
        splits.append(pre_tokenizers.Split(Regex("."), "isolated"))
    fast.pre_tokenizer = pre_tokenizers.Sequence(splits)
    names = (str(slow.sep_token), str(slow.cls_token))
    ends = [(name, slow.convert_tokens_to_ids(name)) for name in names]
    fast.post_processor = processors.BertProcessing(*ends)
    return PreTrainedTokenizerFast(tokenizer_object=fast, **slow.special_tokens_map)
