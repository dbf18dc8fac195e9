"""Makers of text context for posts: similar training posts, text in pictures, answers of models."""

__all__ = [
    "answers",
    "endpoint",
    "errors",
    "generation",
    "label_words",
    "local_model",
    "ocr",
    "pictures",
    "retrieval",
    "search",
    "templates",
    "training_texts",
    "vectors",
    "writing",
]
