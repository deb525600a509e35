"""Many inputs, few proofs: throughput against EZKL's default flow one by one, and how the cost of
an input falls with the lanes that it shares a proof with.

    python -m benchmarks.batch MODEL COUNT [--base-samples N] [--lanes L,L,…] [-o FOLDER]

Both sides are measured in one run, in fresh processes, on the same inputs, with the same SRS files.
EZKL's default is the median of a few inputs (``gen_witness → prove → verify``; its set-up is told
apart), ours is ``zkml batch`` with calibration data: first a run that plans and sets keys up, then
the one that counts. Accuracy stands beside both. Writes ``batch.json``, ``batch.md`` and, with
lanes, ``lanes.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, process
from benchmarks.models import zoo
from benchmarks.models.material import Material, materialise
from benchmarks.sides.ezkl_default import EzklDefault
from benchmarks.sides.side import Place, judge, misses
from circuits.engine.ezkl_engine import EzklEngine
from circuits.engine.sandbox import Sandbox
from prover.batch.verify import verify_batch

_ROOT = Path(__file__).parents[1]
CACHE = _ROOT / ".cache" / "bench"
OUT = _ROOT / "benchmarks" / "results" / "batch"
_ZKML = str(Path(sys.executable).with_name("zkml"))


def main(argv: Sequence[str] | None = None) -> int:
    """Measures one model; exit status 0 when both sides met the accuracy constraint."""
    args = _arguments(argv)
    (entry,) = zoo.choose([args.model], quick=False)
    material = materialise(entry, CACHE / "models")
    folder = args.out or OUT / f"{args.model}-{args.count}"
    folder.mkdir(parents=True, exist_ok=True)
    base = _base(material, args.base_samples, args.deadline_s)
    ours = _ours(material, args.count, None, args.deadline_s)
    lanes = [_ours(material, n, n, args.deadline_s) for n in args.lanes]
    result: dict[str, Any] = {
        "model": args.model,
        "inputs": args.count,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "ezkl_default": base,
        "batch": ours,
        "throughput_ratio": round(base["per_input_s"] / ours["per_input_s"], 2),
        "by_lanes": lanes,
    }
    (folder / "batch.json").write_text(json.dumps(result, indent=2, default=str) + "\n")
    (folder / "batch.md").write_text(_markdown(result))
    if lanes:
        _plot(result, folder / "lanes.png")
    print((folder / "batch.md").read_text())
    missed = [side for side in (base, ours) if side["misses"]]
    return 1 if missed else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("model", choices=sorted(zoo.ZOO))
    parser.add_argument("count", type=int)
    parser.add_argument("--base-samples", type=int, default=3)
    parser.add_argument("--lanes", type=_numbers, default=[])
    parser.add_argument("--deadline-s", type=float, default=3600)
    parser.add_argument("-o", "--out", type=Path)
    return parser.parse_args(argv)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


# --- the base ----------------------------------------------------------------------------------


def _base(material: Material, samples: int, deadline_s: float) -> dict[str, Any]:
    """EZKL's default flow, one input after another."""
    side = EzklDefault()
    place = Place(
        work=CACHE / "batch" / material.entry.name / "ezkl",
        srs=CACHE / "srs",
        deadline_s=deadline_s,
    )
    setup = None
    if not side.is_set_up(material, place):
        setup = side.setup(material, place)
    proofs = [side.prove(material, place, sample) for sample in range(samples)]
    outputs = [output for proof in proofs for output in proof.outputs or []]
    judged = judge(outputs, material)
    return {
        "per_input_s": statistics.median(
            sum(p.metrics[name] for name in ("witness_s", "prove_s", "verify_s")) for p in proofs
        ),
        "peak_rss_bytes": max(p.metrics["peak_rss_bytes"] for p in proofs),
        "build_s": setup.metrics["build_s"] if setup else None,
        "samples": samples,
        "verified": all(p.verified for p in proofs),
        "accuracy": judged,
        "misses": misses(judged),
    }


# --- ours --------------------------------------------------------------------------------------


