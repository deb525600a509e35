"""The tables of the corpus in docs/models.md: ``python -m benchmarks.report.models_page RESULTS``,
where RESULTS is the folder that ``benchmarks.prove_folder`` wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.report.folder_report import Outcome, Row, read_rows

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
_BEGIN, _END = "<!-- corpus:begin -->", "<!-- corpus:end -->"
#: Headings by how the names of models begin.
_GROUPS = {
    "sklearn": "scikit-learn",
    "pipeline": "Pipelines of scikit-learn",
    "xgboost lightgbm catboost": "Boosted trees",
    "pytorch": "PyTorch",
    "quantised": "Quantised by onnxruntime",
    "keras": "Keras 3",
}
_REASON = 160


def tables(rows: Sequence[Row]) -> str:
    """Shares and one table a group, in Markdown."""
    proved = sum(row.outcome is Outcome.PROVED for row in rows)
    inspected = [why for row in rows for why in row.inspected.values()]
    parts = [
        f"{proved} of {len(rows)} models prove within 1 % of the output's range, without advice"
        f" ({proved / max(len(rows), 1):.0%}). Of {len(inspected)} further files, the same networks"
        f" by other exporters and opsets, inspection accepts {inspected.count('')}.\n"
    ]
    for prefixes, heading in _GROUPS.items():
        chosen = [row for row in rows if row.name.partition("-")[0] in prefixes.split()]
        if chosen:
            parts.append("\n".join(_group(heading, chosen)) + "\n")
    return "\n".join(parts)


def _group(heading: str, rows: Sequence[Row]) -> Iterator[str]:
    proved = [row for row in rows if row.outcome is Outcome.PROVED]
    yield f"**{heading}**: {len(proved)} of {len(rows)}.\n"
    yield "| model | k | error, of the output's range |"
    yield "|---|--:|--:|"
    for row in proved:
        assert row.given is not None
        yield f"| {_title(row)} | {row.logrows} | {row.given.relative:.3%} |"
    rest = [row for row in rows if row.outcome is not Outcome.PROVED]
    if rest:
        yield "\n| not proved | why |\n|---|---|"
        yield from (f"| {_title(row)} | {_why(row)} |" for row in rest)


def _title(row: Row) -> str:
    return row.name.partition("-")[2] if row.name.startswith("sklearn-") else row.name


def _why(row: Row) -> str:
    if row.outcome is Outcome.LATE:
        return f"not proved in the time given; estimated k = {row.logrows}"
    if row.given is not None:
        return f"{row.detail}: {row.given.relative:.2%} (k = {row.logrows})"
    told = row.detail if len(row.detail) <= _REASON else row.detail[:_REASON] + "…"
    return f"`{row.code}`: {told}".replace("|", "\\|")


def main() -> None:
    rows = sorted(read_rows(Path(sys.argv[1])).values(), key=lambda row: row.name.lower())
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n\n{tables(rows)}\n{_END}{after}")


if __name__ == "__main__":
    main()
