"""The suites by name: which contenders or measurements each brings into a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import commands, planning, serving
from benchmarks.errors import UnknownSuite
from benchmarks.models.entry import Entry
from benchmarks.sides.circom import Circom
from benchmarks.sides.ezkl_default import EzklDefault
from benchmarks.sides.ours import Ours
from benchmarks.sides.side import Side
from benchmarks.tasks import Amount, Contender, Task, contest


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Either brings ``sides`` into the contest over the zoo, or lists ``tasks`` of its own."""

    name: str
    title: str
    sides: Callable[[], Sequence[Side]] = tuple
    tasks: Callable[[Sequence[Entry], Amount, Path, ExitStack], Iterator[Task]] | None = None


SUITES = {
    suite.name: suite
    for suite in (
        Suite(name="models", title="zkml-prover, every stage", sides=lambda: (Ours(),)),
        Suite(
            name="baseline",
            title="EZKL's documented default flow",
            sides=lambda: (EzklDefault(),),
        ),
        Suite(name="peers", title="circom + snarkjs, dense models", sides=lambda: (Circom(),)),
        Suite(name=planning.SUITE, title="regret and prediction", tasks=planning.tasks),
        Suite(name=commands.SUITE, title="zkml prove and zkml verify", tasks=commands.tasks),
        Suite(name=serving.SUITE, title="the service under load", tasks=serving.tasks),
    )
}
#: What runs when no suite is named.
DEFAULT = ("models", "baseline")


def choose(names: Sequence[str]) -> list[Suite]:
    """The suites of these names. Raises ``UnknownSuite``."""
    for name in names:
        if name not in SUITES:
            raise UnknownSuite(
                f"there is no suite {name!r}", hint=f"There are: {', '.join(SUITES)}."
            )
    return [SUITES[name] for name in names or DEFAULT]


def tasks_of(
    suites: Sequence[Suite],
    entries: Sequence[Entry],
    amount: Amount,
    cache: Path,
    stack: ExitStack,
) -> list[Task]:
    """All samples of a run: one contest among all sides, then what the other suites measure.

    What tasks leave running is stopped when ``stack`` is closed.
    """
    contenders = [
        Contender(suite=suite.name, side=side) for suite in suites for side in suite.sides()
    ]
    tasks = list(contest(entries, contenders, amount, cache)) if contenders else []
    for suite in suites:
        if suite.tasks is not None:
            tasks += suite.tasks(entries, amount, cache, stack)
    return tasks
