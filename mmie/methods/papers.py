"""The methods' papers and the results that they report.

`mmie methods`, the documentation, comparisons and studies take them from here. Scores are in
percent, as printed. Corpora have the names of their classes, and settings the dotted names of a
configuration without ``init_args``. `mmie.methods.published` finds the row that a run repeats.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmie.types import Task

CORPORA: dict[str, Task] = {"Twitter2015": "ner", "Twitter2017": "ner", "MNRE": "re"}
"""Tasks of the corpora that the papers share."""

Settings = Mapping[str, object]
"""Values by dotted name, such as ``model.relevance`` and ``data.num_objects``."""
Choices = Mapping[str, tuple[object, ...]]
"""Accepted values by dotted name."""

DATA_CHOICES: Choices = {
    "data.num_objects": (3,),
    "data.pictures": ("right",),
    "data.train_fraction": (1,),
    "data.use_context": (False,),
    "data.image_size": (224,),
    "data.tag_scheme": ("bio",),
}
"""Settings of the data that decide about the published row, and what the papers have there."""

TASK_SETTINGS: dict[str, Task] = {"data.tag_scheme": "ner", "model.pooling": "re"}
"""Settings that have an effect in one task alone."""

TRAINING_SETTINGS = (
    "model.text_lr",
    "model.fusion_lr",
    "model.head_lr",
    "model.weight_decay",
    "model.warmup_ratio",
    "model.dropout",
    "model.lstm_dropout",
    "model.gradient_checkpointing",
    "model.compile",
)
"""Settings of training and of the machine, which do not change the row."""

EDITIONS: dict[str, tuple[str, ...]] = {
    "Twitter2015": (
        "Twitter-2015, original labels",
        "Twitter-2015, edited labels (as HVPNet's authors published)",
    ),
    "Twitter2017": ("Twitter-2017",),
    "MNRE": ("MNRE, version 2",),
}
"""Editions that the papers may have scored, by the names in `mmie.data.corpora.editions`."""


@dataclass(frozen=True, slots=True)
class PublishedScores:
    """Precision, recall and F1 in percent, None where the paper does not print them."""

    precision: float | None
    recall: float | None
    f1: float


@dataclass(frozen=True, slots=True)
class Published:
    """Row of a table of results.

    Attributes:
        corpus: Corpus whose test split was scored.
        scores: Scores over all types or relations.
        trained_on: Corpus of the training, if it is another one ("cross-domain").
        started_from: Corpus that the weights were trained on before ("cross-task").
        pretraining: Class of the pretraining on the training corpus that the method starts from.
            The name is no class of the package if the package does not have that pretraining.
        ablation: Name of the row of an ablation table, empty for the full method.
        by_type: F1 of each entity type, if the paper prints it.
    """

    corpus: str
    scores: PublishedScores
    trained_on: str | None = None
    started_from: str | None = None
    pretraining: str | None = None
    ablation: str = ""
    by_type: dict[str, float] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """Task of the corpus."""
        return CORPORA[self.corpus]

    @property
    def setting(self) -> str:
        """Difference from the full method, trained and tested on one corpus. Empty without one."""
        if self.trained_on is not None:
            return f"trained on {self.trained_on}"
        return self.ablation if self.started_from is None else f"weights from {self.started_from}"


@dataclass(frozen=True, slots=True)
class Ablation:
    """Row of an ablation table.

    Attributes:
        name: Name of the row, close to the paper's.
        table: Table or figure of the paper.
        overlay: Name of the file in ``configs/ablations`` that repeats the row.
        settings: Settings in which the row differs from the full method.
        scores: Scores by corpus. Empty where only a figure shows them.
        readings: Further settings that a reader may take the row for.
        varies: Setting whose values the table lists, empty if its rows have different switches.
    """

    name: str
    table: str
    overlay: str
    settings: Settings
    scores: dict[str, PublishedScores] = field(default_factory=dict)
    readings: tuple[Settings, ...] = ()
    varies: str = ""


@dataclass(frozen=True, slots=True)
class Paper:
    """Paper of a method, with its results.

    Attributes:
        title: Title.
        authors: Family names of the authors.
        venue: Journal or conference.
        year: Year of publication.
        url: Link to the paper.
        pictures: Use of pictures by its method, in a few words.
        text: Text encoder of its method.
        tasks: Tasks that it reports. The implementation here does both.
        published: Results.
        ablations: Rows of its ablation tables.
        choices: Values of settings that are the paper's method, where the default of the
            constructor (or `DATA_CHOICES`) is not the only one. There are several where the paper
            is silent or contradicts itself.
        corpus_choices: The same for single corpora.
        unused: Settings that have no effect on the method.
        editions: Editions by corpus, where they are not those of `EDITIONS`.
        remark: Note on the numbers.
    """

    title: str
    authors: str
    venue: str
    year: int
    url: str
    pictures: str
    text: str
    tasks: tuple[Task, ...]
    published: tuple[Published, ...]
    ablations: tuple[Ablation, ...] = ()
    choices: Choices = field(default_factory=dict)
    corpus_choices: Mapping[str, Choices] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    editions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    remark: str = ""

    def full_row(self, corpus: str) -> Published | None:
        """Return the row of training and testing on ``corpus``, None if the paper has none."""
        for row in self.published:
            if row.corpus == corpus and not row.setting:
                return row
        return None

    def score(self, corpus: str) -> PublishedScores | None:
        """Return the scores of training and testing on ``corpus``, None if the paper has none."""
        row = self.full_row(corpus)
        return None if row is None else row.scores


Printed = tuple[float, float, float] | float | None
"""Precision, recall and F1 of a row on one corpus, or F1 alone, or nothing."""


def _scores(
    twitter2015: Printed, twitter2017: Printed, mnre: Printed = None
) -> dict[str, PublishedScores]:
    """Map corpora to their scores, without those that have none."""
    scores = {}
    for corpus, printed in zip(CORPORA, (twitter2015, twitter2017, mnre), strict=True):
        if isinstance(printed, tuple):
            scores[corpus] = PublishedScores(*printed)
        elif printed is not None:
            scores[corpus] = PublishedScores(None, None, printed)
    return scores


def _types(person: float, location: float, organisation: float, other: float) -> dict[str, float]:
    """Map entity types to their F1."""
    return {"PER": person, "LOC": location, "ORG": organisation, "MISC": other}


def _layers(count: int, *printed: Printed) -> Ablation:
    """Return a row of RAP's table of routing layers."""
    settings = {"model.num_fusion_layers": count}
    overlay = f"rap_layers_{count}"
    name, varied = f"L = {count}", "model.num_fusion_layers"
    return Ablation(name, "Table 4", overlay, settings, _scores(*printed), varies=varied)


