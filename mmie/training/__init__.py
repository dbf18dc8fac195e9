"""What makes a fit fast, resumable and visible."""

__all__ = [
    "checkpointing",
    "config_writer",
    "dashboard",
    "facts",
    "features",
    "finite",
    "interruptions",
    "loggers",
    "prediction_writer",
    "progress_bar",
    "recorder",
    "seeding",
    "sharding",
    "summary",
    "sync_batch_norm",
    "trackers",
    "trainers",
    "type_scores",
    "wandb_logger",
    "wandb_settings",
]
