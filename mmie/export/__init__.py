"""Export of checkpoints: safetensors folders, model cards and ONNX graphs."""

__all__ = ["model_card", "onnx", "onnx_graphs", "onnx_program", "pretrained", "run_facts"]
