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

Between paper and published code, which differ:

- The code gates crops with leaky ReLU, shifts text positions by the prefix, and classifies
  relations from the states of position 0 and of the tail's marker, without dropout. The default,
  ``variant: paper``, has SELU for all views, no shift, and the state of ``[CLS]``, as the paper
  says. ``variant: reference`` computes what the code computes.
- Equation 4 leaves the last stage at 7 x 7, so that Equation 5 would bring all stages to 7 x 7. The
  text below and the code have 2 x 2, which is the default. ``pool_to: 7`` is the other reading.
- Equation 8 is read as a sum of the stages, weighted by their gates: Equation 11 has hw positions
  for each view, and not c hw.
- Missing crops are masked, and so is a picture that cannot be read, with its crops. The code
  attends to blank crops (so does ``variant: reference``) and takes another picture.
- sqrt(d) of Equation 12 is that of the width of a head. W_l, the convolutions and the map of
  Equation 11 have biases, as in the code.
- Equations 1 to 3 are those of timm's ``resnest50d``, in eval mode. In the code its batch norms use
  the statistics of the batch in training.
- In ``variant: paper`` new linear maps start from N(0, 0.02), with biases of 0. The paper does not
  say how.

In tasks and training:

- The code marks the head with ``<s>``, RoBERTa's own start token. Here it has markers of its own.
- Equations 14 and 15 are sums over the data set. Here they are means over the posts of a batch. The
  CRF runs over words and rules out impossible transitions.
- The best epoch is chosen on the validation split alone, and every epoch is validated. The paper
  also uses the test score, and starts after epoch 16 (entities) and 8 (relations).
- Weight decay spares norms and embeddings as well as biases. The paper spares biases.
- The learning rate for entities is 3e-5, the upper end of the paper's interval. The rate of the
  head is not in the paper: that for entities, 5e-2, is the code's, that for relations, 1e-3, is
  ours.
- The relation classifier is trained. In the code no optimiser group contains it.
- Dropout of 0.1 stands before the head, which the paper does not mention.
- Pictures are resized at the short side and cut at the centre, as in the code. The paper resizes
  them to 224 x 224, which is ``data.resize: squash``.
- Crops are the first three of the crop index. The paper takes the most salient ones.
- Texts are cut at 128 tokens (relations: 80). The paper gives no length, and the code cuts those of
  Twitter-2015 at 80.
- A share of the training posts ("low resource") is drawn without replacement. The code draws with
  replacement.

Beyond the paper, which has one picture:

- Further pictures (``data.num_images``) are views like the first one, as in `mmie.methods.hvpnet`.
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
