"""``zkml prove``: a proof on this machine, without a server, through the same pipeline."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circuits.errors import Fault
from circuits.format.tensors import Signature
from prover.cli import options
from prover.cli.binding import bound
from prover.cli.terminal import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    Terminal,
    check_writable,
    read_file,
    read_model_file,
    write_file,
)
from prover.errors import JobAlreadyDone
from prover.records.job import Job, JobOptions, JobState, Stage

if TYPE_CHECKING:
    from prover.statement.predicate import OutputTensor, Predicate

#: Values printed of an output that has more than ``_MOST_SHOWN``.
_MOST_SHOWN, _FEW = 64, 8
#: Seconds a canceled job has to end by itself.
_GRACE_S = 2.0
_LOOK_S = 0.1
_SAYS = {
    None: "starting",
    Stage.COMPILE: "building the circuit (once for this model)",
    Stage.WITNESS: "computing the witness",
    Stage.PROVE: "proving",
    Stage.VERIFY: "verifying",
    Stage.SIGN: "signing",
}


def prove(
    model: options.ModelFile,
    input_file: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help='{"inputs": {name: nested list}}, EZKL\'s {"input_data": [[…]]}, .csv, .npz or'
            " .npy.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="OUT.zkml", help="Output path of the bundle.")
    ],
    calibration: options.Calibration = None,
    shape: options.Shapes = None,
    nonce: Annotated[
        str | None, typer.Option(help="Nonce bound into the proof, against replay.")
    ] = None,
    visibility: options.VisibilityOption = "public",
    soundness: options.SoundnessOption = "standard",
    target: options.TargetOption = options.DEFAULT.target,
    tolerance: options.Tolerance = options.DEFAULT.max_error,
    agreement: options.Agreement = options.DEFAULT.agreement,
    margin: options.Margin = options.DEFAULT.range_margin,
    argument: options.ArgumentOption = options.DEFAULT.argument,
    weights: options.WeightsOption = options.DEFAULT.weights,
    input_scale: options.InputScaleOption = None,
    salt: Annotated[
        str | None,
        typer.Option(
            metavar="HEX",
            help="Salt of the input's identity, from an earlier proof or `zkml identity`, with"
            " --visibility committed-input. Default: a new one, which is a new identity.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Prove MODEL on INPUT and write a bundle that verifies offline."""
    terminal = Terminal(as_json)
    profile = options.profile(
        visibility, soundness, target, tolerance, agreement, margin, argument, weights, input_scale
    )
    from prover.cli.engine import SANDBOX
    from prover.settings import Settings

    settings = Settings.load(redis_url=None, memory_budget_mb=0)  # one job, alone
    check_writable(out)
    data = read_model_file(model, limit=settings.max_model_bytes)
    sandbox = SANDBOX.configured(nice=settings.engine_nice, keeps=settings.engine_limits)
    try:
        from prover.app import App
        from prover.logs import log_defects_only

        log_defects_only()
        app = App.open(settings, sandbox)
    except BaseException:
        sandbox.close()
        raise
    try:
        if shape or not app.has_model(data):  # a stored one has a batch axis open at most
            sandbox = app.engine.sandbox
            data = bound(sandbox, data, shape, calibration, input_file, terminal=terminal)
        record, _ = app.add_model(data, model.name)
        signature = Signature.from_json(record.signature)
        arrays, unused = _read_input(input_file, signature, settings.max_input_bytes)
        tell_unused(unused, terminal)
        samples = read_file(calibration) if calibration else None
        job = app.prove_inputs(
            record,
            arrays,
            profile,
            {"nonce": nonce} if nonce else None,
            samples,
            options=JobOptions(input_salt=options.read_salt(salt).hex() if salt else None),
        )
        done = _run(app, job, terminal)
        return _finish(app, done, out, terminal)
    finally:
        app.close()


def tell_unused(names: Sequence[str], terminal: Terminal) -> None:
    """Reports inputs that the model does not have."""
    if names:
        shown = ", ".join(names)
        terminal.err.print(f"Ignored, since the model has no such input: {shown}.", markup=False)


def _read_input(path: Path, signature: Signature, limit: int) -> Any:
    from prover.jobs.inputs import read_input

    return read_input(read_file(path, limit=limit), signature)


def _run(app: Any, job: Job, terminal: Terminal) -> Job:
    """Runs the job in a thread and shows its stages. Ctrl-C cancels it.

    Raises the error that prevented writing the job's end.
    """
    interrupted = threading.Event()
    owner = f"{socket.gethostname()}:{os.getpid()}"
    detail: dict[str, str] = {}
    previous = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    if Terminal.interrupted:
        interrupted.set()
    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(_run_to_end, app, job.id, owner, detail_setter(detail))
            import securesystemslib.signer  # noqa: F401 - loads while the engine works

            with _progress(terminal) as show:
                while not wait([running], timeout=0.1).done:
                    row = app.store.job(job.id)
                    says = _SAYS[row.stage]
                    if row.stage is Stage.COMPILE and detail:
                        says = f"{says}: {detail['at']}"
                    show(says, row.progress)
                    if interrupted.is_set():
                        _cancel(app, job, running)
            running.result()
    finally:
        signal.signal(signal.SIGINT, previous)
    done: Job = app.store.job(job.id)
    return done


