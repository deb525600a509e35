"""Loading what builds circuits, which takes long on a busy machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from circuits.errors import Canceled
from prover.jobs.build_turn import load

SLOW = """
import time
from pathlib import Path
while not Path({flag!r}).exists():
    time.sleep(0.01)
"""


def test_who_is_told_to_stop_does_not_wait_for_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "imported_slowly.py").write_text(SLOW.format(flag=str(flag)))
    monkeypatch.syspath_prepend(str(tmp_path))
    looks = iter([False, False, True])
    with pytest.raises(Canceled):
        load("imported_slowly", lambda: next(looks))
    flag.touch()
    load("imported_slowly", None)
    assert "imported_slowly" in sys.modules
