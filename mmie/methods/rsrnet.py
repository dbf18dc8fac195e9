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

- The published code marks the head with ``<s>``, RoBERTa's own start token. Here it has markers of
  its own.
- The published code gates crops with leaky ReLU, shifts text positions by the prefix, and
  classifies relations from the states of position 0 and of the tail's marker, without dropout. The
  default, ``variant: paper``, has SELU for all views, no shift, and the state of ``[CLS]``, as the
  paper says. ``variant: reference`` computes what the code computes.
- The best epoch is chosen on the validation split alone. The paper also uses the test score.
"""

from collections.abc import Sequence
from typing import Any

from mmie.blocks.heads import Pooling
from mmie.blocks.visual_prefix import ScaleMapping
from mmie.methods import papers
from mmie.methods.hvpnet import HVPNet, Variant
from mmie.methods.tasks import build_task
from mmie.types import Schema


class RSRNeT(HVPNet):
    """ResNeSt, RoBERTa and a visual prefix.

    Args:
        schema: Description of the data. The command line links it from the data module.
        text_encoder: ``xlm-roberta-base`` for NER, ``roberta-base`` for RE.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        pooling: States that a relation head classifies. The default is ``cls``, and ``cls_tail`` in
            ``variant: reference``.
        dropout: Dropout before the head's linear map. The default is 0.1, and 0 for relations in
            ``variant: reference``.
        variant: ``paper``, or ``reference`` for the computation of the published code.
        mapping: ``dynamic`` gates the scales in every layer, ``one_to_three`` gives stage i to
            three layers, ungated.
        scales: Stages that are used, 1 to 4.
        pool_to: Height and width that the stages are pooled to: 7 in Equations 4 and 5 as printed,
            2 in the text below them and in the published code.
        **shared: See `MultimodalModule` and `ExtractionModule`.
    """

    paper = papers.RSRNET
    shifts_positions = True

    def __init__(
        self,
        schema: Schema,
        text_encoder: str | dict[str, Any] = "xlm-roberta-base",
        vision_backbone: str = "resnest50d",
        pooling: Pooling | None = None,
        dropout: float | None = None,
        variant: Variant = "paper",
        mapping: ScaleMapping = "dynamic",
        scales: Sequence[int] = (1, 2, 3, 4),
        pool_to: int = 2,
        **shared: Any,
    ) -> None:
        is_reference = variant == "reference"
        if pooling is None:
            pooling = "cls_tail" if is_reference else "cls"
        if dropout is None:
            dropout = 0.0 if is_reference and build_task(schema).asks_pairs else 0.1
        super().__init__(
            schema,
            variant=variant,
            mapping=mapping,
            scales=scales,
            pool_to=pool_to,
            activation="selu",
            crop_activation="leaky_relu" if is_reference else None,
            text_encoder=text_encoder,
            vision_backbone=vision_backbone,
            pooling=pooling,
            dropout=dropout,
            **shared,
        )
