"""``python -m workers [--once]``: one worker process, configured by ``ZKML_`` variables."""

from __future__ import annotations

import sys

from circuits.errors import Fault, ZkmlError
from prover.settings import Settings
from workers.once import serve_once
from workers.service import serve


def main() -> int:
    """Exit status: 0 after a signal (or one job), 2 for an invalid setting, 3 for an internal
    error."""
    try:
        settings = Settings.load()
        if "--once" in sys.argv[1:]:
            serve_once(settings)
            return 0
        return serve(settings)
    except ZkmlError as error:
        print(f"error: {error.detail}\n  {error.advice}", file=sys.stderr)
        return 3 if error.fault in {Fault.INTERNAL, Fault.BUSY} else 2


if __name__ == "__main__":
    sys.exit(main())
