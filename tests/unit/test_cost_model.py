"""The cost model: fitted on this machine, used on this machine only."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from circuits.cost.model import QUANTITIES, TERMS, CostModel, features, machine_fingerprint
from circuits.engine.port import LayoutStats, RunArgs
from circuits.errors import CalibrationError
from circuits.plan.calibrate import Sample, fit
from prover.cli.doctor import _cost_model
from prover.jobs.circuit_registry import machine_costs
from prover.settings import Settings


def layout(logrows: int, columns: int, lookups: int, checks: int) -> LayoutStats:
    args = RunArgs(
        input_scale=0,
        param_scale=0,
        scale_rebase_multiplier=1,
        logrows=logrows,
        num_inner_cols=columns,
        lookup_range=(-100, 100),
    )
    return LayoutStats(
        args=args,
        settings="{}",
        rows=1 << logrows,
        assignments=columns << logrows,
        constants=1,
        dynamic_size=0,
        lookups=("sigmoid",) * lookups,
        range_checks=((0, 127),) * checks,
        input_scales=(0,),
        output_scales=(0,),
        instance_shapes=((1, 4),),
    )


SHAPES = [layout(*p) for p in itertools.product((8, 10, 12), (1, 2, 8), (0, 1), (0, 2))]
#: What each term costs in a world made up for these tests.
TRUTH = {
    "prove_s": (0.02, 1e-5, 2e-4, 1e-5),
    "peak_bytes": (3e7, 1e3, 2e3, 1e3),
    "pk_bytes": (1e4, 5e2, 1e3, 3e2),
    "proof_bytes": (5e2, 0.0, 3e2, 0.0),
}


def samples() -> list[Sample]:
    def cost(p: LayoutStats, quantity: str) -> float:
        return sum(c * f for c, f in zip(TRUTH[quantity], features(p, quantity), strict=True))

    return [Sample(layout=p, cost={q: cost(p, q) for q in QUANTITIES}) for p in SHAPES]


def test_a_fit_predicts_what_it_was_fitted_to() -> None:
    model = fit(samples(), machine_fingerprint())
    for sample in samples():
        assert model.predict(sample.layout).prove_s == pytest.approx(
            sample.cost["prove_s"], rel=0.01
        )
    assert all(error < 0.01 for error in model.error.values())
    assert CostModel.from_json(json.loads(json.dumps(model.to_json()))) == model


def test_too_few_proofs_are_no_fit() -> None:
    with pytest.raises(CalibrationError) as caught:
        fit(samples()[:5], "here")
    assert caught.value.code == "calibration_invalid"


def test_a_cost_model_is_used_where_it_was_fitted_and_nowhere_else(tmp_path: Path) -> None:
    settings = Settings.load(home=tmp_path, redis_url=None)
    path = settings.cost_model_path
    assert machine_costs(settings) is None
    assert "package" in _cost_model(settings).detail

    own = replace(CostModel.bundled(), source=machine_fingerprint())
    path.write_text(json.dumps(own.to_json()))
    assert machine_costs(settings) == own
    assert _cost_model(settings).level == "ok"

    path.write_text(json.dumps(replace(own, source="sha256:elsewhere").to_json()))
    assert machine_costs(settings) is None
    stale = _cost_model(settings)
    assert (stale.level, "another machine" in stale.detail) == ("note", True)
    assert "--calibrate" in stale.advice


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows: {q: row for q, row in rows.items() if q != "pk_bytes"},
        lambda rows: rows | {"prove_s": rows["prove_s"][: len(TERMS) - 1]},
        lambda rows: rows | {"prove_s": ["fast"] * len(TERMS)},
    ],
)
def test_coefficients_of_another_version_are_left_alone(
    tmp_path: Path, damage: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    settings = Settings.load(home=tmp_path, redis_url=None)
    told = replace(CostModel.bundled(), source=machine_fingerprint()).to_json()
    damaged = told | {"coefficients": damage(told["coefficients"])}
    settings.cost_model_path.write_text(json.dumps(damaged))
    assert machine_costs(settings) is None
