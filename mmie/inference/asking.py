"""Encoding of posts, their windows and their pairs of entities for a method."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from mmie.data.encoding import WordTokenizer
from mmie.data.instances import Instance, Pieces, encode_posts, encode_windows
from mmie.data.long_posts import LongPosts
from mmie.inference.long_posts import LongText, cut_out_pair
from mmie.inference.reading import PostError, ReadPost
from mmie.types import Relation, Schema

_ADVICE = "shorten the text, or let long be windows or truncate"
"""Ways to have a post read whose text is too long."""


class Asked(NamedTuple):
    """What a method is asked about.

    Attributes:
        owner: Index of the post.
        instance: The post or its window, and a relation by its words.
        relation: The relation by words of the whole post; None for entities.
    """

    owner: int
    instance: Instance
    relation: Relation | None = None


class PairTexts(NamedTuple):
    """Texts of posts for a method of relations, each split into subwords once.

    Attributes:
        long: Those that are read in windows, by index of the post.
        pieces: Subwords of the others, by index of the post; empty if they have not been split.
    """

    long: dict[int, LongText]
    pieces: dict[int, Pieces]


class PostEncoder:
    """Encoder of what a method is asked about posts.

    Args:
        schema: Task, labels and sizes.
        tokenizer: Tokenizer of the text encoder.
        use_context: Whether posts' contexts follow their words.
    """

    def __init__(self, schema: Schema, tokenizer: WordTokenizer, use_context: bool) -> None:
        self.schema = schema
        self.tokenizer = tokenizer
        self.use_context = use_context

    def ask_entities(self, reads: Sequence[ReadPost]) -> list[Asked]:
        """Encode all posts that have words, each to the end or as far as it fits."""
        owners = [index for index, read in enumerate(reads) if read.post.words]
        instances = self._encode([reads[index] for index in owners])
        return list(map(Asked, owners, instances))

    def ask_relations(self, reads: Sequence[ReadPost], texts: PairTexts) -> list[Asked]:
        """Encode each relation of posts that have words, and leave out long posts."""
        chosen = [index for index in range(len(reads)) if index not in texts.long]
        chosen = [index for index in chosen if reads[index].post.words]
        pieces = [texts.pieces[index] for index in chosen] if texts.pieces else None
        instances = iter(self._encode([reads[index] for index in chosen], pieces))
        asked = []
        for index in chosen:
            for relation in reads[index].post.relations:
                asked.append(Asked(index, next(instances), relation))
        return asked

    def check_lengths(
        self, reads: Sequence[ReadPost], asked: Sequence[Asked], long: LongPosts
    ) -> list[int]:
        """Find the posts whose entities are read in windows.

        Args:
            reads: The posts. Of one that is cut off, its problems tell.
            asked: Result of `ask_entities`.
            long: ``windows`` finds those that do not fit.

        Returns:
            Their indices.

        Raises:
            PostError: A post does not fit, and ``long`` is ``error``.
        """
        cut = [item for item in asked if item.instance.is_truncated]
        if long == "windows":
            return [item.owner for item in cut]
        for item in cut:
            read = reads[item.owner]
            num_read, num_words = item.instance.text.num_words, len(read.post.words)
            if long == "error":
                raise PostError(
                    f"post {read.post.id}: only the first {num_read} of {num_words} words fit the "
                    f"{self.tokenizer.text_room} subwords that the method reads: {_ADVICE}"
                )
            read.problems.append(f"text: only the first {num_read} of {num_words} words were read")
        return []

    def ask_windows(self, reads: Sequence[ReadPost], owners: Sequence[int]) -> Iterator[Asked]:
        """Encode the windows of long posts for entities, one after the other."""
        for owner in owners:
            post = reads[owner].post
            context: list[int] = []
            if self.use_context:
                (context,) = self.tokenizer.split_contexts([post.context])
            for instance in encode_windows(post, self.schema, self.tokenizer, context):
                yield Asked(owner, instance)

    def ask_in_windows(
        self, reads: Sequence[ReadPost], long_texts: Mapping[int, LongText]
    ) -> Iterator[Asked]:
        """Encode the relations of long posts, each in its window, one after the other.

        Relations that do not fit a window are left out.
        """
        for owner, text in long_texts.items():
            post = reads[owner].post
            for relation in filter(text.fits, post.relations):
                window = text.window(post, relation)
                read = replace(reads[owner], post=cut_out_pair(window, relation))
                (instance,) = self._encode([read])
                instance.window = window
                yield Asked(owner, instance, relation)

    def split_texts(self, reads: Sequence[ReadPost], long: LongPosts) -> PairTexts:
        """Split texts for relations, and find those that are read in windows.

        Args:
            reads: The posts.
            long: ``windows`` finds those whose words do not fit beside the markers of a relation,
                ``truncate`` finds none and splits none.

        Raises:
            PostError: The words of a post do not fit, and ``long`` is ``error``.
        """
        if long == "truncate":
            return PairTexts({}, {})
        room = self.tokenizer.pair_room
        words = [read.post.words for read in reads]
        texts = PairTexts({}, {})
        for index, pieces in enumerate(self.tokenizer.split_readable(words, [0] * len(reads))):
            if sum(map(len, pieces)) <= room:  # then they are those of all words
                texts.pieces[index] = pieces
            else:
                (all_pieces,) = self.tokenizer.split([words[index]])
                if long == "error":
                    raise PostError(
                        f"post {reads[index].post.id}: its text has {sum(map(len, all_pieces))} "
                        f"subwords, the method of relations reads {room}: {_ADVICE}"
                    )
                positions = list(accumulate(map(len, all_pieces), initial=0))
                texts.long[index] = LongText(positions, room)
        return texts

    def _encode(
        self, reads: Sequence[ReadPost], pieces: Sequence[Pieces] | None = None
    ) -> list[Instance]:
        """Encode posts, or each of their relations.

        Args:
            reads: The posts.
            pieces: Subwords of all of their words; None splits them.
        """
        posts = [read.post for read in reads]
        return encode_posts(posts, self.schema, self.tokenizer, self.use_context, pieces=pieces)
