"""A long queue: the rate of writing jobs, a process's memory, the time of a list and of a claim.

python -m benchmarks.steps.queue_flow DATABASE_URL COUNT
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable

from prover.records.job import JobKind
from prover.store import Store
from prover.testing import model_record

_LOOKS = 20


def main(url: str, count: str) -> int:
    with Store.open(url) as store:
        store.add_model(model_record())
        begin = time.perf_counter()
        for _ in range(int(count)):
            store.create_job(JobKind.PROOF, model_record().id, "c", {}, None)
        written_s = time.perf_counter() - begin
        found = {
            "throughput_per_s": int(count) / written_s,
            "list_s": _seconds(lambda: store.jobs(50)),
            "turn_s": _seconds(store.waiting_turn),
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
    print(json.dumps(found))
    return 0


def _seconds(look: Callable[[], object]) -> float:
    begin = time.perf_counter()
    for _ in range(_LOOKS):
        look()
    return (time.perf_counter() - begin) / _LOOKS


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
