"""Makes the vectors about lanes: ``python -m tests.conformance.make_lane_vectors``.

Out of ``wide-0`` and ``wide-1``, two statements about one proof, without the engine: what must be
refused of them, the batch bundle of both, and ``verdicts.json``, which says of each file what a
verifier must find. Equal vectors give equal bytes.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prover.batch.bundle import BatchBundleWriter
from prover.statement.bundle import Bundle, read_bundle, write_bundle
from tests.conformance.forgeries import signed, statement_of
from tests.conformance.make_vectors import FOLDER, lane_input

LANES = FOLDER / "lanes"
_OTHER_LANE = ["input-instances", "output-instances", "context-digest"]
_OTHER_INPUT = ["input-commitment", "input-instances"]


def relabelled(bundle: Bundle, **lane: int) -> Bundle:
    """The bundle with another lane in its statement, signed again by the trusted key."""
    statement = copy.deepcopy(statement_of(bundle))
    statement["predicate"]["lane"] |= lane
    return signed(bundle, statement)


def batch(bundles: Sequence[Bundle]) -> bytes:
    """These bundles as one."""
    out = io.BytesIO()
    writer = BatchBundleWriter(out, "conformance")
    for number, bundle in enumerate(bundles, 1):
        writer.add(f"row-{number}", number, bundle)
    writer.close()
    return out.getvalue()


def made() -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """The files by name, and the verdicts. Of a batch bundle there is one for each item."""
    zero, one = (read_bundle((FOLDER / f"wide-{n}.zkml").read_bytes()) for n in (0, 1))
    forgery = relabelled(zero, index=1)
    single = {
        "lane-0": (zero, []),
        "lane-1": (one, []),
        "relabelled": (forgery, _OTHER_LANE),
        "neighbours-receipt": (replace(zero, receipt=one.receipt), _OTHER_INPUT),
        "neighbours-input": (replace(zero, input=one.input), _OTHER_INPUT),
    }
    files = {name: write_bundle(bundle) for name, (bundle, _) in single.items()}
    verdicts: list[dict[str, Any]] = [
        {"file": f"{name}.zkml", "failures": [failures]} for name, (_, failures) in single.items()
    ]
    for lane in (0, 1):
        expected = {"input": {"x": lane_input(lane)["x"].tolist()}}
        failures = [] if lane == 0 else ["expected-input"]
        verdicts.append({"file": "lane-0.zkml", **expected, "failures": [failures]})
    files |= {"batch": batch([zero, one]), "batch-relabelled": batch([forgery, one])}
    verdicts.append({"file": "batch.zkml", "failures": [[], []]})
    verdicts.append({"file": "batch-relabelled.zkml", "failures": [_OTHER_LANE, []]})
    return files, verdicts


def main() -> None:
    LANES.mkdir(exist_ok=True)
    files, verdicts = made()
    for name, data in files.items():
        (LANES / f"{name}.zkml").write_bytes(data)
        print(f"{name}: {len(data)} bytes")
    (LANES / "verdicts.json").write_text(json.dumps(verdicts, indent=1) + "\n")


if __name__ == "__main__":
    main()
