"""The commands of ``zkml remote``. The key comes from the environment or a file, because other
users of the machine can see command lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from api.client.failures import ServerProblem, UnexpectedAnswer
from api.client.models import Event, Job, Problem
from api.client.offline import verify_offline
from api.client.sync import Client
from circuits.errors import Fault, ZkmlError
from prover.cli.terminal import (
    EXIT_FAILED,
    EXIT_NO,
    EXIT_USAGE,
    FileUnreadable,
    Terminal,
    check_writable,
    read_file,
    write_file,
)

app = typer.Typer(
    name="zkml remote",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Use a remote service. ZKML_URL is its address, ZKML_API_KEY the key.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Url = Annotated[
    str, typer.Option("--url", envvar="ZKML_URL", help="The service's address.", metavar="URL")
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file", metavar="FILE", help="File with the API key; default: ZKML_API_KEY."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
ProofId = Annotated[str, typer.Argument(metavar="PROOF", help="A proof's id.")]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="OUT.zkml", help="Output path.")]
Context = Annotated[str | None, typer.Option(help="Nonce bound into the proof.")]
LOCAL = "http://127.0.0.1:8000"
_KEY = "ZKML_API_KEY"


class RemoteRefused(ZkmlError):
    """The service refused the request."""

    code = "remote_refused"
    fault = Fault.INPUT

    def __init__(self, problem: Problem):
        self._problem = problem
        super().__init__(problem.detail, advice=problem.advice)

    def problem(self) -> dict[str, Any]:
        """The service's problem document, with its code."""
        return self._problem.model_dump(mode="json", exclude_none=True)


class RemoteFailed(RemoteRefused):
    """The service failed."""

    code = "remote_failed"
    fault = Fault.INTERNAL


class ServiceUnreachable(ZkmlError):
    """The service does not respond, or another program responds at its address."""

    code = "service_unreachable"
    fault = Fault.BUSY
    retryable = True
    default_advice = "Check --url (or ZKML_URL), and that the service runs there."


