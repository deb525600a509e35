"""The engine's processes for ``zkml prove`` and ``zkml verify``, which start them before their own
imports."""

from __future__ import annotations

from circuits.engine.sandbox import Sandbox

#: Starts with its first use or ``start``; restarts after ``close``.
SANDBOX = Sandbox()
#: What the engine's server loads for the commands that start it early.
LOADS: dict[str, tuple[str, ...]] = {
    "prove": (
        "circuits.engine.calls",
        "circuits.engine.given",
        "circuits.calibration.reference",
        "onnxruntime",
    ),
    "verify": ("circuits.engine.calls",),
}
