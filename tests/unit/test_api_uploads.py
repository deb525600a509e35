"""Large models in parts, and bodies that are too long, too slow, or end too early."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import requests
from api.partial import schemas
from circuits.format.digests import sha256
from prover.testing import START, ManualClock
from tests.unit.fake_app import MODEL, FakeApp, http_client, serving

DATA = MODEL + bytes(range(256)) * 4
DIGEST = sha256(DATA)
OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FakeApp]:
    opened = FakeApp(tmp_path, max_model_bytes=1 << 20)
    yield opened
    opened.close()


@pytest.fixture
def http(app: FakeApp) -> Iterator[httpx.Client]:
    with serving(app) as base, http_client(base) as client:
        yield client


def begin(http: httpx.Client, digest: str = DIGEST, size: int = len(DATA)) -> httpx.Response:
    return http.post("/v1/uploads", json={"digest": digest, "size_bytes": size})


def put(http: httpx.Client, start: int, data: bytes, **options: Any) -> httpx.Response:
    last = options.get("last", start + len(data) - 1)
    headers = OCTETS | {"Content-Range": f"bytes {start}-{last}/{options.get('size', len(DATA))}"}
    return http.put(f"/v1/uploads/{DIGEST}", content=data, headers=headers)


def finish(http: httpx.Client) -> httpx.Response:
    return http.post(f"/v1/uploads/{DIGEST}/finish?name=big.onnx&metadata=team:a")


def left_over(app: FakeApp) -> list[Path]:
    """Files of parts and bodies that lie about."""
    homes = (app.settings.home / "artifacts" / "private", app.settings.home / "tmp")
    return [p for home in homes if home.exists() for p in home.rglob("*") if p.is_file()]


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_parts_come_in_any_order_and_again(app: FakeApp, http: httpx.Client) -> None:
    assert begin(http).status_code == 201
    again = begin(http)
    assert (again.status_code, again.json()["missing"]) == (200, 0)
    assert put(http, 600, DATA[600:]).json()["missing"] == 0
    assert put(http, 0, b"\0" * 100).status_code == 200
    assert put(http, 0, DATA[:100]).json()["received"] == [
        {"start": 0, "end": 100},
        {"start": 600, "end": len(DATA)},
    ]
    early = finish(http)
    assert code(early) == (409, "upload_incomplete")
    assert early.json()["context"] == {"missing": 100}
    assert http.get(f"/v1/uploads/{DIGEST}").json()["missing"] == 100
    assert put(http, 100, DATA[100:600]).json()["missing"] is None

    done = finish(http)

    assert done.status_code == 201
    assert (done.json()["id"], done.json()["name"]) == (DIGEST, "big.onnx")
    assert done.json()["metadata"] == {"team": "a"}
    assert finish(http).status_code == 200  # the first answer may have been lost
    assert code(http.get(f"/v1/uploads/{DIGEST}")) == (404, "upload_not_found")
    assert left_over(app) == []


def test_what_was_not_announced_is_not_kept(app: FakeApp, http: httpx.Client) -> None:
    begin(http)
    put(http, 0, DATA[:-1] + b"!")
    assert code(finish(http)) == (422, "upload_digest_mismatch")
    assert http.get(f"/v1/uploads/{DIGEST}").status_code == 404
    assert app.store.models().items == []
    assert left_over(app) == []


def test_a_part_that_does_not_fit_is_refused(
    app: FakeApp, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code(put(http, 0, DATA)) == (404, "upload_not_found")
    begin(http)
    put(http, 100, DATA[100:200])
    assert code(put(http, 150, DATA[150:250])) == (409, "upload_overlap")
    assert code(put(http, 0, DATA[:101])) == (409, "upload_overlap")
    assert code(put(http, 0, DATA[:50], last=59)) == (400, "upload_cut")
    assert code(put(http, 0, DATA[:50], last=39)) == (413, "upload_too_large")
    for wrong in ({"last": len(DATA)}, {"size": 5}, {"last": -1}):
        assert code(put(http, 0, DATA[:50], **wrong)) == (400, "content_range_invalid")
    assert code(http.put(f"/v1/uploads/{DIGEST}", content=b"x", headers=OCTETS)) == (
        400,
        "content_range_invalid",
    )
    monkeypatch.setattr("api.partial.endpoints.MAX_PART", 10)
    assert code(put(http, 0, DATA[:50])) == (400, "content_range_invalid")
    assert http.get(f"/v1/uploads/{DIGEST}").json()["received"] == [{"start": 100, "end": 200}]
    assert http.get(f"/v1/uploads/{DIGEST}").json()["max_part_bytes"] == schemas.MAX_PART
    assert len(left_over(app)) == 1


def test_what_cannot_be_begun(app: FakeApp, http: httpx.Client) -> None:
    assert code(begin(http, size=(1 << 20) + 1)) == (413, "model_too_large")
    assert begin(http, digest="sha256:x").status_code == 422
    assert begin(http, size=0).status_code == 422
    begin(http)
    assert code(begin(http, size=5)) == (409, "upload_overlap")
    app.store.set_quota("default", {"stored_bytes": 10})
    assert code(begin(http, digest=sha256(b"x"))) == (413, "storage_quota_exceeded")
    app.store.set_quota("default", {"stored_bytes": None})
    for n in range(31):
        assert begin(http, digest=sha256(str(n).encode())).status_code == 201
    assert code(begin(http, digest=sha256(b"one more"))) == (409, "uploads_open")
    assert http.delete(f"/v1/uploads/{DIGEST}").status_code == 204
    assert begin(http, digest=sha256(b"one more")).status_code == 201


def test_an_idle_upload_is_deleted(app: FakeApp, http: httpx.Client) -> None:
    clock = ManualClock(START)
    app.store._now = clock
    begin(http)
    put(http, 0, DATA[:100])
    clock.advance(timedelta(days=1).total_seconds() + 1)
    assert begin(http, digest=sha256(b"another")).status_code == 201
    assert http.get(f"/v1/uploads/{DIGEST}").status_code == 404
    assert left_over(app) == []


def test_what_a_killed_process_left_is_deleted_in_time(app: FakeApp) -> None:
    old, new = (app.settings.home / "tmp" / name for name in ("body-old", "body-new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "body").write_bytes(b"x")
    os.utime(old, (0, 0))
    with serving(app):
        assert (old.exists(), new.exists()) == (False, True)


# --- bodies that are no good -----------------------------------------------------------------


def raw(http: httpx.Client) -> socket.socket:
    return socket.create_connection((http.base_url.host, http.base_url.port or 80), timeout=10)


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/models", "application/octet-stream"),
        ("POST", "/v1/batches?model=x", "application/x-ndjson"),
        ("POST", "/v1/proofs", "application/json"),
        ("PUT", f"/v1/uploads/{DIGEST}", "application/octet-stream"),
    ],
)
def test_a_body_that_is_cut_or_stalls_leaves_nothing(
    app: FakeApp,
    http: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    kind: str,
) -> None:
    monkeypatch.setattr(requests, "STALL_S", 0.3)
    begin(http)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Range: bytes 0-99/{len(DATA)}\r\nContent-Length: 100\r\n\r\n"
    ).encode()
    with raw(http) as cut:
        cut.sendall(head + b"x" * 50)
    with raw(http) as stalled:
        stalled.sendall(head + b"x" * 50)
        answer = stalled.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert http.get("/healthz").status_code == 200
    until = time.monotonic() + 10
    while left_over(app) and time.monotonic() < until:
        time.sleep(0.02)
    assert left_over(app) == []
    store = app.store
    assert (store.models().items, store.jobs().items, store.batches().items) == ([], [], [])
    assert http.get(f"/v1/uploads/{DIGEST}").json()["received"] == []


def test_a_body_that_trickles_is_not_waited_for(
    app: FakeApp, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PATIENCE_S", 0.2)
    with raw(http) as slow:
        slow.sendall(
            b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
            b"Content-Type: application/octet-stream\r\n\r\n"
        )
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.05):
                try:
                    slow.sendall(b"x")
                except OSError:
                    return

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        finally:
            stop.set()
            sender.join()


def test_many_unreadable_bodies(app: FakeApp, http: httpx.Client) -> None:
    deep = b'{"model":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    bodies: list[tuple[bytes, str]] = [
        (deep, "json_invalid"),
        (b'{"model": "\xff"}', "json_invalid"),
        (b'\xef\xbb\xbf{"model": "x"}', "json_invalid"),
        (b'{"model": "x", "inputs": {"x": NaN}}', "json_invalid"),
        (b'{"model": "x",}', "json_invalid"),
        (b'{"model": "x"', "json_invalid"),
        (b"", "json_invalid"),
        (b'{"model": "x", "inputs": {"x": [1]}, "inptus": 1}', "request_invalid"),
        (b'{"model": "x\\r\\nSet-Cookie: a", "inputs": {}}', "request_invalid"),
    ]
    for body, wanted in bodies:
        for path in ("/v1/proofs", "/v1/circuits", "/v1/uploads"):
            answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 422), (path, body[:40])
            if path == "/v1/proofs":
                assert answer.json()["code"] == wanted, body[:40]
    wrong_type = http.post("/v1/proofs", content=b"{}", headers={"Content-Type": "text/plain"})
    assert code(wrong_type) == (415, "media_type_unsupported")
    for form in (b"--x\r\nContent-Disposition: form-data; name=", b"", b"--x--"):
        answer = http.post(
            "/v1/models", content=form, headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
        assert answer.status_code in (400, 422), form
    no_boundary = {"Content-Type": "multipart/form-data"}
    assert http.post("/v1/models", content=b"x", headers=no_boundary).status_code == 400
    assert app.store.jobs().items == []


def test_no_sent_value_becomes_a_header(app: FakeApp, http: httpx.Client) -> None:
    """Line breaks in names, ids and labels: refused, or taken out."""
    added = http.post(
        "/v1/models",
        params={"name": "a\r\nX-Evil: 1"},
        content=MODEL,
        headers=OCTETS,
    )
    assert added.status_code == 201
    assert "x-evil" not in added.headers
    assert "\n" not in added.json()["name"]
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="..\\a\x1b[2J\x07\xc2\x85b/'
        b'c\xe2\x80\xae%0d%0aX-Evil: 1.onnx"\r\n\r\n' + MODEL + b"2\r\n--x--\r\n"
    )
    named = http.post(
        "/v1/models",
        params={"metadata": "note:a\r\nX-Evil: 1"},
        content=form,
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert named.status_code == 201, named.text
    assert named.json()["name"] == "c%0d%0aX-Evil: 1.onnx"
    assert named.json()["metadata"] == {"note": "a\r\nX-Evil: 1"}
    listed = http.get("/v1/models", params={"metadata": "note:a\r\nX-Evil: 1"})
    assert [m["id"] for m in listed.json()["items"]] == [named.json()["id"]]
    for answer in (named, listed):
        assert "x-evil" not in answer.headers
    file = http.get(f"{named.json()['links']['self']}/manifest")
    assert file.headers["content-disposition"] == 'attachment; filename="model.json"'
    for path in ("/v1/proofs/a%0d%0aX-Evil:%201", "/v1/models/%0d%0aX-Evil:1/costs"):
        answer = http.get(path)
        assert answer.status_code in (404, 422)
        assert "x-evil" not in answer.headers
    with raw(http) as odd:
        odd.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a\x0bX-Evil: 1\r\n\r\n"
        )
        assert b"X-Evil: 1\r\n" not in odd.recv(4096)


def test_a_full_disk_is_no_defect(app: FakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("api.uploads.anyio.open_file", full)
    with serving(app) as url:
        answer = httpx.post(
            f"{url}/v1/models",
            content=MODEL,
            headers={"Content-Type": "application/octet-stream"},
            timeout=60,
        )
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_full")