@app.command()
def upload(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")],
    url: Url = LOCAL,
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Upload MODEL and print its id. The same file gives the same id."""
    terminal = Terminal(as_json)
    read_file(model)
    with connected(url, api_key_file) as zkml:
        found = zkml.upload_model(model)
    terminal.line(found.id)
    terminal.object({"ok": True, "model": found.model_dump(mode="json")})


@app.command()
def prove(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file, or a model's id.")],
    input_file: Annotated[
        Path, typer.Argument(metavar="INPUT", help='{"inputs": {name: nested list}} as JSON.')
    ],
    out: Out,
    nonce: Context = None,
    url: Url = LOCAL,
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> int:
    """Prove INPUT remotely, write the bundle, and verify it locally."""
    terminal = Terminal(as_json)
    check_writable(out)
    payload = _json(input_file)
    with connected(url, api_key_file) as zkml:
        model_id = model if model.startswith("sha256:") else zkml.upload_model(Path(model)).id
        job = zkml.create_proof(
            model=model_id,
            inputs=payload.get("inputs"),
            input_data=payload.get("input_data"),
            context={"nonce": nonce} if nonce else None,
        )
        terminal.err.print(f"proof {job.id}", markup=False)
        for event in zkml.events(job.id):
            _tell(terminal, event)
        job = zkml.proof(job.id)
        if job.state != "succeeded":
            return _not_proved(job, terminal)
        data = zkml.bundle(job.id)
    write_file(out, data)
    return _verified(data, out, terminal, nonce=nonce, trusted=None, job=job)


@app.command()
def status(
    proof: ProofId,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the end.")] = 0,
    url: Url = LOCAL,
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Show the state of PROOF."""
    terminal = Terminal(as_json)
    with connected(url, api_key_file) as zkml:
        job = zkml.proof(proof)
        if wait and not job.terminal:
            try:
                job = zkml.wait(proof, wait)
            except TimeoutError:
                job = zkml.proof(proof)
    stage = f", {job.stage} ({job.progress:.0%})" if job.stage else ""
    terminal.line(f"{job.state}{stage}")
    if job.problem is not None:
        terminal.line(f"{job.problem.code}: {job.problem.detail}")
    terminal.object({"ok": True, "proof": job.model_dump(mode="json")})


@app.command()
def cancel(
    proof: ProofId, url: Url = LOCAL, api_key_file: KeyFile = None, as_json: Json = False
) -> None:
    """Cancel PROOF."""
    terminal = Terminal(as_json)
    with connected(url, api_key_file) as zkml:
        job = zkml.cancel(proof)
    terminal.line(job.state if job.terminal else "asked to end")
    terminal.object({"ok": True, "proof": job.model_dump(mode="json")})


@app.command()
def fetch(
    proof: ProofId,
    out: Out,
    nonce: Context = None,
    trusted: Annotated[
        Path | None,
        typer.Option(metavar="KEYS", help="A published key set: the signers you trust."),
    ] = None,
    url: Url = LOCAL,
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> int:
    """Fetch the bundle of PROOF, and verify it locally."""
    terminal = Terminal(as_json)
    check_writable(out)
    with connected(url, api_key_file) as zkml:
        data = zkml.bundle(proof)
    write_file(out, data)
    keys = _json(trusted) if trusted else None
    return _verified(data, out, terminal, nonce=nonce, trusted=keys, job=None)


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help="Only proofs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    url: Url = LOCAL,
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """List proofs, newest first."""
    terminal = Terminal(as_json)
    with connected(url, api_key_file) as zkml:
        page = zkml.proofs(limit=limit, state=state)
    for job in page.items:
        terminal.line(f"{job.id}  {job.state:9}  {job.created_at:%Y-%m-%d %H:%M:%S}  {job.model}")
    terminal.object({"ok": True, "proofs": [j.model_dump(mode="json") for j in page.items]})


@app.command()
def keys(url: Url = LOCAL, api_key_file: KeyFile = None, as_json: Json = False) -> None:
    """Print the keys that sign the service's receipts; save them if you trust them."""
    Terminal.spoke = True
    with connected(url, api_key_file) as zkml:
        print(json.dumps(zkml.keys(), indent=None if as_json else 2))


@contextmanager
def connected(url: str, key_file: Path | None) -> Iterator[Client]:
    """A client; maps its errors to those of the command line."""
    key = read_file(key_file).decode().strip() if key_file else os.environ.get(_KEY) or None
    try:
        with Client(url, api_key=key) as zkml:
            yield zkml
    except ServerProblem as error:
        inner = error.problem.fault in (Fault.INTERNAL, Fault.BUSY)
        raise (RemoteFailed if inner else RemoteRefused)(error.problem) from None
    except (httpx.TransportError, httpx.InvalidURL, UnexpectedAnswer) as error:
        raise ServiceUnreachable(f"{url} does not respond like the service: {error}.") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_file(path))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise FileUnreadable(f"{path} is not a JSON object.")
    return value


def _tell(terminal: Terminal, event: Event) -> None:
    says = event.data.get("stage") if event.type == "stage" else event.data.get("state")
    if says and event.type != "progress" and not terminal.as_json:
        terminal.err.print(f"  {says}", markup=False)


def _not_proved(job: Job, terminal: Terminal) -> int:
    problem = (
        job.problem.model_dump(mode="json", exclude_none=True)
        if job.problem
        else {"code": "canceled", "detail": f"the proof is {job.state}"}
    )
    terminal.problem(problem)
    return EXIT_FAILED if problem.get("fault") in (Fault.INTERNAL, Fault.BUSY) else EXIT_USAGE


def _verified(
    data: bytes,
    out: Path,
    terminal: Terminal,
    *,
    nonce: str | None,
    trusted: dict[str, Any] | None,
    job: Job | None,
) -> int:
    """Verifies the bundle on this machine; the exit code is 1 if it is invalid."""
    policy = {"context": {"nonce": nonce}} if nonce else {}
    report = verify_offline(data, trusted=trusted, policy=policy)
    for check in report.checks:
        if check.status == "fail":
            terminal.line(f"({check.number}) {check.name}: {check.detail}")
    if report.ok:
        for sentence in report.words:
            terminal.line(sentence)
    verdict = "VERIFIED" if report.ok else "NOT VERIFIED"
    terminal.line(f"{verdict} here. Wrote {out} ({len(data):,} bytes).", style="bold")
    terminal.object(
        {
            "ok": report.ok,
            "bundle": str(out),
            "proof": job.model_dump(mode="json") if job else None,
            "verification": report.model_dump(mode="json"),
        }
    )
    return 0 if report.ok else EXIT_NO