def _path_weight(weight: float, *printed: Printed) -> Ablation:
    """Return a row of RAP's table of the path weight gamma."""
    settings = {"model.path_weight": weight}
    overlay = f"rap_path_weight_{weight:g}"
    name, varied = f"gamma = {weight:g}", "model.path_weight"
    return Ablation(name, "Table 6", overlay, settings, _scores(*printed), varies=varied)


TEXT_ONLY = Paper(
    title="Matching the Blanks: Distributional Similarity for Relation Learning",
    authors="Baldini Soares et al.",
    venue="ACL",
    year=2019,
    url="https://arxiv.org/abs/1906.03158",
    pictures="none (baseline: BERT-CRF, MTB)",
    text="BERT, one pass",
    tasks=("ner", "re"),
    published=(
        Published("Twitter2015", PublishedScores(69.22, 74.59, 71.81)),
        Published("Twitter2017", PublishedScores(83.32, 83.57, 83.44)),
        Published("MNRE", PublishedScores(64.46, 57.81, 60.86), pretraining="MTB"),
    ),
    choices={"data.pictures": ("right", "none")},
    unused=("data.num_objects", "data.image_size"),
    remark="Baseline: BERT-CRF for entities, MTB for relations. The scores are those that later "
    "papers quote. MTB is pretrained to match entity pairs, which TextOnly is not.",
)

