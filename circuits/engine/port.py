"""What the project asks of a proof engine. Another engine would stand behind the same port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from circuits.errors import EngineError
from circuits.format.commitments import Commitments
from circuits.format.field import Felts
from circuits.format.hidden import Salt
from circuits.srs.identity import Comparison
from circuits.srs.input_identity import Evaluated

if TYPE_CHECKING:
    from circuits.committed.shown import NetworkFacts

#: The engine's word for inputs that a proof begins with commitments to, and its settings' word.
COMMITTED, _COMMITTED_IN_SETTINGS = "polycommit", "kzgcommit"
#: Called with a stage's name (``witness``, ``prove``) when it begins.
OnStage = Callable[[str], None]
#: Polled while a call runs; a true answer kills it and raises ``Canceled``.
ShouldStop = Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one engine call may take before its process is killed."""

    deadline_s: float = 600.0
    memory_bytes: int = 8 << 30
    threads: int = 0  # of the engine; 0: as many as there are cores


@dataclass(frozen=True, kw_only=True)
class RunArgs:
    """The engine settings a planner may choose (names are EZKL's own)."""

    input_scale: int
    param_scale: int
    scale_rebase_multiplier: int
    logrows: int
    num_inner_cols: int = 2
    decomp_base: int = 16384
    decomp_legs: int = 2
    lookup_range: tuple[int, int] = (-32768, 32768)
    ignore_range_check_inputs_outputs: bool = True
    disable_freivalds: bool = True
    rebase_frac_zero_constants: bool = False
    input_visibility: str = "public"
    output_visibility: str = "public"
    param_visibility: str = "fixed"

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> RunArgs:
        """The run arguments of a settings file, parsed."""
        given = {f.name: settings["run_args"][f.name] for f in fields(cls)}
        given["lookup_range"] = tuple(given["lookup_range"])
        for name in ("input_visibility", "output_visibility", "param_visibility"):
            word = given[name]
            word = (word if isinstance(word, str) else next(iter(word))).lower()
            given[name] = COMMITTED if word == _COMMITTED_IN_SETTINGS else word
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class LayoutStats:
    """What a candidate would cost, without building it: the engine's settings, parsed.

    ``settings`` is the engine's own JSON text. ``rows`` is the layout's length, ``assignments``
    all cells that are filled (those of Freivalds products included), ``lookups`` the names of table
    lookups, ``range_checks`` the ranges checked by table, ``committed`` the columns of committed
    elements.
    """

    args: RunArgs
    settings: str
    rows: int
    assignments: int
    constants: int
    dynamic_size: int
    lookups: tuple[str, ...]
    range_checks: tuple[tuple[int, int], ...]
    input_scales: tuple[int, ...]
    output_scales: tuple[int, ...]
    instance_shapes: tuple[tuple[int, ...], ...]
    committed: int = 0

    @classmethod
    def counted(
        cls,
        args: RunArgs,
        cells: int,
        *,
        lookups: tuple[str, ...] = (),
        range_checks: tuple[tuple[int, int], ...] = (),
        constants: int = 0,
        committed: int = 0,
    ) -> LayoutStats:
        """A layout by its number of cells, counted without the engine."""
        return cls(
            args=args,
            settings="",
            rows=-(-cells // args.num_inner_cols),
            assignments=cells,
            constants=constants,
            dynamic_size=0,
            lookups=lookups,
            range_checks=range_checks,
            input_scales=(),
            output_scales=(),
            instance_shapes=(),
            committed=committed,
        )


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """One sample run through the circuit's arithmetic, without a proof.

    ``lookup_min``/``lookup_max`` bound what went into tables, ``range_max`` what went into range
    checks: compare them with the circuit's tables before proving, since a value outside makes the
    engine hang.
    """

    outputs: list[Felts]
    lookup_min: int
    lookup_max: int
    range_max: int


@dataclass(frozen=True, kw_only=True)
class CircuitFiles:
    """A built circuit on local disk. ``hints``: with ``commitments``, the network whose hints are
    committed to (``circuits.committed``). ``salt``: the random look-ups that it takes."""

    compiled: Path
    settings: Path
    pk: Path
    vk: Path
    srs: Path
    hints: Path | None = None
    salt: Salt | None = None
    commitments: Commitments | None = None

    @classmethod
    def of(
        cls,
        paths: Mapping[str, Path],
        salt: Salt | None = None,
        commitments: Commitments | None = None,
    ) -> CircuitFiles:
        """The files by the names that a manifest has for them."""
        names = ("compiled", "settings", "pk", "vk", "srs")
        needed = {name: paths[name] for name in names}
        return cls(**needed, hints=paths.get("hints"), salt=salt, commitments=commitments)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        needed = (self.compiled, self.settings, self.pk, self.vk, self.srs)
        return needed if self.hints is None else (*needed, self.hints)


def set_up_files(folder: Path, srs: Path) -> dict[str, Path]:
    """What a set-up in a folder leaves, by the names that a manifest has for it."""
    made = {name: folder / name for name in ("compiled", "vk", "pk")}
    return made | {"settings": folder / "settings.json", "srs": srs}


@dataclass(frozen=True, kw_only=True)
class SetupReport:
    """What building keys cost."""

    seconds: dict[str, float]
    peak_rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class ProofResult:
    """A proof as made, not yet verified.

    ``proof_json`` is the engine's own file (what ``ezkl verify`` reads), without timestamp and
    without the unauthenticated ``pretty_public_inputs``. ``identity``: that private weights are
    those of the circuit's identity (``circuits.srs.identity``), ``input_identity``: that the input
    is the one that its identity names (``circuits.srs.input_identity``).
    """

    proof_json: bytes
    instances: Felts
    proof: bytes
    seconds: dict[str, float] = field(default_factory=dict)
    peak_rss_bytes: int = 0
    identity: bytes | None = None
    input_identity: bytes | None = None


class Engine(Protocol):
    """A proof engine. Every method may raise an ``EngineError`` and blocks until done."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def measure_layout(
        self, onnx: bytes, candidates: Sequence[RunArgs], limits: Limits
    ) -> list[LayoutStats | EngineError]:
        """Costs of each candidate, in order; a candidate that fails gives its error instead."""
        ...

    def simulate(
        self,
        onnx: bytes,
        settings: str,
        samples: Sequence[list[Felts]],
        limits: Limits,
        hints: bytes | None = None,
    ) -> list[Simulated | EngineError]:
        """Runs samples (each a list of input tensors) through the circuit's arithmetic; ``hints``
        as in ``CircuitFiles``."""
        ...

    def setup(
        self,
        onnx: bytes,
        settings: str,
        srs: Path,
        out: Path,
        limits: Limits,
        on_stage: OnStage | None = None,
        should_stop: ShouldStop | None = None,
    ) -> SetupReport:
        """Writes ``compiled``, ``settings.json``, ``vk`` and ``pk`` into the folder ``out``."""
        ...

    def prove(
        self,
        files: CircuitFiles,
        inputs: list[Felts],
        limits: Limits,
        on_stage: OnStage | None = None,
        should_stop: ShouldStop | None = None,
        input_salt: bytes | None = None,
    ) -> ProofResult:
        """Witness and proof of one input, hints included. Refuses a witness that leaves the
        circuit's tables (``InputOutOfRange``). ``input_salt``: 32 bytes, of the input's identity
        where there is one; new if absent. The result is *unverified*: callers must call
        ``verify``."""
        ...

    def verify(
        self, proof_json: bytes, settings: bytes, vk: bytes, srs_part: bytes, limits: Limits
    ) -> bool:
        """Whether the proof holds. ``srs_part`` is 516 bytes: an SRS of k = 1 (see ``srs``)."""
        ...

    def poseidon(self, felts: Felts, limits: Limits) -> str:
        """The hash by which a circuit with hashed visibility shows one tensor, as a felt."""
        ...

    def network_facts(self, network: bytes, challenges: Felts, limits: Limits) -> NetworkFacts:
        """What the network of a circuit with shown weights is, and what it folds to."""
        ...

    def commit_weights(
        self, network: bytes, files: CircuitFiles, limits: Limits
    ) -> tuple[bytes, tuple[str, ...]]:
        """A network with private weights and a salt for their identity; and the identity."""
        ...

    def identity_fault(
        self, comparison: Comparison, argument: bytes, srs_part: bytes, limits: Limits
    ) -> str | None:
        """Why committed weights are not shown to be those of an identity; None where they are."""
        ...

    def input_fault(
        self, known: Evaluated, argument: bytes, srs_part: bytes, limits: Limits
    ) -> str | None:
        """Why an input is not shown to be the one that an identity names; None where it is."""
        ...

    def generate_srs(self, path: Path, logrows: int, limits: Limits) -> None:
        """Makes an SRS whose secret this process knew: for development only."""
        ...

    def evm_verifier(self, vk: bytes, settings: bytes, srs_part: bytes, limits: Limits) -> str:
        """The Solidity source of this circuit's verifier contract, to be called through a guard
        only (``circuits.evm.guard``): by itself it accepts forged calldata.

        Equal for equal keys. ``srs_part`` as for ``verify``.
        """
        ...
