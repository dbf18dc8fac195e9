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
    "recorder",
    "seeding",
    "sharding",
    "summary",
    "sync_batch_norm",
    "trackers",
    "trainers",
    "wandb_logger",
    "wandb_settings",
]
