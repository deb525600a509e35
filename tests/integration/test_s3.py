"""The artifact store on a real S3 server: what it keeps, and what it says when the server is away,
slow or wrong."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from benchmarks.servers.s3 import BUCKET, S3, s3
from circuits.format.digests import sha256
from circuits.format.profile import Profile
from prover.app import App
from prover.artifacts import Artifacts
from prover.errors import ArtifactCorrupt, ArtifactMissing, ArtifactsUnavailable
from prover.records.job import JobState
from prover.settings import Settings
from tests.cases import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture
def artifacts(server: S3, tmp_path: Path) -> Artifacts:
    return Artifacts.open(f"s3://{BUCKET}", tmp_path / "cache")


def test_bytes_come_back_by_their_digest_and_private_ones_can_be_forgotten(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    artifacts.ping()
    data = b"proof" * 2_000_000  # in several parts
    (tmp_path / "file").write_bytes(data)
    digest = artifacts.put_file(tmp_path / "file")
    assert digest == sha256(data)
    assert artifacts.get(digest) == data
    assert artifacts.local_path(digest).read_bytes() == data
    key = artifacts.new_private_key()
    artifacts.put_private(key, b"input")
    assert artifacts.get_private(key) == b"input"
    artifacts.delete_private(key)
    with pytest.raises(ArtifactMissing):
        artifacts.get_private(key)


def test_a_corrupt_store_is_detected(artifacts: Artifacts) -> None:
    digest = artifacts.put(b"what was stored")
    body = digest.removeprefix("sha256:")
    obstore.put(S3Store(BUCKET), f"sha256/{body[:2]}/{body[2:]}", b"something else!")
    with pytest.raises(ArtifactCorrupt):
        artifacts.get(digest)
    with pytest.raises(ArtifactCorrupt):
        artifacts.local_path(digest)


def test_a_proof_is_made_with_everything_in_the_bucket(
    server: S3, tmp_path: Path, srs_cache: Path
) -> None:
    settings = Settings.load(
        home=tmp_path, srs_dir=srs_cache, plan_effort="fast", artifacts_url=f"s3://{BUCKET}"
    )
    app = App.open(settings)
    model, _ = app.add_model(tiny.linear(), "model")
    job = app.request_proof(
        model_id=model.id,
        circuit_id=None,
        payload={"inputs": {"x": [[1.0, -1.0, 2.0, 0.0]]}},
        profile=Profile(),
        context=None,
    )
    app.run(job.id, "test")
    done = app.store.job(job.id)
    assert done.state is JobState.SUCCEEDED, done.problem
    assert app.verify(app.bundle(done), None)["ok"]
    assert not (tmp_path / "artifacts").exists()
    listed = [item["path"] for page in obstore.list(S3Store(BUCKET)) for item in page]
    assert not [path for path in listed if path.startswith("private/")]
    app.close()


def test_a_store_that_says_nothing_is_away(server: S3, artifacts: Artifacts) -> None:
    server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(ArtifactsUnavailable) as caught:
            artifacts.ping()
        assert caught.value.retryable
    finally:
        server.process.send_signal(signal.SIGCONT)
    artifacts.ping()
