"""TextOnly (baseline): the text encoder with the shared heads, and no picture.

For NER it is BERT-CRF; for RE, with ``entities`` pooling, it is Matching the Blanks without its pretraining
(Baldini Soares et al., ACL 2019, https://arxiv.org/abs/1906.03158).

========  ===============  ========================
step      method           result
========  ===============  ========================
encoder   `encode`         (batch, tokens, hidden)
========  ===============  ========================

**Departures.** None.
"""

from mmie.methods import papers
from mmie.methods.base import ExtractionModule
from mmie.types import Batch, Encoding


class TextOnly(ExtractionModule):
    """The text encoder alone; its arguments are those of `ExtractionModule`."""

    paper = papers.TEXT_ONLY

    @property
    def reads_pixels(self) -> bool:
        """Never."""
        return False

    def encode(self, batch: Batch) -> Encoding:
        """The encoder's last states."""
        return Encoding(self.encode_text(batch))
