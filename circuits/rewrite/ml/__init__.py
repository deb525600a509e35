"""Classical estimators (``ai.onnx.ml``) as tensor operators."""
