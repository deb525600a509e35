"""Samples of a model's inputs, onnxruntime's answers on them, and how far a circuit's are off."""
