"""Export of checkpoints: safetensors folders, model cards and ONNX graphs."""

__all__ = [
    "model_card",
    "onnx",
    "onnx_engine",
    "onnx_graphs",
    "onnx_lstm",
    "onnx_program",
    "pretrained",
    "run_facts",
]
