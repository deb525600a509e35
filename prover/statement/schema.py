"""The JSON Schema of a statement, written from its models: ``python -m
prover.statement.schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prover.statement.statement import PREDICATE_TYPE, Statement

PATH = Path(__file__).parent / "schemas" / "inference-v1.json"


def statement_schema() -> dict[str, Any]:
    """The schema of a statement: every field required, no other allowed."""
    schema = Statement.model_json_schema(by_alias=True, mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{PREDICATE_TYPE}.schema.json",
        **schema,
    }


def main() -> None:
    PATH.write_text(json.dumps(statement_schema(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
