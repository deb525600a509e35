"""``zkml batch``: many inputs on this machine, through the same code as the service."""

from __future__ import annotations

import os
import signal
import socket
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from circuits.engine.ezkl_engine import EzklEngine
from circuits.errors import Fault
from circuits.format.digests import digest_json, sha256, sha256_file
from circuits.format.profile import Profile
from prover.batch.options import OnInexact
from prover.cli import options
from prover.cli.binding import bound
from prover.cli.terminal import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_USAGE,
    EXIT_YES,
    FileUnreadable,
    FileUnwritable,
    Terminal,
    read_file,
    read_model_file,
)
from prover.verify.policy import Policy

_SHOWN = 10


def batch(
    model: options.ModelFile,
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="INPUTS",
            help='JSON lines {"id": …, "inputs": {name: nested list}}, .csv with header, or .npz.',
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Output folder.")],
    calibration: options.Calibration = None,
    shape: options.Shapes = None,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="One proof per input: no proof reveals another input.")
    ] = False,
    lanes: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Inputs per proof. Default: the cheapest number."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the same command after an interruption.")
    ] = False,
    each: Annotated[
        bool, typer.Option("--each", help="Also write every item's own bundle to DIR/items.")
    ] = False,
    on_inexact: Annotated[
        OnInexact,
        typer.Option(
            "--on-inexact",
            help="Rows whose output misses the tolerance: fail, report, or isolate (prove them"
            " again in a finer circuit).",
        ),
    ] = OnInexact.REPORT,
    deadline: Annotated[
        float | None,
        typer.Option(
            min=0.001, metavar="SECONDS", help="Cancel items that are unproved after SECONDS."
        ),
    ] = None,
    nonce: Annotated[str | None, typer.Option(help="Nonce bound into the proofs.")] = None,
    visibility: options.VisibilityOption = "public",
    soundness: options.SoundnessOption = "standard",
    target: options.TargetOption = options.DEFAULT.target,
    tolerance: options.Tolerance = options.DEFAULT.max_error,
    agreement: options.Agreement = options.DEFAULT.agreement,
    margin: options.Margin = options.DEFAULT.range_margin,
    argument: options.ArgumentOption = options.DEFAULT.argument,
    weights: options.WeightsOption = options.DEFAULT.weights,
    input_scale: options.InputScaleOption = None,
    as_json: options.Json = False,
) -> int:
    """Prove MODEL on every row of INPUTS. Rows that cannot be proved are reported and skipped.

    Exit code 1 when a row has no proof, or an output that misses the tolerance.
    """
    terminal = Terminal(as_json)
    profile = options.profile(
        visibility, soundness, target, tolerance, agreement, margin, argument, weights, input_scale
    )
    from prover.app import App
    from prover.batch.ingest import ingest
    from prover.batch.options import BatchOptions
    from prover.settings import Settings

    settings = Settings.load(redis_url=None, memory_budget_mb=0)  # one job, alone
    data = read_model_file(model, limit=settings.max_model_bytes)
    samples = read_file(calibration) if calibration else None
    wanted = BatchOptions(
        isolate=isolate,
        lanes=lanes,
        deadline_s=deadline,
        context={"nonce": nonce} if nonce else None,
        on_inexact=on_inexact,
    )
    _prepare(out, inputs)
    app = App.open(settings)
    app.engine.sandbox.start()
    try:
        data = bound(app.engine.sandbox, data, shape, calibration, inputs, terminal=terminal)
        record, _ = app.add_model(data, model.name)
        source = _source(inputs, record.id, profile, samples, wanted)
        found = _unfinished(app, source) if resume else None
        with _Bars(terminal) as bars:
            if found is None:
                bars.reading()
                found = ingest(
                    app.batches.services,
                    record,
                    inputs,
                    profile,
                    samples,
                    wanted,
                    source=source,
                    on_row=bars.row,
                )
            ended = bars.work(app, found.id, out)
        return _finish(app, ended, out, terminal, each=each)
    finally:
        app.close()


def _prepare(out: Path, inputs: Path) -> None:
    try:
        with inputs.open("rb"):
            pass
    except OSError as error:
        raise FileUnreadable(f"{inputs} cannot be read: {error.strerror}") from None
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileUnwritable(f"{out} cannot be made: {error.strerror}") from None


