"""Settings of Weights & Biases, which parsers read without importing it."""

from dataclasses import dataclass


@dataclass
class WandbSettings:
    """Settings of a W&B run beside the CSV log.

    Attributes:
        project: Project that the run belongs to.
        entity: User or team; by default the one that is logged in.
        name: Name of the run; by default the run folder's.
        group: Runs of one group are shown together; by default those of one corpus and task.
        tags: Tags of the run beside its method.
        offline: Keep the run on disk for ``wandb sync``; by default only if nobody is logged in.
    """

    project: str = "mmie"
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    tags: list[str] | None = None
    offline: bool | None = None