HVPNET = Paper(
    title="Good Visual Guidance Makes A Better Extractor: Hierarchical Visual Prefix for "
    "Multimodal Entity and Relation Extraction",
    authors="Chen et al.",
    venue="Findings of NAACL",
    year=2022,
    url="https://arxiv.org/abs/2205.03521",
    pictures="4 stages of ResNet-50, gated per layer, as a prefix",
    text="BERT",
    tasks=("ner", "re"),
    published=(
        Published("Twitter2015", PublishedScores(73.87, 76.82, 75.32)),
        Published("Twitter2017", PublishedScores(85.84, 87.93, 86.87)),
        Published("MNRE", PublishedScores(83.64, 80.78, 81.85)),
        Published("MNRE", PublishedScores(None, None, 82.50), started_from="Twitter2017"),
        Published("Twitter2017", PublishedScores(None, None, 87.31), started_from="MNRE"),
    ),
    ablations=(
        Ablation("w/o objects", "figure", "hvpnet_wo_objects", {"data.num_objects": 0}),
        Ablation("w/o image", "figure", "hvpnet_wo_image", {"model.use_image": False}),
        Ablation("1T3", "figure", "hvpnet_1T3", {"model.mapping": "one_to_three"}),
        Ablation("plain", "figure", "hvpnet_plain", {"model.scales": (4,)}),
    ),
    choices={
        "model.vision_backbone": ("resnet50",),
        "model.variant": ("paper", "reference"),
        "model.pool_to": (2, 7),
        "model.missing_crops": (None, "mask", "attend"),
    },
    editions={
        "Twitter2015": ("Twitter-2015, edited labels (as HVPNet's authors published)",),
    },
    remark="Twitter2015 is the edition with labels edited by the authors. The same code gives 73.3 "
    "on the original. Scores with weights of another task are those of IMM's Table 3.",
)

RSRNET = Paper(
    title="RSRNeT: a novel multi-modal network framework for named entity recognition and relation "
    "extraction",
    authors="Wang, Chen, Shen, Li, Hu",
    venue="PeerJ Computer Science",
    year=2024,
    url="https://doi.org/10.7717/peerj-cs.1856",
    pictures="4 stages of ResNeSt-50, SELU gates per layer, as a prefix",
    text="XLM-R (NER), RoBERTa (RE)",
    tasks=("ner", "re"),
    published=(
        Published("Twitter2015", PublishedScores(None, None, 76.48)),
        Published("Twitter2017", PublishedScores(None, None, 87.90)),
        Published("MNRE", PublishedScores(None, None, 83.89)),
    ),
    ablations=(
        Ablation(
            "woRoB",
            "Table 3",
            "rsrnet_woRoB",
            {"model.text_encoder": "bert-base-uncased"},
            _scores(None, None, 82.85),
        ),
        Ablation(
            "woXlm",
            "Table 3",
            "rsrnet_woXlm",
            {"model.text_encoder": "bert-base-uncased"},
            _scores(75.91, 87.23),
        ),
        Ablation(
            "woRSt",
            "Table 3",
            "rsrnet_woRSt",
            {"model.vision_backbone": "resnet50"},
            _scores(75.37, 86.76, 82.21),
            readings=({"model.vision_backbone": "resnet50.tv_in1k"},),
        ),
        Ablation(
            "plain",
            "Table 3",
            "rsrnet_plain",
            {"model.scales": (4,)},
            _scores(75.12, 86.33, 82.02),
        ),
        Ablation(
            "1T3",
            "Table 3",
            "rsrnet_1T3",
            {"model.mapping": "one_to_three"},
            _scores(75.19, 86.50, 82.17),
        ),
    ),
    choices={
        "model.vision_backbone": ("resnest50d",),
        "model.variant": ("paper", "reference"),
        "model.pool_to": (2, 7),
        "model.missing_crops": (None, "mask", "attend"),
        "model.pooling": (None, "cls", "cls_tail"),
    },
    corpus_choices={"MNRE": {"model.text_encoder": ("roberta-base",)}},
    remark="Ablation scores are the full score minus the difference that the paper states. The "
    "paper selected its epoch by validation and test score.",
)

