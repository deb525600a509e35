"""EZKL's own verification, timed: what every other verifier is compared with.

    python raw_verify.py FOLDER TIMES

FOLDER holds ``proof.json``, ``settings.json``, ``vk`` and ``srs``. The last line on stdout is JSON:
seconds of each call, all in this process, after one that is not counted.
"""

import json
import sys
import time
from pathlib import Path

import ezkl


def main(folder: str, times: int) -> None:
    place = Path(folder)
    proof, settings, vk, srs = (
        str(place / name) for name in ("proof.json", "settings.json", "vk", "srs")
    )
    seconds = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        ezkl.verify(proof, settings, vk, srs, False)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": seconds[1:]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
