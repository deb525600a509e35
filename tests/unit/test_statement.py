"""A statement's one byte form, and its schema."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from circuits.format.digests import canonical_json
from prover.errors import ReceiptInvalid
from prover.statement.bundle import read_bundle
from prover.statement.envelope import Receipt
from prover.statement.schema import PATH, statement_schema
from prover.statement.statement import Statement
from tests.conformance.forgeries import Json, statement_of
from tests.conformance.make_vectors import FOLDER
from tests.conformance.mutations import leaves

VECTORS = sorted(FOLDER.glob("*.zkml"))


@pytest.fixture
def statement() -> Json:
    return statement_of(read_bundle((FOLDER / "public.zkml").read_bytes()))


def test_the_schema_in_the_repository_is_that_of_the_models() -> None:
    assert json.loads(PATH.read_text()) == statement_schema()
    Draft202012Validator.check_schema(statement_schema())


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
def test_statements_of_every_profile_fit_the_schema_and_read_back(path: Path) -> None:
    payload = Receipt.from_bytes(read_bundle(path.read_bytes()).receipt).payload
    Draft202012Validator(statement_schema()).validate(json.loads(payload))
    assert Statement.from_bytes(payload).to_bytes() == payload


def test_each_field_is_required_and_has_its_type(statement: Json) -> None:
    validator = Draft202012Validator(statement_schema())
    for path in leaves(statement):
        if isinstance(path[-1], int) or path[-2:-1] in (("software",), ("seconds",)):
            continue  # an entry of a list or of a free mapping may be absent
        without, mistyped = copy.deepcopy(statement), copy.deepcopy(statement)
        for edited in (without, mistyped):
            holder: Any = edited
            for key in path[:-1]:
                holder = holder[key]
            if edited is without:
                del holder[path[-1]]
            else:
                holder[path[-1]] = {"another": "type"}
            assert not validator.is_valid(edited), path
            with pytest.raises(ReceiptInvalid):
                Statement.from_bytes(canonical_json(edited))


def test_unknown_fields_and_other_predicates_are_refused(statement: Json) -> None:
    validator = Draft202012Validator(statement_schema())
    edits: tuple[Json, ...] = (
        {"extra": 1},
        {"predicateType": "https://zkml-prover.invalid/inference/v0"},
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"subject": []},
        {"subject": statement["subject"] * 2},
    )
    for edit in edits:
        edited = {**statement, **edit}
        assert not validator.is_valid(edited)
        with pytest.raises(ReceiptInvalid):
            Statement.from_bytes(canonical_json(edited))


@pytest.mark.parametrize(
    "spelling",
    [
        lambda s: json.dumps(s).encode(),
        lambda s: canonical_json(s) + b"\n",
        lambda s: canonical_json(s).replace(b'"count":8', b'"count":8.0'),
        lambda s: canonical_json(s).replace(b'"count":8', b'"count":8,"count":8'),
        lambda s: canonical_json(s).replace(b'"lower":-4.0', b'"lower":-4'),
        lambda s: canonical_json(s).replace(b"public", b"\\u0070ublic"),
        lambda s: b"[" * 100_000,
        lambda s: b"\xff",
    ],
    ids=range(8),
)
def test_a_statement_has_one_spelling(statement: Json, spelling: Callable[[Json], bytes]) -> None:
    data = spelling(statement)
    assert data != canonical_json(statement)
    with pytest.raises(ReceiptInvalid):
        Statement.from_bytes(data)
