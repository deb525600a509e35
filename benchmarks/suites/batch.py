"""The suite ``batch``: many inputs in few proofs, against EZKL's default flow one by one.

Ours is the whole of ``zkml batch`` with existing keys (one process from start to bundle: reading
rows, proofs, verification, receipts), divided by the number of inputs; the baseline is only the
calls ``gen_witness`` and ``prove`` of one input. Building circuits is measured separately. A sweep
proves full circuits of 1, 2, 4 … lanes, until memory or a sample's time limit.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import NotEnoughMemory, SampleFailed, SampleTimeout, SystemRefused
from benchmarks.harness import process
from benchmarks.harness.home import environment
from benchmarks.harness.rows import Key, Step
from benchmarks.harness.system import Outcome, Workdir, judge, misses
from benchmarks.harness.tasks import RunSize, Task, proved, workdir_of
from benchmarks.systems.ezkl_default import EzklDefault
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.fixtures import Fixture, build_fixture
from circuits.errors import EngineOutOfMemory, Fault, ModelTooLarge

SUITE = "batch"
BASE, OURS = "ezkl-default", "zkml batch"
#: The name in results files.
PREDICTED = "lanes foretold"
#: Inputs in one batch, by model.
COUNTS = {
    "digits": (1000,),
    "gradient-boosting": (100,),
    "mlp-784-128-10": (64, 256),
    "lenet5": (16,),
}
MODELS = tuple(COUNTS)
OTHER_COUNT = 64
QUICK_COUNT = 32
LANES = tuple(1 << i for i in range(11))
QUICK_LANES = (1, 2, 4)
#: The sweep skips numbers of lanes whose predicted proof takes longer.
LONGEST_PROOF_S, QUICK_LONGEST_PROOF_S = 45.0, 10.0
#: Few samples: the cost of an input hardly varies, and a sample takes long.
SAMPLES = 3
_ROOT = Path(__file__).parents[2]
_ZKML = str(Path(sys.executable).with_name("zkml"))


def tasks(
    entries: Sequence[Entry], run_size: RunSize, cache: Path, stack: ExitStack
) -> Iterator[Task]:
    """The batches of all models first, then the sweeps."""
    models = [_OneModel(entry, run_size, cache) for entry in entries]
    for model in models:
        yield from model.batches()
    for model in models:
        yield from model.sweep()


class _OneModel:
    """Batches of one model, in a separate home folder, and EZKL's default flow."""

    def __init__(self, entry: Entry, run_size: RunSize, cache: Path):
        self._entry, self._run_size, self._cache = entry, run_size, cache
        self._samples = min(run_size.samples, SAMPLES)
        self._base = EzklDefault()
        self._folder = cache / "batch" / entry.name
        self._predicted_at = self._folder / "predicted.json"
        known = COUNTS.get(entry.name, (OTHER_COUNT,))
        self._counts = (QUICK_COUNT,) if run_size.quick else known
        self._lanes = QUICK_LANES if run_size.quick else LANES

    def batches(self) -> Iterator[Task]:
        """Both set-ups, then alternating samples."""
        base, circuit = self._key(BASE, Step.PREPARE), self._key("circuit", Step.PREPARE)
        yield Task(key=base, action=self._set_base_up, ready=self._base_is_set_up)
        yield Task(key=circuit, action=self._build_circuit, ready=self._has_circuit)
        for count in self._counts:
            yield Task(
                key=self._key(_inputs(count), Step.PREPARE),
                action=partial(self._first_batch, count),
                needs=circuit,
                ready=self._has_circuit,
            )
        for turn in range(self._samples):
            yield Task(
                key=self._key(BASE, Step.MEASURE, turn),
                action=partial(self._prove_base, turn),
                needs=base,
                round=turn,
            )
            for count in self._counts:
                yield Task(
                    key=self._key(_inputs(count), Step.MEASURE, turn),
                    action=partial(self._batch, count),
                    needs=self._key(_inputs(count), Step.PREPARE),
                    round=turn,
                )

    def sweep(self) -> Iterator[Task]:
        """Each number of lanes after the previous one, whose row says why the sweep ended."""
        predicted = self._key(PREDICTED, Step.PREPARE)
        yield Task(key=predicted, action=self._predict, needs=self._key("circuit", Step.PREPARE))
        before = predicted
        for lanes in self._lanes:
            built = self._key(_lanes(lanes), Step.PREPARE)
            yield Task(key=built, action=partial(self._first_lanes, lanes), needs=before)
            before = self._key(_lanes(lanes), Step.MEASURE)
            yield Task(key=before, action=partial(self._batch, lanes, lanes), needs=built)

    # --- the base -----------------------------------------------------------------------------

    def _set_base_up(self) -> Outcome:
        """The baseline's keys, unless another suite made them, and its accuracy."""
        fixture, workdir = self._fixture(), self._base_workdir()
        made = Outcome(facts={"keys": "from an earlier set-up"})
        if not self._base_is_set_up():
            made = self._base.setup(fixture, workdir)
        answers = self._base.accuracy(fixture, workdir, self._run_size.held_out).outputs
        metrics = judge(answers or [], fixture)
        return Outcome(
            metrics={**made.metrics, **metrics}, facts={**made.facts, "misses": misses(metrics)}
        )

    def _base_is_set_up(self) -> bool:
        return self._base.is_set_up(self._fixture(), self._base_workdir())

    def _prove_base(self, turn: int) -> Outcome:
        outcome = proved(self._base, self._fixture(), self._base_workdir(), turn)
        one = outcome.metrics["witness_s"] + outcome.metrics["prove_s"]
        return replace(
            outcome, metrics={**outcome.metrics, "per_input_s": one, "proof_per_input_s": one}
        )

    def _base_workdir(self) -> Workdir:
        return workdir_of(self._base, self._fixture(), self._run_size, self._cache)

    # --- ours ---------------------------------------------------------------------------------

    def _build_circuit(self) -> Outcome:
        """From an empty home to one proof: mostly planning and the single-lane keys."""
        shutil.rmtree(self._folder, ignore_errors=True)
        (self._folder / "home").mkdir(parents=True)
        measured = self._zkml_batch(1, 1)
        return Outcome(metrics={"total_s": measured.seconds})

    def _has_circuit(self) -> bool:
        return (self._folder / "home" / "zkml.db").exists()

    def _first_batch(self, count: int) -> Outcome:
        """The first batch of this size, which builds the batched circuits."""
        measured = self._zkml_batch(count, None)
        return Outcome(
            metrics={"total_s": measured.seconds, "per_input_s": measured.seconds / count},
            facts={"inputs": count, "packs": measured.output["plan"]["packs"]},
        )

    def _batch(self, count: int, lanes: int | None = None) -> Outcome:
        """A batch with existing circuits; every item of its bundle is verified."""
        measured = self._zkml_batch(count, lanes)
        checked = self._flow("verify", str(self._out(count, lanes) / "batch.zkml"))
        fixture = self._fixture()
        metrics = judge(self._answers(count, lanes), fixture)
        proofs_s = sum(cost["witness"] + cost["prove"] for cost in checked["costs"])
        return Outcome(
            metrics={
                "per_input_s": measured.seconds / count,
                "proof_per_input_s": proofs_s / count,
                "total_s": measured.seconds,
                "verify_s": checked["seconds"],
                **({} if checked["item_s"] is None else {"item_verify_s": checked["item_s"]}),
                "peak_rss_bytes": float(
                    max(measured.peak_rss_bytes, measured.output["peak_rss_bytes"] or 0)
                ),
                **metrics,
            },
            facts={
                "inputs": count,
                "packs": measured.output["plan"]["packs"],
                "unbatched_reason": measured.output["plan"]["unbatched_reason"],
                "proofs": len(checked["costs"]),
                "misses": misses(metrics),
            },
            wrong=None
            if checked["good"] == count
            else f"{checked['good']} of {count} items were verified",
        )

    def _predict(self) -> Outcome:
        """The cost model's predictions for every number of lanes, up to the memory limit."""
        fixture, lanes = self._fixture(), ",".join(map(str, self._lanes))
        output = self._flow("predict", str(fixture.onnx), str(fixture.calibration), lanes)
        self._predicted_at.write_text(json.dumps(output), encoding="utf-8")
        ends = [int(n) for n, found in output["at"].items() if found is None]
        return Outcome(
            facts={
                "unbatched_reason": output["why"],
                "memory_ends_at": min(ends) if ends else None,
                "at": output["at"],
            }
        )

    def _predicted(self) -> dict[str, Any]:
        """The predictions; made again if another run with other lanes overwrote them."""
        several = {str(n) for n in self._lanes if n > 1}  # one lane is not predicted
        if self._predicted_at.exists():
            output: dict[str, Any] = json.loads(self._predicted_at.read_text(encoding="utf-8"))
            if output["why"] is not None or output["at"].keys() >= several:
                return output
        self._predict()
        predicted: dict[str, Any] = json.loads(self._predicted_at.read_text(encoding="utf-8"))
        return predicted

    def _first_lanes(self, lanes: int) -> Outcome:
        """Builds a batched circuit, if it is predicted to fit memory and time."""
        if lanes > 1:
            self._require(lanes)
        measured = self._zkml_batch(lanes, lanes)
        return Outcome(metrics={"total_s": measured.seconds}, facts={"inputs": lanes})

    def _require(self, lanes: int) -> None:
        output = self._predicted()
        if output["why"] is not None:
            raise SystemRefused(output["why"])
        found = output["at"].get(str(lanes))
        if found is None:
            raise NotEnoughMemory(
                f"{lanes} lanes need more than {output['limit_bytes'] / 1e9:.1f} GB, as predicted"
            )
        longest = QUICK_LONGEST_PROOF_S if self._run_size.quick else LONGEST_PROOF_S
        if found["prove_s"] > longest:
            raise SampleTimeout(
                f"a proof of {lanes} lanes is predicted to take {found['prove_s']:.0f} s and"
                f" {found['peak_bytes'] / 1e9:.1f} GB; longer than {longest:.0f} s is left out"
            )

    # --- means --------------------------------------------------------------------------------

    def _key(self, side: str, step: Step, sample: int = 0) -> Key:
        return Key(suite=SUITE, model=self._entry.name, side=side, step=step, sample=sample)

    def _fixture(self) -> Fixture:
        return build_fixture(self._entry, self._cache / "models")

    def _out(self, count: int, lanes: int | None) -> Path:
        return self._folder / f"out-{count}-{lanes or 'any'}"

    def _zkml_batch(self, count: int, lanes: int | None) -> process.Measured:
        fixture, out = self._fixture(), self._out(count, lanes)
        shutil.rmtree(out, ignore_errors=True)
        at = np.arange(count) % len(fixture.reference)
        arrays: dict[str, Any] = {name: array[at] for name, array in fixture.held_out.items()}
        inputs = self._folder / f"{count}.npz"
        np.savez(inputs, **arrays)
        command = [_ZKML, "batch", str(fixture.onnx), str(inputs), "-o", str(out), "--json"]
        command += ["--calibration", str(fixture.calibration)]
        if lanes is not None:
            command += ["--lanes", str(lanes)]
        measured = self._run(command)
        if measured.returncode or measured.output["done"] != count:
            raise _refusal(measured.output)
        return measured

    def _answers(self, count: int, lanes: int | None) -> list[list[float]]:
        """The proved outputs of the first inputs, up to the number of distinct ones."""
        lines = (self._out(count, lanes) / "results.jsonl").read_text(encoding="utf-8").splitlines()
        items = [json.loads(line) for line in lines[: len(self._fixture().reference)]]
        return [np.ravel(next(iter(item["outputs"].values()))).tolist() for item in items]

    def _flow(self, *arguments: str) -> dict[str, Any]:
        measured = self._run([sys.executable, "-m", "benchmarks.steps.batch_flow", *arguments])
        if measured.returncode:
            raise _refusal(measured.output)
        return measured.output

    def _run(self, command: list[str]) -> process.Measured:
        return process.run(
            command,
            deadline_s=self._run_size.deadline_s,
            cwd=_ROOT,
            env=environment(self._folder / "home", self._cache / "srs"),
            accept=(0, 1, 2, 3),
        )


def _inputs(count: int) -> str:
    return f"{OURS}, {count} inputs"


def _lanes(lanes: int) -> str:
    return f"{lanes} lane{'s' if lanes > 1 else ''}"


def _refusal(output: dict[str, Any]) -> Exception:
    """The error of an incomplete batch."""
    problem = output.get("problem") or output
    detail = problem.get("detail")
    if detail is None:
        detail = f"{output.get('done')} of {output.get('total')} inputs were proved: {output}"[:400]
    if problem.get("code") in (ModelTooLarge.code, EngineOutOfMemory.code):
        return NotEnoughMemory(detail, problem=problem)
    ours = problem.get("fault") in (Fault.INTERNAL.value, Fault.BUSY.value, None)
    return (SampleFailed if ours else SystemRefused)(detail, problem=problem)