RAP = Paper(
    title="Relevance-aware prompt-tuning method for multimodal social entity and relation "
    "extraction",
    authors="Chen, Li, Liu, Zhang, Ma",
    venue="Neurocomputing",
    year=2025,
    url="https://doi.org/10.1016/j.neucom.2025.130316",
    pictures="ResNet-101 vectors, relevance graph, dynamic router, as a prompt",
    text="BERT, two passes",
    tasks=("ner", "re"),
    published=(
        Published("Twitter2015", PublishedScores(74.38, 78.92, 76.58)),
        Published("Twitter2017", PublishedScores(87.63, 87.89, 87.76)),
        Published("MNRE", PublishedScores(83.59, 82.67, 83.13)),
    ),
    ablations=(
        Ablation(
            "w/o MRR",
            "Table 5",
            "rap_wo_mrr",
            {"model.relevance": False},
            _scores(74.56, 83.83, 81.45),
        ),
        Ablation(
            "w/o RAU",
            "Table 5",
            "rap_wo_rau",
            {"model.units": ("fsru", "cfu")},
            _scores(75.66, 86.68, 81.97),
        ),
        Ablation(
            "w/o FSRU",
            "Table 5",
            "rap_wo_fsru",
            {"model.units": ("rau", "cfu")},
            _scores(75.15, 85.23, 78.81),
        ),
        Ablation(
            "w/o CFU",
            "Table 5",
            "rap_wo_cfu",
            {"model.units": ("rau", "fsru")},
            _scores(72.47, 84.55, 75.62),
        ),
        Ablation("w/o prompting", "Figure 9", "rap_wo_prompting", {"model.prompting": False}),
        _layers(2, (74.35, 78.62, 76.42), (87.42, 87.79, 87.60), (83.49, 82.47, 82.97)),
        _layers(3, (74.37, 78.67, 76.46), (87.55, 87.84, 87.69), (83.59, 82.67, 83.13)),
        _layers(4, (74.38, 78.92, 76.58), (87.63, 87.89, 87.76), (83.57, 82.23, 82.89)),
        _layers(5, (74.37, 78.82, 76.53), (87.65, 87.86, 87.75), (83.60, 81.55, 82.56)),
        _layers(6, (74.40, 78.79, 76.53), (87.62, 87.84, 87.73), (83.55, 81.55, 82.54)),
        _path_weight(0.0, 75.98, 87.45, 82.71),
        _path_weight(0.5, 76.27, 87.78, 82.68),
        _path_weight(1.0, 76.45, 87.81, 82.74),
        _path_weight(1.5, 76.58, 87.76, 83.13),
        _path_weight(2.0, 76.52, 87.79, 82.87),
        _path_weight(2.5, 76.44, 87.58, 82.89),
        _path_weight(3.0, 76.48, 87.48, 82.63),
    ),
    choices={
        "model.vision_backbone": ("resnet101",),
        "model.num_fusion_layers": (4,),
        "model.normalize_paths": (True, False),
        "model.local_views": ("objects", "all"),
        "model.gate_norm": ("batch", "none"),
        "model.path_reduction": ("sum", "mean"),
        "model.cosine_norm": ("words", "views"),
        "model.freeze_text": (False, True),
        "model.freeze_vision": (True, False),
    },
    corpus_choices={"MNRE": {"model.num_fusion_layers": (3,)}},
    remark="Without CFU, the paper prints 84.55 for Twitter2017; the difference printed beside it "
    "gives 85.55.",
)

DGHC = Paper(
    title="DGHC: A Hybrid Algorithm for Multi-Modal Named Entity Recognition Using Dynamic Gating "
    "and Correlation Coefficients With Visual Enhancements",
    authors="Liu, Yang, Yu, Bu",
    venue="IEEE Access",
    year=2024,
    url="https://doi.org/10.1109/ACCESS.2024.3400250",
    pictures="CLIP vectors, weighted by correlation with the text and gated per layer, as a prefix",
    text="BERT, two passes",
    tasks=("ner",),
    published=(
        Published(
            "Twitter2015",
            PublishedScores(72.96, 74.93, 73.93),
            by_type=_types(85.97, 80.94, 60.09, 38.93),
        ),
        Published(
            "Twitter2017",
            PublishedScores(87.06, 87.64, 87.35),
            by_type=_types(93.15, 86.27, 85.53, 69.31),
        ),
        Published("Twitter2017", PublishedScores(63.16, 58.62, 60.81), trained_on="Twitter2015"),
        Published("Twitter2015", PublishedScores(70.95, 62.68, 66.56), trained_on="Twitter2017"),
    ),
    ablations=(
        Ablation(
            "w/o RE Score",
            "Table 5",
            "dghc_wo_re_score",
            {"model.correlation": False},
            _scores((72.45, 73.89, 73.17), (84.97, 87.05, 86.00)),
        ),
        Ablation(
            "w/o Gating",
            "Table 5",
            "dghc_wo_gating",
            {"model.gating": "uniform"},
            _scores((73.16, 73.85, 73.50), (87.14, 85.79, 86.46)),
            readings=({"model.gating": "ones"}, {"model.gating": False}),
        ),
        Ablation(
            "w/o Augmentation",
            "Table 5",
            "dghc_wo_augmentation",
            {"data.num_objects": 0},
            _scores((72.71, 74.64, 73.66), (86.70, 87.79, 87.24)),
        ),
    ),
    choices={
        "data.tag_scheme": ("bioes",),
        "model.gating": ("softmax", True),
        "model.view_projection": ("linear", "mlp"),
        "model.cls_source": ("encoder", "embeddings"),
    },
    remark="Both halves of the paper's cross-domain table are headed Twitter2015->. The directions "
    "here are those of its text.",
)

