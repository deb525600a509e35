"""The main job over HTTP, with every part real: from an upload to a verification elsewhere."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest

from api.client import Client, ServerProblem
from tests.acceptance.conftest import MAX_MODEL_BYTES
from tests.acceptance.processes import DIGITS, Up, zkml
from tests.cases import tiny

pytestmark = pytest.mark.slow

IMAGE = json.loads((DIGITS / "sample.json").read_text())["inputs"]


@pytest.fixture(scope="module")
def digits(service: Up) -> str:
    """The id of a circuit for the digits classifier, planned on its training images."""
    samples = np.load(DIGITS / "calibration.npz")["image"]
    with Client(service.url, timeout_s=300) as zkml_service:
        model = zkml_service.upload_model(DIGITS / "digits.onnx")
        circuit = zkml_service.create_circuit(
            model.id, calibration={"inputs": {"image": samples.tolist()}}
        )
        last = list(zkml_service.circuit_events(circuit.id))[-1]
        assert last.data["state"] == "succeeded", last
    return circuit.id


def artifacts(service: Up) -> dict[str, int]:
    """Every stored artifact and when it was written."""
    folder = service.home / "artifacts"
    return {
        str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()
    }


def private_inputs(service: Up) -> list[Path]:
    return [
        p for p in (service.home / "artifacts").rglob("*") if "private" in p.parts and p.is_file()
    ]


def test_from_upload_to_a_verification_that_knows_nothing_of_the_service(
    service: Up, client: Client, digits: str, tmp_path: Path
) -> None:
    job = client.create_proof(circuit=digits, inputs=IMAGE, context={"nonce": "only-for-me"})
    events = list(client.events(job.id))
    done = client.proof(job.id)

    # what was seen
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert [e.data["state"] for e in events if e.type == "state"] == [
        "queued",
        "running",
        "succeeded",
    ]
    assert [e.data["stage"] for e in events if e.type == "stage"] == [
        "witness",
        "prove",
        "verify",
        "sign",
    ]
    # what came out is what the model says
    assert done.result is not None
    session = onnxruntime.InferenceSession(DIGITS / "digits.onnx")
    (want,) = session.run(None, {"image": np.array(IMAGE["image"], dtype=np.float32)})
    got = np.array(done.result["outputs"]["logits"])
    assert got.argmax() == want.argmax()
    assert np.abs(got - want).max() < 0.02 * np.ptp(want)
    # it verifies on the server, and anywhere else without it
    bundle = client.bundle(job.id)
    assert client.verify(bundle).ok
    path = tmp_path / "proof.zkml"
    path.write_bytes(bundle)
    report = zkml(tmp_path / "nobody", "verify", path, "--nonce", "only-for-me", "--json")
    assert report.code == 0
    assert report.json["ok"]
    other = zkml(tmp_path / "nobody", "verify", path, "--nonce", "someone else", "--json")
    assert other.code == 1
    # and the input was not kept
    assert private_inputs(service) == []
    assert client.receipt(job.id) in bundle
    assert json.loads(client.proof_file(job.id))["instances"]


def test_a_second_job_builds_nothing(service: Up, client: Client, digits: str) -> None:
    first = client.wait(client.create_proof(circuit=digits, inputs=IMAGE).id)
    before = artifacts(service)
    second = client.wait(client.create_proof(circuit=digits, inputs=IMAGE).id)
    after = artifacts(service)

    assert (first.state, second.state) == ("succeeded", "succeeded")
    assert "compile" not in second.timings
    assert not {"setup", "srs"} & set(second.timings)
    assert len(set(after) - set(before)) == 3  # receipt, proof, bundle
    assert {name: at for name, at in after.items() if name in before} == before
    assert [p.name for p in (service.home / "tmp").iterdir() if p.suffix != ".lock"] == []


def test_a_model_is_known_by_its_bytes(client: Client) -> None:
    data = tiny.linear(scale=1.5)
    assert client.upload_model(data).id == client.upload_model(data, name="again.onnx").id
    assert client.upload_model(tiny.linear(scale=2.5)).id != client.upload_model(data).id


def test_a_model_alone_is_enough_and_its_circuit_serves_the_next(client: Client) -> None:
    model = client.upload_model(tiny.linear())
    first = client.wait(
        client.create_proof(model=model.id, inputs={"x": [[1.0, -1.0, 2.0, 0.0]]}).id
    )
    second = client.wait(client.create_proof(model=model.id, input_data=[[0.5, 1.0, -2.0, 0.0]]).id)

    assert first.state == second.state == "succeeded"
    assert "compile" in first.timings
    assert "compile" not in second.timings
    assert first.circuit == second.circuit


def test_a_value_outside_of_a_circuit_is_refused_before_any_work(
    service: Up, client: Client, digits: str
) -> None:
    before = len(client.proofs().items)
    image = np.array(IMAGE["image"])
    image[0, 0, 3, 3] = 1e6
    with pytest.raises(ServerProblem) as caught:
        client.create_proof(circuit=digits, inputs={"image": image.tolist()})

    problem = caught.value.problem
    assert (problem.status, problem.code) == (422, "input_out_of_range")
    assert problem.context is not None
    assert problem.context["index"] == [0, 0, 3, 3]
    assert len(client.proofs().items) == before
    assert private_inputs(service) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("1e300", "input_not_finite"),
        ("1e999", "input_not_finite"),
        ('"0x01"', "input_dtype"),
        ("true", "input_dtype"),
        ("null", "input_dtype"),
        ("NaN", "json_invalid"),
        ("Infinity", "json_invalid"),
        ("9" * 5000, "json_invalid"),
        ("[1]", "input_shape"),
    ],
)
def test_what_is_no_number_is_refused_and_nothing_is_stored(
    service: Up, client: Client, digits: str, number: str, code: str
) -> None:
    before = artifacts(service)
    flat = ", ".join([number] + ["0"] * 63)
    body = f'{{"circuit": "{digits}", "input_data": [[{flat}]]}}'
    answer = httpx.post(
        f"{service.url}/v1/proofs",
        content=body,
        headers={"Content-Type": "application/json"},
        timeout=300,
    )
    assert (400 <= answer.status_code < 500, answer.json()["code"]) == (True, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert artifacts(service) == before


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "request_invalid"),
        (b"not onnx at all", "model_not_onnx"),
        (tiny.linear()[:-30], "model_"),
        (tiny.non_zero(), "model_unsupported_operator"),
        (b"\0" * (MAX_MODEL_BYTES + 1), "_too_large"),
    ],
    ids=["empty", "text", "truncated", "no such operator", "too large"],
)
def test_a_model_that_cannot_be_used_is_refused_and_not_stored(
    service: Up, client: Client, data: bytes, code: str
) -> None:
    before = artifacts(service), len(client.models().items)
    with pytest.raises(ServerProblem) as caught:
        client.upload_model(data)
    assert code in caught.value.problem.code
    assert 400 <= caught.value.problem.status < 500
    assert caught.value.problem.advice
    assert (artifacts(service), len(client.models().items)) == before


def test_an_altered_bundle_gives_a_failed_check(client: Client, digits: str) -> None:
    bundle = client.bundle(client.wait(client.create_proof(circuit=digits, inputs=IMAGE).id).id)
    for broken in (
        b"",
        bundle[:-100],
        bundle[: len(bundle) // 2],
        bytes([bundle[200] ^ 1]).join([bundle[:200], bundle[201:]]),
    ):
        answer = client.verify(broken)
        assert not answer.ok
        assert any(check.status == "fail" for check in answer.checks)


@pytest.mark.long
def test_the_api_responds_while_a_proof_is_made(client: Client, service: Up, digits: str) -> None:
    """Seconds, not milliseconds: how fast it is is measured elsewhere; that it answers is not."""
    jobs = [client.create_proof(circuit=digits, inputs=IMAGE).id for _ in range(3)]
    answered = 0
    while not client.proof(jobs[-1]).terminal:
        assert httpx.get(f"{service.url}/healthz", timeout=300).status_code == 200
        assert client.create_proof(circuit=digits, inputs=IMAGE).state == "queued"
        answered += 1
        time.sleep(0.1)
    assert answered
    for job in client.proofs(state="queued").items:
        client.cancel(job.id)


def test_concurrent_requests_for_a_new_model_share_one_build(client: Client) -> None:
    model = client.upload_model(tiny.linear(scale=0.75))
    states: list[Any] = []

    def ask() -> None:
        job = client.create_proof(model=model.id, inputs={"x": [[1.0, 0.0, 0.5, 0.0]]})
        states.append(client.wait(job.id))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [job.state for job in states] == ["succeeded"] * 4
    assert len({job.circuit for job in states}) == 1
    assert sum("compile" in job.timings for job in states) == 1
