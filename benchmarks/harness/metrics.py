"""The metrics: names, units, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metric:
    """``judged``: whether ``compare`` gives a verdict on the metric."""

    title: str
    unit: str
    higher_is_better: bool = False
    judged: bool = True


METRICS = {
    # once per model
    "plan_s": Metric(title="plan or calibrate", unit="s"),
    "compile_s": Metric(title="compile", unit="s"),
    "setup_s": Metric(title="key set-up", unit="s"),
    "build_s": Metric(title="model to keys", unit="s"),
    # once per input
    "witness_s": Metric(title="witness", unit="s"),
    "prove_s": Metric(title="prove", unit="s"),
    "verify_s": Metric(title="verify", unit="s"),
    "total_s": Metric(title="whole processes", unit="s"),
    "per_input_s": Metric(title="an input", unit="s"),
    "proof_per_input_s": Metric(title="an input, witness and proof", unit="s"),
    "item_verify_s": Metric(title="verify an item beyond the proof", unit="s"),
    "cpu_s": Metric(title="processor time", unit="s"),
    "peak_rss_bytes": Metric(title="peak memory", unit="B"),
    "proof_bytes": Metric(title="proof", unit="B"),
    "pk_bytes": Metric(title="proving key", unit="B"),
    "vk_bytes": Metric(title="verifying key", unit="B"),
    # against the model
    "accuracy": Metric(title="accuracy", unit="", higher_is_better=True),
    "reference_accuracy": Metric(title="model's accuracy", unit="", judged=False),
    "agreement": Metric(title="agreement", unit="", higher_is_better=True),
    "max_error": Metric(title="largest error over range", unit=""),
    # planner
    "regret": Metric(title="regret of the choice", unit="", judged=False),
    "prediction_error": Metric(title="prediction error, time", unit="", judged=False),
    "memory_prediction_error": Metric(title="prediction error, memory", unit="", judged=False),
    "timed": Metric(title="candidates timed", unit="", judged=False),
    # service
    "latency_s": Metric(title="latency", unit="s"),
    "open_s": Metric(title="until all are open", unit="s"),
    "overhead_s": Metric(title="overhead over the engine", unit="s"),
    "p99_s": Metric(title="99th percentile", unit="s"),
    "growth_bytes": Metric(title="memory growth", unit="B", judged=False),
    "throughput_per_s": Metric(title="throughput", unit="1/s", higher_is_better=True),
    # contracts
    "gas": Metric(title="gas of a verification", unit="gas"),
    "deploy_gas": Metric(title="gas of deployment", unit="gas"),
    "contract_bytes": Metric(title="contract", unit="B"),
}


def duration(seconds: float) -> str:
    """A duration as text."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def counted(number: int, noun: str) -> str:
    """A number with its noun in singular or plural."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def readable(value: float, unit: str) -> str:
    """A value as text: three significant digits and a fitting unit."""
    if unit == "B":
        for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if value >= size:
                return f"{value / size:.3g} {name}"
        return f"{value:.0f} B"
    if unit == "s":
        if value < 1:
            return f"{value * 1000:.3g} ms"
        return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"
    if unit == "gas":
        return f"{value:,.0f}".replace(",", "\u2009")
    return f"{value:.3g} {unit}".strip()
