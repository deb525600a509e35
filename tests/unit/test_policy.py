"""A verifier's policy, as sent over a border."""

from __future__ import annotations

import json

import pytest

from circuits.format.profile import Soundness
from prover.errors import PolicyInvalid
from prover.statement.keys import public_document
from prover.verify.policy import Policy
from tests.conformance.make_vectors import public_key


def test_a_policy_reads_from_json() -> None:
    policy = Policy.from_json(
        {
            "trusted": json.loads(public_document((public_key(1),))),
            "model_sha256": "sha256:" + "0" * 64,
            "context": {"nonce": "n", "chain_id": 1},
            "max_age_s": 60,
            "minimum_soundness": "conservative",
            "strict": True,
        }
    )
    assert policy.trusted == (public_key(1),)
    assert policy.minimum_soundness is Soundness.CONSERVATIVE
    assert Policy.from_json(None) == Policy() == Policy.from_json({})


@pytest.mark.parametrize(
    "data",
    [
        {"trust": []},
        {"trusted": []},
        {"keyids": "k"},
        {"model_sha256": "sha256:0"},
        {"circuit_id": 1},
        {"context": {"weather": "fine"}},
        {"context": {"nonce": [1]}},
        {"max_age_s": -1},
        {"max_age_s": 1.5},
        {"strict": "yes"},
        {"minimum_soundness": "high"},
    ],
)
def test_what_is_no_policy_is_refused_by_field(data: dict[str, object]) -> None:
    with pytest.raises(PolicyInvalid):
        Policy.from_json(data)
