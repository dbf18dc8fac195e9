"""Certificate of picture use: how much of a checkpoint's score needs the right pictures."""

__all__ = ["answers", "calibration", "certificate", "outcomes", "page"]