def _source(
    inputs: Path, model_id: str, profile: Profile, samples: bytes | None, wanted: Any
) -> str:
    """Identifies a command, so that ``--resume`` finds its batch."""
    return digest_json(
        {
            "inputs": sha256_file(inputs),
            "model": model_id,
            "profile": profile.to_json(),
            "calibration": sha256(samples) if samples is not None else None,
            "options": asdict(wanted),
        }
    )


def _unfinished(app: Any, source: str) -> Any:
    """The newest batch of this command that has received all its rows."""
    cursor = None
    while True:
        page = app.store.batches(limit=100, cursor=cursor)
        for found in page.items:
            if found.request.get("source") == source and found.state.value != "receiving":
                return found
        if page.next_cursor is None:
            return None
        cursor = page.next_cursor


class _Bars:
    """Progress on stderr: rows read; then items done, failed and remaining, rate and time left."""

    def __init__(self, terminal: Terminal) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=terminal.err, transient=True)
        self._bar = self._progress.add_task("starting", total=None)
        self._interrupted = threading.Event()
        self._note = ""

    def __enter__(self) -> _Bars:
        self._previous = signal.signal(signal.SIGINT, lambda *_: self._interrupted.set())
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        signal.signal(signal.SIGINT, self._previous)

    def reading(self) -> None:
        self._progress.update(self._bar, description="reading rows")

    def row(self, count: int) -> None:
        """Called for each row. Raises ``KeyboardInterrupt`` after Ctrl-C."""
        if self._interrupted.is_set():
            raise KeyboardInterrupt
        self._progress.update(self._bar, completed=count)

    def work(self, app: Any, batch_id: str, out: Path) -> Any:
        """Works through the batch in a thread; Ctrl-C stops it so that it can be resumed."""
        from prover.batch.local import work_through
        from prover.batch.results import RESULTS, ResultsStream

        results = ResultsStream(app.store, batch_id, out / RESULTS)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        failure: list[BaseException] = []

        def work() -> None:
            try:
                work_through(
                    app,
                    batch_id,
                    owner,
                    stopping=self._interrupted.is_set,
                    on_progress=lambda text: setattr(self, "_note", text),
                )
            except BaseException as error:
                failure.append(error)

        worker = threading.Thread(target=work, name="batch")
        worker.start()
        while worker.is_alive():
            worker.join(timeout=0.2)
            self._show(app.store.batch(batch_id))
            results.advance()
        if failure:
            raise failure[0]
        return app.store.batch(batch_id)

    def _show(self, batch: Any) -> None:
        from prover.batch.progress import progress_of

        now = progress_of(batch)
        says = f"planning: {self._note}" if batch.plan is None else "proving"
        if batch.plan is not None:
            says += f", {now['failed']} failed, {now['remaining']} remaining"
            if now["inexact"]:
                says += f", {now['inexact']} INEXACT"
            if now["rate_per_s"]:
                says += f", {now['rate_per_s']:.2f}/s, {now['left_s']:.0f} s left"
        self._progress.update(
            self._bar, description=says, completed=now["done"] + now["failed"], total=now["total"]
        )


def _finish(app: Any, batch: Any, out: Path, terminal: Terminal, *, each: bool) -> int:
    from prover.batch.progress import progress_of
    from prover.batch.results import write_results
    from prover.records.batch import BatchState

    try:
        written = write_results(app.batches, batch.id, out, each=each)
    except OSError as error:
        raise FileUnwritable(f"{out} cannot be written: {error.strerror}") from None
    now = progress_of(batch)
    if unused := batch.request.get("unused_inputs"):
        terminal.err.print(
            f"Ignored, since the model has no such input: {', '.join(unused)}.", markup=False
        )
    _tell_failures(app, batch, terminal)
    _tell_inexact(app, batch, terminal)
    done = {
        "ok": batch.state.terminal and now["failed"] == now["inexact"] == 0,
        "batch": batch.id,
        "state": batch.state.value,
        "files": [str(path) for path in written],
        "plan": batch.plan,
        **app.store.batch_costs(batch.id),
        **now,
    }
    if batch.problem is not None:
        done["problem"] = batch.problem
    terminal.object(done)
    if not batch.state.terminal:
        terminal.line(
            f"Interrupted after {now['done']} of {now['total']}; the same command with --resume"
            " continues."
        )
        return EXIT_INTERRUPTED
    terminal.line(
        f"{now['done']} of {now['total']} proved, {now['failed']} failed, {now['inexact']} less"
        f" accurate than requested. Wrote {out}."
    )
    _tell_plan(batch.plan or {}, terminal)
    if batch.state is BatchState.FAILED and batch.problem is not None:
        return _code_of(batch.problem)
    return EXIT_NO if now["failed"] or now["inexact"] else EXIT_YES


