"""Makers of text context for posts: similar training posts, text in pictures, answers of models."""

__all__ = [
    "errors",
    "label_words",
    "retrieval",
    "search",
    "training_texts",
    "writing",
]
