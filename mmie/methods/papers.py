"""The methods' papers and the results that they report.

`mmie methods`, the README and comparisons take them from here. Scores are in percent, as printed.
Corpora have the names of their classes, and rows of an ablation table the name of the overlay in
``configs/ablations`` that repeats them.
"""

from dataclasses import dataclass, field

from mmie.types import Task

CORPORA: dict[str, Task] = {"Twitter2015": "ner", "Twitter2017": "ner", "MNRE": "re"}
"""Tasks of the corpora that the papers share."""


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
        by_type: F1 of each entity type, if the paper prints it.
    """

    corpus: str
    scores: PublishedScores
    trained_on: str | None = None
    started_from: str | None = None
    by_type: dict[str, float] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """Task of the corpus."""
        return CORPORA[self.corpus]

    @property
    def setting(self) -> str:
        """Difference from training and testing on one corpus, empty if there is none."""
        if self.trained_on is not None:
            return f"trained on {self.trained_on}"
        return "" if self.started_from is None else f"weights from {self.started_from}"


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
        ablations: F1 per corpus of each ablation, by the name of the overlay. Empty where only a
            figure shows it.
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
    ablations: dict[str, dict[str, float]] = field(default_factory=dict)
    remark: str = ""

    def score(self, corpus: str) -> PublishedScores | None:
        """Return the scores of training and testing on ``corpus``, None if the paper has none."""
        for row in self.published:
            if row.corpus == corpus and not row.setting:
                return row.scores
        return None


def _f1s(
    twitter2015: float | None, twitter2017: float | None, mnre: float | None = None
) -> dict[str, float]:
    """Map corpora to their F1, without those that have none."""
    values = zip(CORPORA, (twitter2015, twitter2017, mnre), strict=True)
    return {corpus: value for corpus, value in values if value is not None}


def _types(person: float, location: float, organisation: float, other: float) -> dict[str, float]:
    """Map entity types to their F1."""
    return {"PER": person, "LOC": location, "ORG": organisation, "MISC": other}


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
        Published("MNRE", PublishedScores(64.46, 57.81, 60.86)),
    ),
    remark="Baseline: BERT-CRF for entities, MTB for relations. The scores are those that later "
    "papers quote.",
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
    ),
    ablations={
        "hvpnet_wo_objects": {},
        "hvpnet_wo_image": {},
        "hvpnet_1T3": {},
        "hvpnet_plain": {},
    },
    remark="Twitter2015 is the edition with labels edited by the authors. The same code gives 73.3 "
    "on the original.",
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
    ablations={
        "rsrnet_woRoB": _f1s(None, None, 82.85),
        "rsrnet_woXlm": _f1s(75.91, 87.23),
        "rsrnet_woRSt": _f1s(75.37, 86.76, 82.21),
        "rsrnet_plain": _f1s(75.12, 86.33, 82.02),
        "rsrnet_1T3": _f1s(75.19, 86.50, 82.17),
    },
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
    ablations={
        "rap_wo_mrr": _f1s(74.56, 83.83, 81.45),
        "rap_wo_rau": _f1s(75.66, 86.68, 81.97),
        "rap_wo_fsru": _f1s(75.15, 85.23, 78.81),
        "rap_wo_cfu": _f1s(72.47, 84.55, 75.62),
        "rap_wo_prompting": {},
        "rap_layers_2": _f1s(76.42, 87.60, 82.97),
        "rap_layers_3": _f1s(76.46, 87.69, 83.13),
        "rap_layers_4": _f1s(76.58, 87.76, 82.89),
        "rap_layers_5": _f1s(76.53, 87.75, 82.56),
        "rap_layers_6": _f1s(76.53, 87.73, 82.54),
        "rap_path_weight_0": _f1s(75.98, 87.45, 82.71),
        "rap_path_weight_0.5": _f1s(76.27, 87.78, 82.68),
        "rap_path_weight_1": _f1s(76.45, 87.81, 82.74),
        "rap_path_weight_1.5": _f1s(76.58, 87.76, 83.13),
        "rap_path_weight_2": _f1s(76.52, 87.79, 82.87),
        "rap_path_weight_2.5": _f1s(76.44, 87.58, 82.89),
        "rap_path_weight_3": _f1s(76.48, 87.48, 82.63),
    },
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
    ablations={
        "dghc_wo_re_score": _f1s(73.17, 86.00),
        "dghc_wo_gating": _f1s(73.50, 86.46),
        "dghc_wo_augmentation": _f1s(73.66, 87.24),
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
    ablations={"imm_wo_sw": {}, "imm_wo_ia": {}, "imm_wo_sw_ia": {}},
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
        Published("Twitter2015", PublishedScores(75.73, 76.85, 76.28)),
        Published("Twitter2017", PublishedScores(87.36, 86.97, 87.17)),
        Published("Twitter2017", PublishedScores(70.60, 62.46, 66.28), trained_on="Twitter2015"),
        Published("Twitter2015", PublishedScores(71.01, 58.40, 64.09), trained_on="Twitter2017"),
    ),
    ablations={"mlnet_wo_fus": _f1s(73.75, 84.80), "mlnet_wo_mtla": _f1s(74.22, 85.79)},
)
