"""Makes the corpus: ``python -m benchmarks.corpus FOLDER``, in the environment of
``benchmarks/corpus/requirements.txt``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.corpus import estimators, networks, quantized

folder = Path(sys.argv[1])
failed: dict[str, str] = {}
for part in (estimators, networks, quantized):
    if not sys.argv[2:] or part.__name__.rpartition(".")[2] in sys.argv[2:]:
        failed |= part.make(folder)
(folder / "not-exported.json").write_text(json.dumps(failed, indent=1, sort_keys=True) + "\n")
print(f"{len(failed)} not exported: {', '.join(failed)}")
