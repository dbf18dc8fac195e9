"""Export of checkpoints: safetensors folders, model cards and ONNX graphs."""
