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

**Departures.**

- Relations: Matching the Blanks pretrains its encoder on pairs of entities, and TextOnly does not.
  The published scores are with that pretraining. The markers and the classified states are those of
  Matching the Blanks.
- Entities: the CRF runs over words, whose state is that of the first piece, and rules out
  impossible transitions. The papers that quote BERT-CRF do not describe it.
- Training: these papers give no settings for it. AdamW, weight decay 0.01 on everything but biases,
  norms and embeddings, warm-up over 10 % of the steps and linear decay, learning rate 3e-5 (head
  1e-2 for entities, 1e-3 for relations), batches of 16, dropout 0.1 before the head, 30 epochs for
  entities and 15 for relations with validation after each, BIO tags, and texts of at most 128 and
  80 tokens are ours.
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
