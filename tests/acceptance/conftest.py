"""One running service, and one home of the command line, for the tests that only use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.client import Client
from tests.acceptance.processes import DEFAULTS, Up, Workspace, up

MAX_MODEL_BYTES = 1 << 20


@pytest.fixture(scope="session", autouse=True)
def shared_reference_strings(srs_cache: Path) -> None:
    """Every home of these tests finds its reference strings where they were made first."""
    DEFAULTS["ZKML_SRS_DIR"] = str(srs_cache)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """``zkml up`` with redis, API and one worker."""
    home = tmp_path_factory.mktemp("service") / "home"
    with up(home, ZKML_MAX_MODEL_BYTES=str(MAX_MODEL_BYTES)) as running:
        yield running


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose circuit is built."""
    made = Workspace(tmp_path_factory.mktemp("desk"))
    done = made.prove(made.model, made.input, "-o", made.bundle, "--nonce", "mine")
    assert done.code == 0, done
    assert done.json["outputs"]["y"] == [[0.0, 0.25, 2.25]]
    return made


@pytest.fixture
def client(service: Up) -> Iterator[Client]:
    with Client(service.url, timeout_s=300) as open_client:
        yield open_client
