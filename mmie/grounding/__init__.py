"""Object crops for new pictures."""

__all__ = [
    "cache",
    "center",
    "coco",
    "cropper",
    "detection",
    "detectors",
    "errors",
    "ground",
    "index",
    "layouts",
    "phrases",
    "selection",
    "zero_shot",
]
