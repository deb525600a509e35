"""Reference strings: what each file is worth, downloads, and that no file of others is touched."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from circuits.errors import SrsError, SrsMismatch, SrsMissing
from circuits.srs.fetch import SrsUnreachable, fetch
from circuits.srs.files import Origin, Policy, SrsFile, SrsFolder, file_size

K = 3


def srs_bytes(logrows: int = K, filling: int = 7) -> bytes:
    """Bytes that have the form of an SRS, and none of its meaning."""
    return logrows.to_bytes(4, "little") + bytes([filling]) * (file_size(logrows) - 4)


def fake_generate(path: Path, logrows: int) -> None:
    path.write_bytes(srs_bytes(logrows, filling=9))


def not_asked(path: Path, logrows: int) -> None:
    pytest.fail(f"{path} is generated")


@pytest.fixture
def folder(tmp_path: Path) -> SrsFolder:
    return SrsFolder(tmp_path / "srs")


# --- the folder --------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_empty(folder: SrsFolder) -> None:
    assert folder.files() == []
    assert folder.find(K, Policy.DEVELOPMENT) is None


def test_a_generated_file_is_labelled_wherever_it_is_seen(folder: SrsFolder) -> None:
    made = folder.ensure(K, Policy.DEVELOPMENT, fake_generate)

    assert made.origin is Origin.DEVELOPMENT
    assert made.ref.origin == "insecure-development"
    assert not made.ref.secure
    assert folder.files() == [made] == [folder.check(made.path)]
    assert folder.ensure(K, Policy.DEVELOPMENT, not_asked) == made


def test_the_ceremony_policy_takes_no_other_file(folder: SrsFolder, tmp_path: Path) -> None:
    folder.generate(K, fake_generate)
    given = tmp_path / "mine.srs"
    given.write_bytes(srs_bytes())
    assert folder.adopt(given).origin is Origin.IMPORTED

    with pytest.raises(SrsMissing, match="k = 3") as caught:
        folder.ensure(K, Policy.CEREMONY, not_asked)
    assert caught.value.code == "srs_missing"


def test_the_best_file_of_a_size_is_found(
    folder: SrsFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.generate(K, fake_generate)
    given = tmp_path / "given"
    given.write_bytes(srs_bytes())
    imported = folder.adopt(given)
    assert folder.find(K, Policy.DEVELOPMENT) == imported

    monkeypatch.setattr("circuits.srs.files.SHA256", {K: sha256(srs_bytes()).hexdigest()})
    found = folder.find(K, Policy.CEREMONY)
    assert found is not None
    assert found.origin is Origin.CEREMONY


def test_a_file_of_the_operator_is_copied_and_never_replaced(
    folder: SrsFolder, tmp_path: Path
) -> None:
    given, other = tmp_path / "a.srs", tmp_path / "b.srs"
    given.write_bytes(srs_bytes())
    other.write_bytes(srs_bytes(filling=8))
    adopted = folder.adopt(given)
    assert adopted.path.read_bytes() == given.read_bytes() == srs_bytes()
    assert folder.adopt(given) == adopted  # the same file once more is no error

    with pytest.raises(SrsError, match="differs"):
        folder.adopt(other)
    assert adopted.path.read_bytes() == srs_bytes()
    with pytest.raises(SrsMismatch):
        folder.adopt(other, expect="sha256:" + "0" * 64)
    assert sorted(p.name for p in folder.folder.iterdir() if not p.name.endswith(".json")) == [
        "kzg3.srs"
    ]


@pytest.mark.parametrize(
    "data",
    [b"", b"abc", srs_bytes()[:-1], srs_bytes() + b"x", b"\xff" * 1284, srs_bytes()[4:], b"\0" * 4],
)
def test_what_is_no_srs_is_neither_listed_nor_adopted(folder: SrsFolder, data: bytes) -> None:
    folder.folder.mkdir()
    damaged = folder.folder / f"kzg{K}.srs"
    damaged.write_bytes(data)

    assert folder.files() == []
    with pytest.raises(SrsError) as caught:
        folder.check(damaged)
    assert caught.value.code == "srs_invalid"
    with pytest.raises(SrsError):
        folder.adopt(damaged)
    assert damaged.read_bytes() == data


def test_a_damaged_file_in_use_is_named_rather_than_passed_over(folder: SrsFolder) -> None:
    """Who put a good file there would not want a development one used in its place."""
    folder.folder.mkdir()
    own = folder.folder / f"kzg{K}.srs"
    for data in (srs_bytes()[:-5], srs_bytes(K + 1)):
        own.write_bytes(data)
        with pytest.raises(SrsError, match=r"kzg3\.srs"):
            folder.ensure(K, Policy.DEVELOPMENT, fake_generate)
        assert own.read_bytes() == data


def test_a_changed_file_is_read_again(folder: SrsFolder) -> None:
    made = folder.generate(K, fake_generate)
    made.path.write_bytes(srs_bytes(filling=1))

    (found,) = folder.files()
    assert found.sha256 == "sha256:" + sha256(srs_bytes(filling=1)).hexdigest()


def test_generating_that_fails_leaves_nothing(folder: SrsFolder) -> None:
    def fails(path: Path, logrows: int) -> None:
        path.write_bytes(b"half")
        raise SrsError("no")

    with pytest.raises(SrsError):
        folder.ensure(K, Policy.DEVELOPMENT, fails)
    assert [p.name for p in folder.folder.iterdir()] == [".lock"]


@pytest.mark.parametrize("logrows", [0, 27, -1])
def test_sizes_that_no_srs_has_are_refused(folder: SrsFolder, logrows: int) -> None:
    with pytest.raises(SrsError, match="1 to 26"):
        folder.generate(logrows, fake_generate)


@pytest.mark.slow
def test_two_processes_that_need_one_size_make_it_once(folder: SrsFolder) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from circuits.srs.files import Policy, SrsFolder\n"
        "def generate(path, k):\n"
        "    print('made', flush=True)\n"
        "    time.sleep(0.5)\n"
        "    path.write_bytes(Path(sys.argv[2]).read_bytes())\n"
        f"print(SrsFolder(Path(sys.argv[1])).ensure({K}, Policy.DEVELOPMENT, generate).sha256)\n"
    )
    source = folder.folder.with_name("bytes")
    source.write_bytes(srs_bytes())
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(folder.folder), str(source)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(said).count("made") == 1
    assert len(folder.files()) == 1


# --- downloads ---------------------------------------------------------------------------------


@contextmanager
def served(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server on loopback that answers each GET with ``answer``; its URL with ``{k}``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/kzg{{k}}.srs"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def serving(
    data: bytes, *, status: int = 200, promised: int | None = None
) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(data) if promised is None else promised))
        request.end_headers()
        request.wfile.write(data)

    return answer


GOOD = {K: sha256(srs_bytes()).hexdigest()}


def left_over(folder: SrsFolder) -> list[str]:
    return sorted(p.name for p in folder.folder.iterdir())


def test_the_ceremonys_file_is_fetched(folder: SrsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circuits.srs.files.SHA256", GOOD)
    seen: list[tuple[int, int]] = []
    with served(serving(srs_bytes())) as url:
        got = fetch(
            folder, K, source_url=url, digests=GOOD, on_progress=lambda *at: seen.append(at)
        )
    assert got.origin is Origin.CEREMONY
    assert got.path.read_bytes() == srs_bytes()
    assert seen[-1] == (file_size(K), file_size(K))


@pytest.mark.parametrize(
    ("data", "promised"),
    [
        (srs_bytes(filling=8), None),
        (srs_bytes()[:-1], None),
        (srs_bytes() + b"x", None),
        (b"<html>moved</html>", None),
        (b"", None),
    ],
    ids=["other bytes", "one byte short", "one byte more", "a web page", "nothing"],
)
def test_what_is_not_the_ceremonys_file_is_not_kept(
    folder: SrsFolder, data: bytes, promised: int | None
) -> None:
    with served(serving(data, promised=promised)) as url, pytest.raises(SrsMismatch) as caught:
        fetch(folder, K, source_url=url, digests=GOOD)
    assert caught.value.code == "srs_mismatch"
    assert left_over(folder) == []


def test_a_mirror_that_fails_is_named(folder: SrsFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with (
        served(serving(b"gone", status=404)) as missing,
        served(serving(srs_bytes()[:100], promised=file_size(K))) as torn,
    ):
        for url in (missing, torn, f"http://127.0.0.1:{port}/{{k}}", "no url {k}"):
            with pytest.raises(SrsUnreachable) as caught:
                fetch(folder, K, source_url=url, digests=GOOD)
            assert caught.value.code == "srs_unreachable"
            assert url.format(k=K) in caught.value.detail
            assert "ZKML_SRS_SOURCE_URL" in caught.value.advice
    assert left_over(folder) == []


def test_an_own_file_is_in_the_way_of_a_download_and_stays(folder: SrsFolder) -> None:
    folder.folder.mkdir()
    own = folder.folder / f"kzg{K}.srs"
    own.write_bytes(srs_bytes(filling=5))
    with served(serving(srs_bytes())) as url, pytest.raises(SrsError, match="differs"):
        fetch(folder, K, source_url=url, digests=GOOD)
    assert own.read_bytes() == srs_bytes(filling=5)


def test_a_size_that_the_ceremony_does_not_have_is_not_asked_for(folder: SrsFolder) -> None:
    with pytest.raises(SrsError, match="27"):
        fetch(folder, 27, source_url="http://127.0.0.1:9/{k}")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    given, in_the_way = tmp_path / "given", tmp_path / "file"
    given.write_bytes(srs_bytes())
    in_the_way.write_bytes(b"")
    folder = SrsFolder(in_the_way / "srs")
    with served(serving(srs_bytes())) as url:
        actions: tuple[Callable[[], SrsFile], ...] = (
            lambda: folder.ensure(K, Policy.DEVELOPMENT, fake_generate),
            lambda: folder.adopt(given),
            lambda: fetch(folder, K, source_url=url, digests=GOOD),
        )
        for action in actions:
            with pytest.raises(SrsError, match="cannot be written") as caught:
                action()
            assert caught.value.code == "srs_unwritable"
