"""Writes what the PyTorch tutorial's ``train.py`` writes, with weights that scikit-learn trains.

Gemm, Relu and Gemm under the names that PyTorch's exporter gives them.
"""

import json
import warnings

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

x, y = load_digits(return_X_y=True)
x = (x / 16).astype(np.float32)
warnings.simplefilter("ignore")
net = MLPClassifier((32,), max_iter=60, random_state=0).fit(x[:1500], y[:1500])

weights = {}
for number, (w, b) in enumerate(zip(net.coefs_, net.intercepts_, strict=True)):
    weights[f"{2 * number}.weight"] = w.T.astype(np.float32)
    weights[f"{2 * number}.bias"] = b.astype(np.float32)
graph = helper.make_graph(
    [
        helper.make_node("Gemm", ["image", "0.weight", "0.bias"], ["/0/Gemm"], transB=1),
        helper.make_node("Relu", ["/0/Gemm"], ["/1/Relu"]),
        helper.make_node("Gemm", ["/1/Relu", "2.weight", "2.bias"], ["logits"], transB=1),
    ],
    "main_graph",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 64])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
    [numpy_helper.from_array(array, name) for name, array in weights.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
with open("digits.onnx", "wb") as file:
    file.write(model.SerializeToString())
np.savez("samples.npz", image=x[:200, None])
with open("input.json", "w") as file:
    json.dump({"inputs": {"image": x[1700:1701].tolist()}}, file)
