"""Recurrent layers."""

from __future__ import annotations

import numpy as np

from tests.cases.operators.case import Case


def cases() -> dict[str, Case]:
    def weights(gates: int, hidden: int = 2, directions: int = 1) -> str:
        rng = np.random.default_rng(gates)

        def tensor(name: str, *shape: int) -> str:
            values = ", ".join(f"{v:.2f}" for v in rng.uniform(-0.8, 0.8, int(np.prod(shape))))
            return f"float[{', '.join(map(str, shape))}] {name} = {{{values}}}"

        return ", ".join(
            [
                tensor("w", directions, gates * hidden, 2),
                tensor("r", directions, gates * hidden, hidden),
                tensor("b", directions, 2 * gates * hidden),
                tensor("h", directions, 1, hidden),
                tensor("c", directions, 1, hidden),
                tensor("p", directions, 3 * hidden),
            ]
        )

    seq = "float[3, 1, 2] x"
    return {
        "LSTM": Case("y, h1 = LSTM<hidden_size = 2>(x, w, r, b)", seq, weights(4)),
        "LSTM, last": Case("h1, y = LSTM<hidden_size = 2>(x, w, r)", seq, weights(4)),
        "LSTM, state": Case(
            "h1, h2, y = LSTM<hidden_size = 2>(x, w, r, b, , h, c)", seq, weights(4)
        ),
        "LSTM, peepholes": Case(
            "y, h1 = LSTM<hidden_size = 2>(x, w, r, b, , h, c, p)", seq, weights(4)
        ),
        "LSTM, clip": Case(
            "y, h1 = LSTM<hidden_size = 2, clip = 0.2>(x, w, r, b)", seq, weights(4)
        ),
        "LSTM, coupled": Case(
            "y, h1 = LSTM<hidden_size = 2, input_forget = 1>(x, w, r, b)", seq, weights(4)
        ),
        "LSTM, activations": Case(
            'y, h1 = LSTM<hidden_size = 2, activations = ["HardSigmoid", "Relu", "Tanh"]>'
            "(x, w, r, b)",
            seq,
            weights(4),
        ),
        "LSTM, both ways": Case(
            'y, h1 = LSTM<hidden_size = 2, direction = "bidirectional">(x, w, r, b)',
            seq,
            weights(4, directions=2),
        ),
        "GRU": Case("y, h1 = GRU<hidden_size = 2>(x, w, r, b)", seq, weights(3)),
        "GRU, before reset": Case(
            "h1, y = GRU<hidden_size = 2, linear_before_reset = 1>(x, w, r, b)", seq, weights(3)
        ),
        "GRU, state": Case("y, h1 = GRU<hidden_size = 2>(x, w, r, b, , h)", seq, weights(3)),
        "GRU, backwards": Case(
            'y, h1 = GRU<hidden_size = 2, direction = "reverse">(x, w, r, b)', seq, weights(3)
        ),
        "GRU, computed weights": Case(
            "z = ReduceMax<keepdims = 0>(x) u = Mul(w, z) v = Mul(b, z)"
            " h1, y = GRU<hidden_size = 2>(x, u, r, v)",
            seq,
            weights(3),
        ),
        "GRU, clip": Case("y, h1 = GRU<hidden_size = 2, clip = 0.2>(x, w, r, b)", seq, weights(3)),
        "GRU, activations": Case(
            'y, h1 = GRU<hidden_size = 2, activations = ["Tanh", "Sigmoid"]>(x, w, r, b)',
            seq,
            weights(3),
        ),
        "RNN": Case("y, h1 = RNN<hidden_size = 2>(x, w, r, b)", seq, weights(1)),
        "RNN, relu": Case(
            'y, h1 = RNN<hidden_size = 2, activations = ["Relu"]>(x, w, r, b, , h)', seq, weights(1)
        ),
        "RNN, clip": Case("y, h1 = RNN<hidden_size = 2, clip = 0.2>(x, w, r, b)", seq, weights(1)),
        "RNN, both ways": Case(
            'y, h1 = RNN<hidden_size = 2, direction = "bidirectional">(x, w, r, b)',
            seq,
            weights(1, directions=2),
        ),
    }
