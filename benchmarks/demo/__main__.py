"""An end-to-end demo: serve, upload, prove over HTTP, verify, tamper. ``zkml demo``.

Everything lives in one temporary folder and ends with this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from api.client import Client, Event
from circuits.format.digests import canonical_json
from prover.statement.bundle import read_bundle, write_bundle
from prover.statement.envelope import Receipt

DIGITS = Path(__file__).with_name("digits")
_READY_S = 60
_console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """0 if every step succeeded, else 1 with the reason."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zkml-demo-") as folder:
        home = Path(folder)
        try:
            with _service(home) as url:
                _prove_and_verify(Client(url), home)
        except DemoFailed as error:
            _console.print(f"The demo failed: {error}", style="bold red", markup=False)
            _console.print(_tail(home / "service.log"), style="dim", markup=False)
            return 1
    _say(f"Done in {time.monotonic() - started:.1f} s. All processes and files were removed.")
    return 0


class DemoFailed(Exception):
    """A step failed."""


def _prove_and_verify(client: Client, home: Path) -> None:
    model = client.upload_model(DIGITS / "digits.onnx")
    _step(f"Uploaded the digits classifier: {model.id[:23]}…")

    samples = np.load(DIGITS / "calibration.npz")["image"]
    circuit = client.create_circuit(model.id, calibration={"inputs": {"image": samples.tolist()}})
    _step(f"Requested a circuit, planned on {len(samples)} training images")
    for event in client.circuit_events(circuit.id):
        _event(event)
    circuit = client.circuit(circuit.id)
    if circuit.state != "ready":
        raise DemoFailed(f"the circuit is {circuit.state}: {circuit.job}")

    job = client.create_proof(
        circuit=circuit.id,
        inputs=json.loads((DIGITS / "sample.json").read_text())["inputs"],
        context={"nonce": "demo-1"},
    )
    _step(f"Posted an inference job: {job.id}")
    for event in client.events(job.id):
        _event(event)
    job = client.proof(job.id)
    if job.state != "succeeded" or job.result is None:
        raise DemoFailed(f"the job is {job.state}: {job.problem}")
    logits = job.result["outputs"]["logits"][0]
    _step(f"Proved in {job.timings['prove']:.2f} s. The image shows a {_argmax(logits)}.")

    bundle = client.bundle(job.id)
    answer = client.verify(bundle)
    if not answer.ok:
        raise DemoFailed("the server does not verify its own bundle")
    _step("The server verified the bundle (POST /v1/verifications).")

    good = home / "proof.zkml"
    good.write_bytes(bundle)
    code, report = _verify(good, home)
    if code != 0:
        raise DemoFailed(f"zkml verify rejected a good bundle: {report}")
    passed = sum(c["status"] == "pass" for c in report["checks"])
    _step(f"Verified offline with `zkml verify`: {passed} checks passed, none failed.")

    bad = home / "altered.zkml"
    bad.write_bytes(_with_one_digit_changed(bundle))
    code, refusal = _verify(bad, home)
    if code != 1:
        raise DemoFailed("zkml verify accepted an altered bundle")
    failed = [c for c in refusal["checks"] if c["status"] == "fail"]
    _step("Changed one digit of one output in the receipt, and verified again: rejected.")
    for check in failed[:3]:
        _say(f"    ({check['number']}) {check['name']}: {check['detail']}")

    _say()
    _say("What was proved:", style="bold")
    for sentence in report["words"]:
        _say(f"  {sentence}")
    _say("  The reference string was generated here, for development: do not rely on this proof.")
    _say()


def _event(event: Event) -> None:
    """Prints an event of a job."""
    if event.type != "progress":
        _say(f"    {event.type:6} {event.data.get('stage') or event.data.get('state')}")


def _with_one_digit_changed(bundle: bytes) -> bytes:
    """The bundle with one digit of its first output value changed.

    The changed receipt is in canonical form, so verification fails because of its content and not
    because of its form.
    """
    parts = read_bundle(bundle)
    receipt = Receipt.from_bytes(parts.receipt)
    statement = json.loads(receipt.payload)
    values = statement["predicate"]["outputs"][0]["values"]
    values[0] += 0.1
    altered = replace(receipt, payload=canonical_json(statement))
    return write_bundle(replace(parts, receipt=altered.to_bytes()))


def _verify(bundle: Path, home: Path) -> tuple[int, dict[str, Any]]:
    """``zkml verify --json`` in a separate process, independent of the service."""
    done = subprocess.run(
        [_zkml(), "verify", str(bundle), "--nonce", "demo-1", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ZKML_HOME": str(home / "elsewhere")},
    )
    if not done.stdout:
        raise DemoFailed(f"zkml verify said nothing: {done.stderr}")
    return done.returncode, json.loads(done.stdout)


@contextlib.contextmanager
def _service(home: Path) -> Iterator[str]:
    """``zkml up`` on a free port, stopped at the end."""
    env = {**os.environ, "ZKML_HOME": str(home / "service")}
    env.pop("ZKML_REDIS_URL", None)
    with (home / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [_zkml(), "up", "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=log,
            env=env,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise DemoFailed("zkml up did not start")
            url = json.loads(line)["url"]
            _step(f"Started the service with `zkml up`: redis, API and worker at {url}")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=_READY_S)


def _zkml() -> str:
    """The command beside this interpreter."""
    return str(Path(sys.executable).with_name("zkml"))


def _argmax(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-4000:] if path.exists() else ""


def _step(text: str) -> None:
    _console.print(f"[green]●[/] {text}")


def _say(text: str = "", style: str = "") -> None:
    _console.print(text, style=style, markup=False)


if __name__ == "__main__":
    sys.exit(main())
