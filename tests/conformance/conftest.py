"""The real engine, and the vectors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.sandbox import Sandbox
from tests.conformance.make_vectors import FOLDER


@pytest.fixture(scope="session")
def engine() -> Iterator[EzklEngine]:
    sandbox = Sandbox()
    yield EzklEngine(sandbox)
    sandbox.close()


@pytest.fixture(scope="session")
def vectors() -> dict[str, bytes]:
    """The committed bundles by name."""
    return {path.stem: path.read_bytes() for path in FOLDER.glob("*.zkml")}
