"""``zkml verify``: the numbered checks, offline, from the bundle alone."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.port import Limits
from circuits.engine.proof_json import parse_proof
from circuits.engine.sandbox import Sandbox
from circuits.errors import ZkmlError
from prover.cli import options
from prover.cli.engine import SANDBOX
from prover.cli.options import OptionsDisagree, read_salt
from prover.cli.terminal import (
    EXIT_NO,
    EXIT_YES,
    Terminal,
    is_batch,
    read_file,
    read_model_file,
    styled,
)
from prover.statement.bundle import MAX_BYTES, read_bundle
from prover.verify.checks.engine_parts import VERIFY_LIMITS, engine_parts
from prover.verify.report import Report, Status

if TYPE_CHECKING:
    from prover.verify.policy import Policy

_STYLES = {
    Status.PASS: "green",
    Status.FAIL: "bold red",
    Status.WARN: "yellow",
    Status.SKIP: "dim",
}
#: The width of a finding's place, its name and its result, before the finding itself.
_INDENT = 28


class _Ahead(EzklEngine):
    """The engine, which verifies a bundle's proof while this process still loads the checks.

    Check (31) gets that answer, or that error, once, and only for the very same bytes.
    """

    def __init__(self, sandbox: Sandbox, bundle: bytes) -> None:
        super().__init__(sandbox)
        self._bundle = bundle
        self._parts: tuple[bytes, bytes, bytes, bytes] = (b"", b"", b"", b"")
        self._outcome: bool | ZkmlError | None = None
        self._thread = threading.Thread(target=self._begin)
        self._thread.start()

    def _begin(self) -> None:
        try:
            bundle = read_bundle(self._bundle)
            parse_proof(bundle.proof)
            self._parts = engine_parts(bundle)
            self._outcome = super().verify(*self._parts, limits=VERIFY_LIMITS)
        except ZkmlError as error:
            self._outcome = error
        except Exception:  # hostile bytes: the checks say what is wrong with them
            self._outcome = None

    def verify(
        self, proof_json: bytes, settings: bytes, vk: bytes, srs_part: bytes, limits: Limits
    ) -> bool:
        self._thread.join()
        outcome, self._outcome = self._outcome, None
        if outcome is None or self._parts != (proof_json, settings, vk, srs_part):
            return super().verify(proof_json, settings, vk, srs_part, limits)
        if isinstance(outcome, ZkmlError):
            raise outcome
        return outcome

    def join(self) -> None:
        """Waits for the engine, which nothing else may end in the middle."""
        self._thread.join()


def verify(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="A .zkml file; or use --ezkl.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Expected model: an ONNX file.")
    ] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", metavar="INPUT", help="Expected input.")
    ] = None,
    salt: Annotated[
        str | None,
        typer.Option(
            metavar="HEX", help="Salt that opens the commitment to a private input; needs --input."
        ),
    ] = None,
    nonce: Annotated[str | None, typer.Option(help="Expected nonce of the proof.")] = None,
    trusted: Annotated[
        Path | None,
        typer.Option(metavar="KEYS", help="A published key set: the signers you trust."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="POLICY", help="A JSON file with a verification policy.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as failures.")] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Rebuild the verifying key from --model and compare."),
    ] = False,
    ezkl: Annotated[
        Path | None,
        typer.Option(metavar="PROOF", help="Check a bare EZKL proof, with --settings and --vk."),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --ezkl: the circuit's settings.json.")
    ] = None,
    vk: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --ezkl: the verifying key.")
    ] = None,
    srs_part: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --ezkl: your own SRS part (k = 1, 516 bytes)."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Verify BUNDLE: show what it claims, whether that holds, and what it does not claim."""
    terminal = Terminal(as_json)
    if (bundle is None) == (ezkl is None):
        raise OptionsDisagree("give a BUNDLE, or --ezkl with --settings and --vk")
    engine = EzklEngine(SANDBOX)
    try:
        if ezkl is not None:
            report = _raw(engine, ezkl, settings, vk, srs_part, model, input_file)
        else:
            assert bundle is not None
            if is_batch(bundle):
                wanted = _policy(policy, trusted, nonce, strict)
                if input_file or rebuild:
                    raise OptionsDisagree("--input and --rebuild are for the bundle of one item")
                from prover.cli.batching import verify_all

                return verify_all(bundle, model, wanted, engine, terminal)
            if rebuild and model is None:
                raise OptionsDisagree("--rebuild needs --model")
            opening = _salt(salt, input_file)
            data = read_file(bundle, limit=MAX_BYTES)
            engine = ahead = _Ahead(SANDBOX, data)
            try:
                wanted = _policy(policy, trusted, nonce, strict)
                report = _bundle(ahead, data, wanted, model, input_file, opening, rebuild=rebuild)
            finally:
                ahead.join()
    finally:
        engine.sandbox.close()
    _show(report, terminal)
    return EXIT_YES if report.ok else EXIT_NO


