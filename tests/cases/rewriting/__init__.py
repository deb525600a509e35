"""A small case for each pass: the graph before and after."""

from __future__ import annotations

from tests.cases.rewriting import choosing, decomposing, importing
from tests.cases.rewriting.case import IMAGE, X4, Case, after, graph, samples

__all__ = ["CASES", "IMAGE", "X4", "Case", "after", "graph", "samples"]

CASES: dict[str, Case] = importing.CASES | decomposing.CASES | choosing.CASES