IMM = Paper(
    title="Implicit Modality Mining: An End-to-End Method for Multimodal Information Extraction",
    authors="Lu, Guo",
    venue="Journal of Electronic Research and Application",
    year=2024,
    url="https://doi.org/10.26689/jera.v8i2.6397",
    pictures="patches of the whole picture, encoded by the text encoder's layers",
    text="BERT, one pass",
    tasks=("ner", "re"),
    published=(
        Published("Twitter2015", PublishedScores(74.51, 77.69, 76.01)),
        Published("Twitter2017", PublishedScores(87.33, 87.91, 87.62)),
        Published("MNRE", PublishedScores(82.58, 83.45, 83.01)),
        Published("MNRE", PublishedScores(None, None, 83.80), started_from="Twitter2017"),
        Published("Twitter2017", PublishedScores(None, None, 87.94), started_from="MNRE"),
    ),
    ablations=(
        Ablation("w/o SW", "Figure 4", "imm_wo_sw", {"model.sw_loss": False}),
        Ablation("w/o IA", "Figure 4", "imm_wo_ia", {"model.insert_activation": False}),
        Ablation(
            "w/o SW and IA",
            "Figure 4",
            "imm_wo_sw_ia",
            {"model.sw_loss": False, "model.insert_activation": False},
        ),
    ),
    choices={
        "model.clip": ("openai/clip-vit-base-patch32",),
        "model.norm": ("post", "pre"),
        "model.matching": ("cosine", "dot", "projection"),
        "model.slot_scale": (False, True),
        "model.pooling": ("cls",),
    },
    unused=("data.num_objects",),
)

MLNET = Paper(
    title="MLNet: a multi-level multimodal named entity recognition architecture",
    authors="Zhai, Lv, Hou, Tong, Bu",
    venue="Frontiers in Neurorobotics",
    year=2023,
    url="https://doi.org/10.3389/fnbot.2023.1181143",
    pictures="region features of ResNet-18, cross-attention with the text, hard gate",
    text="BERT with characters, then a BiLSTM",
    tasks=("ner",),
    published=(
        Published(
            "Twitter2015", PublishedScores(75.73, 76.85, 76.28), pretraining="MLNetPretraining"
        ),
        Published(
            "Twitter2017", PublishedScores(87.36, 86.97, 87.17), pretraining="MLNetPretraining"
        ),
        Published(
            "Twitter2017",
            PublishedScores(70.60, 62.46, 66.28),
            trained_on="Twitter2015",
            pretraining="MLNetPretraining",
        ),
        Published(
            "Twitter2015",
            PublishedScores(71.01, 58.40, 64.09),
            trained_on="Twitter2017",
            pretraining="MLNetPretraining",
        ),
    ),
    ablations=(
        Ablation(
            "w/o Fus.",
            "Table 3",
            "mlnet_wo_fus",
            {"model.fusion_layers": 1},
            _scores((74.44, 73.07, 73.75), (85.10, 84.51, 84.80)),
            readings=({"model.fusion": "late"},),
        ),
        Ablation(
            "w/o Mtla.",
            "Table 3",
            "mlnet_wo_mtla",
            {"model.char_embedding": False},
            _scores((74.73, 73.72, 74.22), (85.97, 85.62, 85.79)),
        ),
    ),
    choices={
        "model.fusion_layers": (None, 12),
        "model.vision_backbone": ("resnet18", "resnet50"),
        "model.visual_layers": (2, 12),
        "model.gate": ("per_layer", "once"),
        "model.match_weight": (0.0, 0.1),
        "model.mvm_mask": ("pixels",),
    },
    remark="The scores are those after pretraining. The scores of UMGF in the cross-domain table "
    "stand under the opposite headers in DGHC's table, so that one of the papers has its columns "
    "swapped.",
)