@contextlib.contextmanager
def _progress(terminal: Terminal) -> Iterator[Callable[[str, float], None]]:
    """Shows on a terminal what is being done and how far it is, from 0 to 1."""
    if not sys.stderr.isatty():
        yield lambda says, done: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=terminal.err, transient=True) as bars:
        bar = bars.add_task(_SAYS[None], total=1.0)
        yield lambda says, done: bars.update(bar, description=says, completed=done)


def _run_to_end(app: Any, job_id: str, owner: str, on_progress: Any) -> None:
    """Works on the job until it has ended, including retries."""
    app.run(job_id, owner, on_progress=on_progress)
    while app.store.job(job_id).state is JobState.QUEUED:
        time.sleep(_LOOK_S)
        app.run(job_id, owner, on_progress=on_progress)


def _cancel(app: Any, job: Job, running: Future[None]) -> None:
    with contextlib.suppress(JobAlreadyDone):
        app.request_cancel(job.id)
    if not wait([running], timeout=_GRACE_S).done:
        # The job is inside a call that does not poll for cancellation: its process is killed.
        app.engine.sandbox.close()


def detail_setter(detail: dict[str, str]) -> Any:
    """A callback that stores the compiler's latest progress message."""

    def say(text: str) -> None:
        detail["at"] = text

    return say


def _finish(app: Any, job: Job, out: Path, terminal: Terminal) -> int:
    if job.state is JobState.CANCELED:
        terminal.line("Interrupted: nothing was written.")
        terminal.object({"ok": False, "problem": {"code": "canceled", "detail": "interrupted"}})
        return EXIT_INTERRUPTED
    if job.state is not JobState.SUCCEEDED or job.result is None:
        problem = job.problem or {"code": "internal", "detail": "the job did not end"}
        terminal.problem(problem)
        return _code_of(problem)
    bundle = app.bundle(job)
    write_file(out, bundle)
    from prover.statement.envelope import Receipt
    from prover.statement.render import printable

    predicate = Receipt.from_bytes(app.receipt(job)).statement().predicate
    for output in predicate.outputs:
        terminal.line(f"{printable(output.name)} = {_shown(output)}")
    built = (
        ""
        if "compile" not in job.timings
        else f" (circuit built in {job.timings['compile']:.1f} s)"
    )
    terminal.line(f"Proved in {job.timings['prove']:.2f} s and verified{built}.")
    for sentence in _accuracy(predicate):
        terminal.line(sentence)
    salt, identity = job.result["input_salt"], job.result.get("input_identity")
    if identity is not None:
        terminal.line(f"Identity of the input, for everyone: {identity}")
        terminal.line(f"Its salt, which nobody else may see, for proofs under the same: {salt}")
    elif salt is not None:
        terminal.line(f"Salt of the input's commitment, for those who may check the input: {salt}")
    terminal.line(f"Wrote {out} ({len(bundle):,} bytes). Check it with: zkml verify {out}")
    terminal.object(
        {
            "ok": True,
            "bundle": str(out),
            "bytes": len(bundle),
            "job": job.id,
            "circuit": job.circuit_id,
            "model": job.model_id,
            "outputs": job.result["outputs"],
            "error": {"reference": predicate.accuracy.this_input.reference, **job.result["error"]},
            "input_salt": salt,
            **({"input_identity": identity} if identity else {}),
            "timings": job.timings,
            "peak_rss_bytes": job.peak_rss_bytes,
        }
    )
    return 0


def _shown(output: OutputTensor) -> str:
    """An output's values in the model's dtype; of many values, the first few."""
    import numpy as np

    values = np.array(output.values).astype(output.dtype if output.dtype[0] in "biu" else "f8")
    if values.size <= _MOST_SHOWN:
        return json.dumps(values.reshape(output.shape).tolist())
    few = ", ".join(json.dumps(v) for v in values[:_FEW].tolist())
    return f"[{few}, … {values.size - _FEW} more] of shape {output.shape}"


def _accuracy(predicate: Predicate) -> Iterator[str]:
    """How accurate the proved output is, with an explanation where it misses the tolerance."""
    from prover.statement.render import error_in_words

    yield error_in_words(predicate)
    error, allowed = predicate.accuracy.this_input.max_relative, predicate.profile.max_error
    if error is None or error <= allowed:
        return
    yield (
        f"That exceeds the tolerance of {100 * allowed:g} %, which the circuit meets on other"
        " inputs. Near a discontinuity of the model (comparison, rounding) the circuit may"
        " fall on the other side; otherwise, calibrate with data like this input."
    )


def _code_of(problem: dict[str, Any]) -> int:
    """The exit code of a failed job, from its problem's ``fault``."""
    internal = problem.get("fault") in (Fault.INTERNAL, Fault.BUSY, None)
    return EXIT_FAILED if internal else EXIT_USAGE
