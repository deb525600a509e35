"""Shared fixtures: the real engine, tiny circuits, processes that are always ended."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits
from circuits.engine.sandbox import Sandbox

# The processes that tests start compile our modules once, not each for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

#: onnxruntime reports what it loads to its maker unless told not to, before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Imports and collected tests are a million objects that live as long as the run. Looking through
# them for garbage again and again takes an eighth of its time.
gc.set_threshold(50_000, 20, 50)

LIMITS = Limits(deadline_s=60, memory_bytes=4 << 30)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """One fork server for all tests that only need one."""
    shared = Sandbox(nice=0)
    yield shared
    shared.close()


@pytest.fixture(scope="session")
def engine(sandbox: Sandbox) -> EzklEngine:
    """The real engine."""
    return EzklEngine(sandbox)


@pytest.fixture(scope="session")
def srs_cache(engine: EzklEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``dev6.srs`` to ``dev10.srs``: making them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("srs")
    for logrows in range(6, 11):
        engine.generate_srs(folder / f"dev{logrows}.srs", logrows, LIMITS)
    return folder
