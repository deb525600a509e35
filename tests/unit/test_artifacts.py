"""Artifacts: in a directory, and in a store that is none (memory, behind the same library)."""

from __future__ import annotations

import resource
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from circuits.errors import StorageFull
from circuits.format.digests import sha256
from prover.artifacts import Artifacts
from prover.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    ArtifactsUnavailable,
    SettingsInvalid,
)


@pytest.fixture(params=["file", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    url = (tmp_path / "a b").as_uri() if request.param == "file" else "memory://"
    return Artifacts.open(url, tmp_path / "cache")


def directory(tmp_path: Path) -> Artifacts:
    return Artifacts.open((tmp_path / "store").as_uri(), tmp_path / "cache")


def file_of(tmp_path: Path, digest: str) -> Path:
    body = digest.removeprefix("sha256:")
    return tmp_path / "store" / "sha256" / body[:2] / body[2:]


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@contextmanager
def little_room(limit: int) -> Iterator[None]:
    """Makes real writes fail past ``limit`` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1, 20_000_000])
def test_what_was_put_comes_back_under_its_digest(
    artifacts: Artifacts, tmp_path: Path, size: int
) -> None:
    data = b"\x07" * size
    source = tmp_path / "source"
    source.write_bytes(data)

    digest = artifacts.put(data)

    artifacts.ping()
    assert digest == sha256(data)
    assert artifacts.put_file(source) == digest
    assert artifacts.exists(digest)
    assert artifacts.get(digest) == data
    assert artifacts.local_path(digest).read_bytes() == data


def test_what_was_never_put_is_missing(artifacts: Artifacts) -> None:
    digest = sha256(b"never put")

    assert not artifacts.exists(digest)
    for ask in (artifacts.get, artifacts.local_path):
        with pytest.raises(ArtifactMissing):
            ask(digest)
        with pytest.raises(ArtifactMissing):
            ask("sha256:../../etc/passwd")


def test_many_may_put_and_read_the_same_bytes_at_once(artifacts: Artifacts) -> None:
    data = b"x" * 300_000
    digest = sha256(data)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: artifacts.put(data), range(16))) == {digest}
        paths = set(pool.map(lambda _: artifacts.local_path(digest), range(16)))

    assert [path.read_bytes() for path in paths] == [data]


def test_damage_is_noticed_and_repaired_by_storing_again(tmp_path: Path) -> None:
    digest = directory(tmp_path).put(b"the true bytes")
    file_of(tmp_path, digest).write_bytes(b"the fake bytes")

    for ask in ("get", "local_path"):
        with pytest.raises(ArtifactCorrupt):
            getattr(directory(tmp_path), ask)(digest)
    directory(tmp_path).put(b"the true bytes")
    assert directory(tmp_path).get(digest) == b"the true bytes"


def test_a_damaged_local_copy_is_fetched_again(tmp_path: Path) -> None:
    remote = Artifacts.open("memory://", tmp_path / "cache")
    digest = remote.put(b"the true bytes")
    body = digest.removeprefix("sha256:")
    copy = tmp_path / "cache" / "sha256" / body[:2] / body[2:]
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"from an earlier run")

    assert remote.local_path(digest) == copy
    assert copy.read_bytes() == b"the true bytes"


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    local = directory(tmp_path)
    remote = Artifacts.open("memory://", tmp_path / "cache")
    data = b"x" * 10_000_000
    source = tmp_path / "source"
    source.write_bytes(data)
    digest = remote.put(data)
    with little_room(1_000_000):
        for write in (
            lambda: local.put(data),
            lambda: local.put_file(source),
            lambda: local.put_private("k" * 32, data),
            lambda: remote.local_path(digest),
        ):
            with pytest.raises(StorageFull):
                write()

    assert files_in(tmp_path / "store") + files_in(tmp_path / "cache") == []
    assert local.get(local.put(data)) == data


def test_a_private_blob_is_for_the_service_only_and_can_be_forgotten(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    key = artifacts.new_private_key()
    artifacts.put_private(key, b"a private input")

    assert artifacts.get_private(key) == b"a private input"
    for path in files_in(tmp_path / "a b"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert sha256(b"a private input").removeprefix("sha256:")[2:] not in str(path)
    artifacts.delete_private(key)
    artifacts.delete_private(key)
    with pytest.raises(ArtifactMissing):
        artifacts.get_private(key)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("key", ["", "short", "../../../etc/passwd", "a/b" * 10])
def test_a_private_key_cannot_lead_elsewhere(artifacts: Artifacts, key: str) -> None:
    with pytest.raises(ValueError, match="private key"):
        artifacts.put_private(key, b"")


def test_an_unresponsive_store_is_reported(tmp_path: Path) -> None:
    artifacts = directory(tmp_path)
    (tmp_path / "store" / "private").rmdir()
    (tmp_path / "store").rmdir()
    with pytest.raises(ArtifactsUnavailable):
        artifacts.ping()
    (tmp_path / "store").write_text("a file where a folder should be")

    with pytest.raises(ArtifactsUnavailable):
        directory(tmp_path)
    with pytest.raises(SettingsInvalid, match="ZKML_ARTIFACTS_URL"):
        Artifacts.open("s3:///", tmp_path)
