"""A circuit's identity, known before it is built: a digest of all that decides what is built.

Light on purpose: whoever only asks for circuits need not load the compiler.
"""

from __future__ import annotations

from circuits.format.digests import digest_json
from circuits.format.profile import Profile
from circuits.srs.files import Policy

#: Raise this whenever a pass, the planner or the cost model would build another circuit than
#: before from the same order: circuits of the old kind stay usable, new orders get new ones.
COMPILER = 14
#: The same for circuits of several lanes made out of one of a single lane.
BATCHING = 12


def circuit_id(
    model_sha256: str, profile: Profile, samples_digest: str, policy: Policy, engine: str
) -> str:
    """``sha256:…`` for a model, a profile, the samples it is planned on, and who builds it.

    ``engine`` is the proof engine's name and version.
    """
    return digest_json(
        {
            "model": model_sha256,
            "profile": profile.to_json(),
            "samples": samples_digest,
            "srs_policy": policy.value,
            "engine": engine,
            "compiler": COMPILER,
        }
    )


def batched_circuit_id(single_id: str, lanes: int) -> str:
    """``sha256:…`` for the circuit of ``lanes`` lanes that is made out of a circuit of one."""
    return digest_json({"circuit": single_id, "lanes": lanes, "batching": BATCHING})
