"""TextOnly (baseline): the text encoder with the shared heads, without images.

For NER it is BERT-CRF. For RE, with ``entities`` pooling, it is Matching the Blanks without its
pretraining (Baldini Soares et al., ACL 2019, https://arxiv.org/abs/1906.03158).

1. The text encoder reads the post, with markers around the two entities for RE.
2. The shared head classifies its states.

=================  ===================  ========================
paper              here                 shape
=================  ===================  ========================
text encoder       `TextOnly.encode`    (batch, tokens, hidden)
=================  ===================  ========================

**Departures.** None.
"""

from mmie.methods import papers
from mmie.methods.base import ExtractionModule
from mmie.types import Batch, Encoding


class TextOnly(ExtractionModule):
    """Text encoder alone, with the arguments of `ExtractionModule`."""

    paper = papers.TEXT_ONLY

    @property
    def reads_pixels(self) -> bool:
        """Whether batches must hold pixels (never)."""
        return False

    def encode(self, batch: Batch) -> Encoding:
        """Return the last states of the text encoder, (batch, tokens, hidden)."""
        return Encoding(self.encode_text(batch))
