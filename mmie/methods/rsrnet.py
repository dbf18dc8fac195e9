"""RSRNeT: HVPNet with a ResNeSt-50, XLM-R or RoBERTa, and self-normalising gates.

Wang et al., PeerJ Computer Science 2024, https://doi.org/10.7717/peerj-cs.1856

It is HVPNet (see `mmie.methods.hvpnet` for its architecture and equations) with these parts:

====================  ==========================================================
part                  RSRNeT
====================  ==========================================================
visual backbone       ResNeSt-50, frozen
gates                 SELU in place of leaky ReLU
text encoder          ``xlm-roberta-base`` for NER, ``roberta-base`` for RE
relation pooling      ``cls``
====================  ==========================================================

**Departures.**

- The published code marks entities with ``<s>``, RoBERTa's own start token. Here they have markers
  of their own.
- The published code gates crops with leaky ReLU. The default, ``variant: paper``, uses SELU for
  all views as the paper says, ``variant: reference`` computes what the code computes.
- The best epoch is chosen on the validation split alone. The paper also uses the test score.
"""

from collections.abc import Sequence
from typing import Any

from mmie.blocks.heads import Pooling
from mmie.blocks.visual_prefix import ScaleMapping
from mmie.methods import papers
from mmie.methods.hvpnet import HVPNet, Variant
from mmie.types import Schema


class RSRNeT(HVPNet):
    """ResNeSt, RoBERTa and a visual prefix.

    Args:
        schema: Description of the data. The command line links it from the data module.
        text_encoder: ``xlm-roberta-base`` for NER, ``roberta-base`` for RE.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        pooling: States that a relation head classifies.
        variant: ``paper``, or ``reference`` for the computation of the published code.
        mapping: ``dynamic`` gates the scales in every layer, ``one_to_three`` gives stage i to
            three layers, ungated.
        scales: Stages that are used, 1 to 4.
        **shared: See `MultimodalModule` and `ExtractionModule`.
    """

    paper = papers.RSRNET

    def __init__(
        self,
        schema: Schema,
        text_encoder: str | dict[str, Any] = "xlm-roberta-base",
        vision_backbone: str = "resnest50d",
        pooling: Pooling = "cls",
        variant: Variant = "paper",
        mapping: ScaleMapping = "dynamic",
        scales: Sequence[int] = (1, 2, 3, 4),
        **shared: Any,
    ) -> None:
        super().__init__(
            schema,
            variant=variant,
            mapping=mapping,
            scales=scales,
            activation="selu",
            crop_activation="leaky_relu" if variant == "reference" else None,
            text_encoder=text_encoder,
            vision_backbone=vision_backbone,
            pooling=pooling,
            **shared,
        )
