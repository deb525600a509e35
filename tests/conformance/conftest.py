"""The vectors."""

from __future__ import annotations

import pytest

from tests.conformance.make_vectors import FOLDER


@pytest.fixture(scope="session")
def vectors() -> dict[str, bytes]:
    """The committed bundles by name."""
    return {path.stem: path.read_bytes() for path in FOLDER.glob("*.zkml")}
