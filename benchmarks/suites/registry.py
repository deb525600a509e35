"""The suites by name, with their systems or tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import UnknownSuite
from benchmarks.harness.system import System
from benchmarks.harness.tasks import RunSize, SuiteSystem, Task, by_round, system_tasks
from benchmarks.suites import batch, commands, evm, planning, serving
from benchmarks.systems import circom
from benchmarks.systems.ezkl_default import EzklDefault
from benchmarks.systems.ours import Ours
from benchmarks.zoo import zoo
from benchmarks.zoo.entry import Entry
from circuits.format.commitments import Weights
from circuits.format.profile import Profile, Visibility


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Either brings ``systems`` into a run over its models, or lists ``tasks`` of its own.

    ``models``: the default models in full runs and in quick ones; None: the models of the run.
    """

    name: str
    title: str
    models: tuple[str, ...] | None = None
    quick_models: tuple[str, ...] | None = None
    systems: Callable[[], Sequence[System]] = tuple
    tasks: Callable[[Sequence[Entry], RunSize, Path, ExitStack], Iterator[Task]] | None = None


#: What the suite ``profiles`` has beside each other. The first is the default.
PROFILES = {
    "ours": Profile(),
    "ours-private": Profile(visibility=Visibility.PRIVATE_INPUT),
    "ours-shown": Profile(weights=Weights.SHOWN),
    "ours-private-shown": Profile(visibility=Visibility.PRIVATE_INPUT, weights=Weights.SHOWN),
}
SUITES = {
    suite.name: suite
    for suite in (
        Suite(name="models", title="zkml-prover, every stage", systems=lambda: (Ours(),)),
        Suite(
            name="baseline",
            title="EZKL's documented default flow",
            systems=lambda: (EzklDefault(),),
        ),
        Suite(
            name="peers",
            title="circom + snarkjs beside both, dense models",
            models=circom.MODELS,
            quick_models=("autoencoder",),
            systems=lambda: (Ours(), EzklDefault(), circom.Circom()),
        ),
        Suite(
            name="profiles",
            title="private inputs and shown weights beside the default",
            models=("digits", "mlp-784-128-10", "lenet5"),
            quick_models=("digits",),
            systems=lambda: tuple(Ours(profile, name) for name, profile in PROFILES.items()),
        ),
        Suite(
            name=batch.SUITE,
            title="many inputs, few proofs",
            tasks=batch.tasks,
            models=batch.MODELS,
            quick_models=("digits",),
        ),
        Suite(
            name=planning.SUITE,
            title="regret and prediction",
            tasks=planning.tasks,
            models=planning.MODELS,
            quick_models=("digits",),
        ),
        Suite(
            name=commands.SUITE,
            title="zkml prove and zkml verify",
            tasks=commands.tasks,
            models=commands.MODELS,
            quick_models=("digits",),
        ),
        Suite(
            name=evm.SUITE,
            title="verifier contracts: size and gas",
            tasks=evm.tasks,
            models=evm.MODELS,
            quick_models=("digits",),
        ),
        Suite(
            name=serving.SUITE,
            title="the service under load",
            tasks=serving.tasks,
            models=("digits",),
            quick_models=("digits",),
        ),
    )
}
#: The default suites; a quick run has all of them.
DEFAULT = ("models", "baseline")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The models of a run; ``named``: the caller named them."""

    entries: Sequence[Entry]
    named: bool = True
    quick: bool = False

    def of(self, suite: Suite) -> Sequence[Entry]:
        """The models of a suite, small ones first."""
        names = suite.quick_models if self.quick else suite.models
        chosen = self.entries
        if not self.named and names is not None:
            chosen = zoo.choose(names, quick=False)
        return sorted(chosen, key=_size)


def _size(entry: Entry) -> int:
    """Roughly the cost of its circuit; models of unknown size keep their order."""
    return (entry.multiplications or 0) + 20 * (entry.activations or 0)


def choose(names: Sequence[str], *, quick: bool = False) -> list[Suite]:
    """The suites of these names. Raises ``UnknownSuite``."""
    for name in names:
        if name not in SUITES:
            raise UnknownSuite(
                f"there is no suite {name!r}", advice=f"There are: {', '.join(SUITES)}."
            )
    return [SUITES[name] for name in names or (SUITES if quick else DEFAULT)]


def tasks_of(
    suites: Sequence[Suite],
    selection: Selection,
    run_size: RunSize,
    cache: Path,
    stack: ExitStack,
) -> list[Task]:
    """All samples of a run, round by round: on each model all systems of all suites
    that are to measure it, then what the other suites measure.

    Closing ``stack`` stops the processes of tasks.
    """
    tasks: list[Task] = []
    with_systems = [suite for suite in suites if suite.tasks is None]
    entries = {entry.name: entry for suite in with_systems for entry in selection.of(suite)}
    for entry in sorted(entries.values(), key=_size):
        asked = [suite for suite in with_systems if entry in selection.of(suite)]
        tasks += system_tasks([entry], _systems(asked), run_size, cache)
    for suite in suites:
        if suite.tasks is not None:
            tasks += suite.tasks(selection.of(suite), run_size, cache, stack)
    return by_round(tasks)


def _systems(suites: Sequence[Suite]) -> list[SuiteSystem]:
    """Each system once, for the first suite that brings it: two suites may have the same."""
    found: dict[str, SuiteSystem] = {}
    for suite in suites:
        for system in suite.systems():
            found.setdefault(system.name, SuiteSystem(suite=suite.name, system=system))
    return list(found.values())
