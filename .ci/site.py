"""A hook of mkdocs: the site is rooted at the repository, so that links work there and here alike.

Pages outside docs/ that the documentation links to (reports of benchmarks, the changelog) become
pages of the site; links between them keep their meaning, and the strict build checks them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
#: What the site shows beside docs/: folders and files, with the endings taken from folders.
BESIDE = (
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "SECURITY.md",
    "benchmarks/results",
)
ENDINGS = {".md", ".svg", ".png"}
_LINK = re.compile(r"(\]\()(?!https?:|mailto:|#|/)([^)#\s]+)")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Adds the files beside docs/."""
    for name in BESIDE:
        path = ROOT / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in found:
            if not path.is_dir() or (file.suffix in ENDINGS and "raw" not in file.parts):
                uri = file.relative_to(ROOT).as_posix()
                files.append(File(uri, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they are in the repository, written as they are in the site."""
    uri = PurePosixPath(page.file.src_uri)
    in_docs = not (str(uri).startswith("benchmarks/") or str(uri) in BESIDE)
    here = PurePosixPath("docs" if in_docs else ".") / uri.parent
    site = uri.parent

    def moved(match: re.Match[str]) -> str:
        target = os.path.normpath(here / match[2])
        in_site = target.removeprefix("docs/")
        return match[1] + os.path.relpath(in_site, site)

    return _LINK.sub(moved, markdown)