def _policy(policy: Path | None, trusted: Path | None, nonce: str | None, strict: bool) -> Policy:
    from prover.settings import Settings
    from prover.statement.keys import KeyRing
    from prover.verify.policy import Policy

    given: dict[str, Any] = _json(policy) if policy else {}
    if trusted:
        given["trusted"] = _json(trusted)
    if nonce is not None:
        given.setdefault("context", {})["nonce"] = nonce
    if strict:
        given |= {"strict": True, "allow_insecure_srs": False}
    own = KeyRing.known(Settings.load(redis_url=None).key_path)
    return replace(Policy.from_json(given), own=own)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_file(path))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise OptionsDisagree(f"{path} is not a JSON object")
    return value


def _bundle(
    engine: EzklEngine,
    data: bytes,
    policy: Policy,
    model: Path | None,
    input_file: Path | None,
    salt: bytes | None,
    *,
    rebuild: bool,
) -> Report:
    from prover.verify.bundle import verify_bundle

    return verify_bundle(
        data,
        policy=policy,
        engine=engine,
        model=read_model_file(model) if model else None,
        inputs=_inputs(data, input_file) if input_file else None,
        input_salt=salt,
        rebuild=_rebuilder(engine) if rebuild else None,
        derive=_deriver(engine) if model else None,
    )


def _salt(text: str | None, input_file: Path | None) -> bytes | None:
    if text is None:
        return None
    if input_file is None:
        raise OptionsDisagree("--salt needs --input")
    return read_salt(text)


def _inputs(bundle: bytes, path: Path) -> Any:
    """The expected input, read against the signature of the bundle's circuit.

    For an unreadable bundle there is none; verification reports why.
    """
    from circuits.format.tensors import Signature
    from prover.errors import BundleInvalid
    from prover.jobs.inputs import read_input

    try:
        manifest = json.loads(read_bundle(bundle).manifest)
        signature = Signature.from_json(manifest)
    except (BundleInvalid, ValueError, KeyError, TypeError):
        return None
    return read_input(read_file(path), signature)[0]


def _rebuilder(engine: EzklEngine) -> Any:
    from circuits.rebuild import rebuild
    from circuits.srs.files import SrsFolder
    from prover.settings import Settings

    settings = Settings.load(redis_url=None)
    folder = SrsFolder(settings.srs_dir)
    return lambda model, manifest, frozen, srs: rebuild(
        engine, folder, model, manifest, frozen, srs, settings.engine_limits
    )


def _deriver(engine: EzklEngine) -> Any:
    def derive(model: bytes, manifest: Any) -> None:
        from circuits import rebuild
        from prover.settings import Settings

        limits = Settings.load(redis_url=None).engine_limits
        rebuild.derive(engine, model, manifest, limits)

    return derive


def _raw(
    engine: EzklEngine,
    proof: Path,
    settings: Path | None,
    vk: Path | None,
    srs_part: Path | None,
    model: Path | None,
    input_file: Path | None,
) -> Report:
    from prover.verify.bare_proof import verify_raw

    if settings is None or vk is None:
        raise OptionsDisagree("--ezkl needs --settings and --vk")
    return verify_raw(
        read_file(proof),
        read_file(settings),
        read_file(vk),
        engine=engine,
        srs_part=read_file(srs_part) if srs_part else None,
        model=read_model_file(model) if model else None,
        inputs=_arrays(input_file) if input_file else None,
    )


def _arrays(path: Path) -> list[Any]:
    """EZKL's input format, one array per input."""
    import numpy as np

    data = _json(path).get("input_data")
    try:
        return [np.asarray(values, dtype=np.float64) for values in data or ()]
    except (TypeError, ValueError):
        raise OptionsDisagree(f'{path} is not EZKL\'s {{"input_data": [[…]]}}') from None


def _show(report: Report, terminal: Terminal) -> None:
    if not terminal.as_json:
        _tell(report, terminal)
    terminal.object(report.to_json())


def _tell(report: Report, terminal: Terminal) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for check in report.checks:
        mark = styled(f"{check.status:<4}", _STYLES[check.status])
        lines = textwrap.wrap(check.detail, max(width - _INDENT, 20)) if width else [check.detail]
        found = f"\n{' ' * _INDENT}".join(lines)
        terminal.line(f"{check.number:>2}  {check.name:<16}  {mark}  {found}")
    terminal.line()
    if report.ok:
        for sentence in report.words:
            terminal.line(sentence)
        for claim in report.not_claimed:
            terminal.line(f"Not claimed: {claim}", style="dim")
        warned = len(report.warnings)
        notes = f", {warned} warning{'s' * (warned != 1)}" if warned else ""
        terminal.line(f"VERIFIED{notes}", style="bold green")
    else:
        for check in report.failures:
            terminal.line(f"({check.number}) {check.name} [{check.layer}]: {check.detail}")
        terminal.line("NOT VERIFIED", style="bold red")
