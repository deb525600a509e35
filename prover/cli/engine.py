"""The engine's processes for ``zkml verify``, which starts them before its own imports."""

from __future__ import annotations

from circuits.engine.sandbox import Sandbox

#: Starts with its first use or ``start``; restarts after ``close``.
SANDBOX = Sandbox()