def _tell_plan(plan: dict[str, Any], terminal: Terminal) -> None:
    """How the inputs shared proofs, or why they did not."""
    if plan.get("unbatched_reason"):
        terminal.line(f"Proved one by one: {plan['unbatched_reason']}.")
    elif plan.get("packs"):
        shared = [f"{p['proofs']} of up to {p['lanes']} inputs" for p in plan["packs"]]
        terminal.line(f"Proofs: {', '.join(shared)}.")


def _tell_failures(app: Any, batch: Any, terminal: Terminal) -> None:
    """The first rows without a proof, by line and id, and the advice for each code once."""
    from prover.records.batch import ItemState

    shown: set[str | None] = set()
    for item in app.store.items(batch.id, state=ItemState.FAILED, limit=_SHOWN):
        problem = item.problem or {}
        name = f" ({item.id})" if item.id is not None else ""
        code = problem.get("code")
        terminal.err.print(
            f"line {item.line}{name}: {problem.get('detail')} [{code}]", markup=False
        )
        if code not in shown and problem.get("advice"):
            terminal.err.print(f"  {problem['advice']}", markup=False)
        shown.add(code)
    more = batch.counts.get(ItemState.FAILED, 0) - _SHOWN
    if more > 0:
        terminal.err.print(f"… and {more} more, in results.jsonl", markup=False)
    for state in (ItemState.EXPIRED, ItemState.CANCELED):
        if abandoned := batch.counts.get(state, 0):
            detail = (batch.problem or {}).get("detail")
            terminal.err.print(f"{abandoned} rows {state.value}: {detail}", markup=False)


def _tell_inexact(app: Any, batch: Any, terminal: Terminal) -> None:
    """A warning that names the first rows whose proved output misses the profile."""
    from prover.batch.results import items_of

    if not batch.inexact:
        return
    allowed = batch.request["profile"]["max_error"]
    terminal.err.print(
        f"WARNING: {batch.inexact} of {batch.done} proved rows are less accurate than requested"
        f" (error above {100 * allowed:g} %, or another top class than the model's):",
        style="bold red",
        markup=False,
    )
    shown = 0
    for item in items_of(app.store, batch.id):
        if not item.inexact or item.result is None:
            continue
        if shown == _SHOWN:
            break
        shown += 1
        error = item.result["error"]
        name = f" ({item.id})" if item.id is not None else ""
        top = "" if error["same_top1"] is not False else ", ANOTHER TOP CLASS than the model's"
        share = 100 * (error["max_relative"] or 0.0)
        terminal.err.print(
            f"line {item.line}{name}: off by {share:.3g} % of the output's range{top}", markup=False
        )
    if batch.inexact > shown:
        terminal.err.print(f"… and {batch.inexact - shown} more, in results.jsonl", markup=False)
    terminal.err.print(
        "  --on-inexact isolate proves such rows in a finer circuit, fail gives them no receipt.",
        markup=False,
    )


def _code_of(problem: dict[str, Any]) -> int:
    internal = problem.get("fault") in (Fault.INTERNAL, Fault.BUSY, None)
    return EXIT_FAILED if internal else EXIT_USAGE


def verify_all(
    path: Path, model: Path | None, policy: Policy, engine: EzklEngine, terminal: Terminal
) -> int:
    """``zkml verify`` of a batch bundle: each item by itself, each shared proof once."""
    from prover.batch.verify import verify_batch

    if model is not None:
        policy = replace(policy, model_sha256=sha256(read_model_file(model)))
    good, bad = 0, []
    with path.open("rb") as file:
        for entry, report in verify_batch(file, engine=engine, policy=policy):
            if report.ok:
                good += 1
                continue
            failed = report.failures[0]
            bad.append({"id": entry.id, "number": entry.number, "checks": report.to_json()})
            what = f"({failed.number}) {failed.name}: {failed.detail}"
            terminal.line(f"item {entry.number} ({entry.id}): {what}")
    terminal.line(f"{good} of {good + len(bad)} items verified.")
    terminal.line(
        "NOT VERIFIED" if bad or not good else "VERIFIED",
        style="bold red" if bad or not good else "bold green",
    )
    terminal.object({"ok": good > 0 and not bad, "verified": good, "failed": bad})
    return EXIT_YES if good and not bad else EXIT_NO
