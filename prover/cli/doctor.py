"""``zkml doctor``: what works on this machine, what is missing, how to fix it."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from circuits.errors import ZkmlError
from circuits.format.digests import canonical_json
from prover.cli import options
from prover.cli.terminal import EXIT_FAILED, EXIT_YES, Terminal, write_file
from prover.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check: ``level`` is ok, note or problem."""

    name: str
    level: str
    detail: str
    advice: str = ""


def doctor(
    settings_too: Annotated[
        bool, typer.Option("--settings", help="Show every setting with its value.")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="Fit the planner's cost model to this machine (some minutes)."
        ),
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Check everything that a proof needs on this machine."""
    terminal = Terminal(as_json)
    settings = Settings.load()
    if calibrate:
        return _calibrate(settings, terminal)
    findings = [look(settings) for look in _LOOKS]
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[bold red]problem[/]"}
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        advice = f"\n  {finding.advice}" if finding.advice else ""
        table.add_row(finding.name, marks[finding.level], finding.detail + advice)
    terminal.table(table)
    if settings_too:
        shown = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("setting", "value", "meaning"):
            shown.add_column(column)
        for s in settings.describe():
            shown.add_row(s.env, s.value + (" (set)" if s.is_set else ""), s.description)
        terminal.table(shown)
    healthy = all(f.level != "problem" for f in findings)
    terminal.object({"ok": healthy, "findings": [vars(f) for f in findings]})
    return EXIT_YES if healthy else EXIT_FAILED


def _calibrate(settings: Settings, terminal: Terminal) -> int:
    """Proves synthetic circuits and writes this machine's cost model, fitted to their costs."""
    from circuits.cost.model import machine_fingerprint
    from circuits.engine.ezkl_engine import EzklEngine
    from circuits.engine.sandbox import Sandbox
    from circuits.plan.calibrate import fit, measure
    from circuits.srs.files import Policy, SrsFolder

    settings.prepare()
    limits, folder = settings.engine_limits, SrsFolder(settings.srs_dir)
    sandbox = Sandbox(nice=settings.engine_nice)
    engine = EzklEngine(sandbox)

    def srs(logrows: int) -> Path:
        generate = lambda path, k: engine.generate_srs(path, k, limits)  # noqa: E731
        return folder.ensure(logrows, Policy.DEVELOPMENT, generate).path

    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with (
            tempfile.TemporaryDirectory(prefix="zkml-calibrate-") as keys,
            Progress(*columns, console=terminal.err) as bars,
        ):
            bar = bars.add_task("measuring", total=None)
            samples = measure(
                engine,
                srs,
                Path(keys),
                limits,
                lambda done, total: bars.update(bar, completed=done, total=total),
            )
    finally:
        sandbox.close()
    model = fit(samples, machine_fingerprint())
    write_file(settings.cost_model_path, canonical_json(model.to_json()))
    terminal.line(
        f"Fitted to {len(samples)} proofs. Median error on held-out proofs:"
        f" {model.error['prove_s']:.0%} of time, {model.error['peak_bytes']:.0%} of memory."
    )
    terminal.line(f"Wrote {settings.cost_model_path}; the planner uses it from now on.")
    terminal.object({"ok": True, "samples": len(samples), "cost_model": model.to_json()})
    return EXIT_YES


def _python(_: Settings) -> Finding:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    return Finding(
        name="python",
        level="ok" if good else "problem",
        detail=f"{version} on {platform.system()} {platform.machine()}",
        advice="" if good else "Install Python 3.11 or newer.",
    )


def _engine(settings: Settings) -> Finding:
    """Starts the engine's child process."""
    from circuits.engine.ezkl_engine import EzklEngine
    from circuits.engine.port import Limits
    from circuits.engine.sandbox import Sandbox

    sandbox = Sandbox(nice=settings.engine_nice)
    try:
        engine = EzklEngine(sandbox)
        sandbox.call("circuits.engine.calls:version", limits=Limits(deadline_s=30))
        walls = sandbox.call("circuits.engine.session:walls", limits=Limits(deadline_s=30))
        missing = ", ".join(name for name, works in walls.items() if not works)
        if missing:
            return Finding(
                name="engine",
                level="note",
                detail=f"{engine.label}; not isolated: {missing}",
                advice="docs/decisions/0010-isolation.md says what each kind of isolation needs.",
            )
        return Finding(
            name="engine", level="ok", detail=f"{engine.label}; no network, no foreign files"
        )
    except ZkmlError as error:
        return Finding(
            name="engine",
            level="problem",
            detail=error.detail,
            advice="Reinstall with `make install`; EZKL has wheels for Linux, macOS and Windows.",
        )
    finally:
        sandbox.close()


def _machine(settings: Settings) -> Finding:
    total = psutil.virtual_memory().total >> 20
    limit = settings.engine_memory_mb
    detail = f"{psutil.cpu_count()} cores, {total:,} MiB; one proof may use {limit:,} MiB"
    if limit > total:
        return Finding(
            name="machine",
            level="note",
            detail=detail,
            advice="ZKML_ENGINE_MEMORY_MB exceeds physical memory: the kernel may kill proofs.",
        )
    return Finding(name="machine", level="ok", detail=detail)


def _home(settings: Settings) -> Finding:
    try:
        settings.prepare()
        free = shutil.disk_usage(settings.home).free >> 20
    except ZkmlError as error:
        return Finding(name="home", level="problem", detail=error.detail, advice=error.advice)
    level = "ok" if free > _ENOUGH_DISK_MB else "note"
    return Finding(
        name="home",
        level=level,
        detail=f"{settings.home}, {free:,} MiB free",
        advice="" if level == "ok" else "Proving keys take megabytes to gigabytes each.",
    )


_ENOUGH_DISK_MB = 2048


def _database(settings: Settings) -> Finding:
    from prover.store import Store

    return _try("database", lambda: Store.open(settings.database_url).close(), "it opens")


def _webhooks(settings: Settings) -> Finding:
    """Disabled endpoints and late deliveries, of all tenants."""
    from prover.store import Store

    try:
        with Store.open(settings.database_url) as store:
            every = store.every_tenant()
            counts = every.count_webhooks()
            off = every.webhook_endpoints(_MOST_NAMED, disabled=True).items
    except ZkmlError as error:
        return Finding(name="webhooks", level="problem", detail=error.detail, advice=error.advice)
    detail = f"{counts.enabled} endpoints, {counts.pending} deliveries pending"
    if off:
        named = ", ".join(f"{e.id} of {e.tenant} ({e.disabled})" for e in off)
        return Finding(
            name="webhooks",
            level="note",
            detail=f"{detail}; {counts.disabled} disabled: {named}",
            advice="Its owner repairs the receiver, enables the endpoint and requests a replay.",
        )
    if counts.oldest_due_s > _LATE_S:
        return Finding(
            name="webhooks",
            level="note",
            detail=f"{detail}; the oldest is {counts.oldest_due_s:.0f} s late",
            advice="Workers deliver them: check that one runs and may open outgoing connections.",
        )
    return Finding(name="webhooks", level="ok", detail=detail)


#: Disabled endpoints that are listed; seconds of delay from which no worker seems to deliver.
_MOST_NAMED, _LATE_S = 10, 300


def _artifacts(settings: Settings) -> Finding:
    from prover.artifacts import Artifacts

    return _try(
        "artifacts",
        lambda: Artifacts.open(settings.artifacts_url, settings.cache_dir).ping(),
        "the store answers",
    )


def _redis(settings: Settings) -> Finding:
    from prover.host.redis_server import find_redis_server
    from prover.jobs.bus import open_notifications

    if settings.redis_url is None:
        return _try("redis", find_redis_server, "`zkml up` starts its own")
    return _try("redis", open_notifications(settings.redis_url).ping, "it answers")


def _srs(settings: Settings) -> Finding:
    from circuits.srs.files import Origin, SrsFolder

    files = SrsFolder(settings.srs_dir).files()
    public = [f.logrows for f in files if f.origin is Origin.CEREMONY]
    if public:
        return Finding(name="srs", level="ok", detail=f"public ceremony, k = {public}")
    return Finding(
        name="srs",
        level="note" if settings.srs_policy == "development" else "problem",
        detail="no file of the public ceremony found; proofs will be labelled insecure",
        advice="Run `zkml srs fetch K` for the sizes you need (`zkml plan` says which).",
    )


def _cost_model(settings: Settings) -> Finding:
    """Which measurements the planner's predictions depend on."""
    from prover.jobs.circuit_registry import machine_costs

    own = machine_costs(settings)
    if own is not None:
        error = own.error["prove_s"]
        detail = f"fitted on this machine; median error {error:.0%} of time on held-out proofs"
        return Finding(name="cost model", level="ok", detail=detail)
    there = settings.cost_model_path.exists()
    return Finding(
        name="cost model",
        level="note",
        detail=f"{settings.cost_model_path} was fitted on another machine or by another version,"
        " and is not used"
        if there
        else "the package's default: proportions are right, absolute times are not",
        advice="Run `zkml doctor --calibrate` on an otherwise idle machine (some minutes).",
    )


def _try(name: str, action: Callable[[], Any], good: str) -> Finding:
    try:
        action()
    except ZkmlError as error:
        return Finding(name=name, level="problem", detail=error.detail, advice=error.advice)
    return Finding(name=name, level="ok", detail=good)


_LOOKS = (
    _python,
    _machine,
    _engine,
    _home,
    _database,
    _webhooks,
    _artifacts,
    _redis,
    _srs,
    _cost_model,
)
