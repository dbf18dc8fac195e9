"""What run folders say, side by side."""

__all__ = [
    "charts",
    "comparison",
    "dashboard",
    "diagnosis",
    "methods",
    "statistics",
    "study",
    "training_mentions",
]
