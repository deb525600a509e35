"""A new proof is stored at once, before it is verified and signed.

Its file goes to the artifact store and its digest into the job's row, under the lease. If the
worker dies between proof and signature, the next worker verifies and signs the stored proof.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from circuits.engine.port import ProofResult
from circuits.engine.proof_json import parse_proof
from circuits.errors import ProofMalformed
from prover.artifacts import Artifacts
from prover.errors import ArtifactCorrupt, ArtifactMissing
from prover.logs import get_logger
from prover.records.job import Job, Lease
from prover.store import Store

_log = get_logger(__name__)
#: Parts of a proof beside its file.
_BESIDE = ("identity", "input_identity")


def prove_once(
    store: Store,
    artifacts: Artifacts,
    job: Job,
    lease: Lease,
    prove: Callable[[], ProofResult],
    **of: Any,
) -> ProofResult:
    """The stored proof of an earlier attempt at this job, else ``prove()``, stored now.

    ``of`` says as JSON what is proved besides the job's input: circuit, lanes. A stored proof of
    anything else is not used. The result is unverified.
    """
    kept = job.kept_proof
    if kept is not None and kept["of"] == of:
        try:
            file = artifacts.get(kept["proof"])
            parsed = parse_proof(file)
        except (ArtifactMissing, ArtifactCorrupt, ProofMalformed) as error:
            _log.warning("kept_proof_lost", code=error.code)
        else:
            _log.info("kept_proof_taken", attempt=kept["attempt"])
            return ProofResult(
                proof_json=file,
                instances=list(parsed.instances),
                proof=parsed.proof,
                seconds=kept["seconds"],
                peak_rss_bytes=kept["peak_rss_bytes"],
                **{n: bytes.fromhex(kept[n]) for n in _BESIDE if kept.get(n)},
            )
    proof = prove()
    store.keep_proof(
        lease,
        {
            "of": of,
            "proof": artifacts.put(proof.proof_json),
            "seconds": proof.seconds,
            "peak_rss_bytes": proof.peak_rss_bytes,
            **{n: data.hex() for n in _BESIDE if (data := getattr(proof, n))},
            "attempt": job.attempt,
        },
    )
    return proof