def _ours(material: Material, count: int, lanes: int | None, deadline_s: float) -> dict[str, Any]:
    """``zkml batch`` of ``count`` inputs, keys there already."""
    work = CACHE / "batch" / material.entry.name / "ours"
    work.mkdir(parents=True, exist_ok=True)
    inputs, out = work / f"{count}.npz", work / f"out-{count}-{lanes}"
    at = np.arange(count) % len(material.reference)
    arrays: dict[str, Any] = {name: array[at] for name, array in material.held_out.items()}
    np.savez(inputs, **arrays)
    shutil.rmtree(out, ignore_errors=True)
    command = [_ZKML, "batch", str(material.onnx), str(inputs), "-o", str(out), "--json"]
    command += ["--calibration", str(material.calibration)]
    if lanes is not None:
        command += ["--lanes", str(lanes)]
    env = os.environ | {"ZKML_HOME": str(work / "home"), "ZKML_SRS_DIR": str(CACHE / "srs")}
    first = process.run(command, deadline_s=deadline_s, env=env)
    second = process.run(command, deadline_s=deadline_s, env=env)
    items = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    outputs = [_flat(item) for item in items[: len(material.reference)]]
    judged = judge(outputs, material)
    return {
        "inputs": count,
        "lanes": lanes,
        "plan": second.told["plan"],
        "per_input_s": second.seconds / count,
        "total_s": second.seconds,
        "first_run_s": first.seconds,
        "peak_rss_bytes": max(second.peak_rss_bytes, second.told["peak_rss_bytes"] or 0),
        "proved": second.told["done"],
        "verification": _verified(out / "batch.zkml"),
        "accuracy": judged,
        "misses": misses(judged),
    }


def _flat(item: dict[str, Any]) -> list[float]:
    first = next(iter(item["outputs"].values()))
    values: list[float] = np.ravel(first).tolist()
    return values


def _verified(bundle: Path) -> dict[str, Any]:
    """Every item of the bundle checked: seconds of the whole, and of an item beyond its proof."""
    engine = EzklEngine(Sandbox())
    engine.sandbox.start()
    try:
        started = time.perf_counter()
        marks, good, proofs = [started], 0, set()
        with bundle.open("rb") as file:
            for entry, report in verify_batch(file, engine=engine):
                good += report.ok
                marks.append(time.perf_counter())
                proofs.add(entry.members["proof"])
    finally:
        engine.sandbox.close()
    return {
        "items": good,
        "proofs": len(proofs),
        "seconds": round(marks[-1] - started, 4),
        "item_ms": round(1000 * statistics.median(np.diff(marks).tolist()), 3),
    }


# --- what is written ---------------------------------------------------------------------------


def _markdown(result: dict[str, Any]) -> str:
    base, ours = result["ezkl_default"], result["batch"]
    packs = ", ".join(f"{p['proofs']} x {p['lanes']} lanes" for p in ours["plan"]["packs"])
    lines = [
        f"# {result['model']}, {result['inputs']} inputs",
        "",
        f"{result['at']}; {packs}; throughput {result['throughput_ratio']} times EZKL's default.",
        "",
        "| side | s an input | peak memory | max error | misses |",
        "|---|---|---|---|---|",
    ]
    for name, side in (("EZKL, default flow", base), ("zkml batch", ours)):
        lines.append(
            f"| {name} | {side['per_input_s']:.4f} | {side['peak_rss_bytes'] / 2**20:.0f} MiB"
            f" | {side['accuracy']['max_error']:.2%} | {side['misses'] or 'nothing'} |"
        )
    check = ours["verification"]
    lines += [
        "",
        f"Verification: {check['items']} items and {check['proofs']} proofs in"
        f" {check['seconds']:.2f} s, {check['item_ms']:.1f} ms an item beyond its proof.",
    ]
    if result["by_lanes"]:
        lines += ["", "| lanes | s an input | peak memory |", "|---|---|---|"]
        lines += [
            f"| {row['lanes']} | {row['per_input_s']:.4f}"
            f" | {row['peak_rss_bytes'] / 2**20:.0f} MiB |"
            for row in result["by_lanes"]
        ]
    return "\n".join(lines) + "\n"


def _plot(result: dict[str, Any], path: Path) -> None:
    """Cost of an input against lanes, beside EZKL's default."""
    from matplotlib.figure import Figure

    rows = result["by_lanes"]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.loglog(
        [row["lanes"] for row in rows], [row["per_input_s"] for row in rows], "o-", label="ours"
    )
    axes.axhline(result["ezkl_default"]["per_input_s"], ls="--", label="EZKL, default flow")
    axes.set(xlabel="lanes", ylabel="seconds an input", title=result["model"])
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
