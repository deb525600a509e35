"""A service beyond loopback, with API keys, as two tenants use it: every part real."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from api.client import Client, ServerProblem
from tests.acceptance.processes import until, up, zkml
from tests.cases import tiny

pytestmark = pytest.mark.slow

MODEL, INPUTS = tiny.linear(), {"x": [[1.0, -1.0, 2.0, 0.0]]}


def key(home: Path, tenant: str) -> tuple[str, str]:
    """A new key's id and the key."""
    made = zkml(home, "api-keys", "create", "--name", tenant, "--tenant", tenant, "--json").json
    return made["key"]["id"], made["token"]


@pytest.mark.long  # tests/integration/test_tenants.py asks every route
def test_two_tenants_on_one_service(tmp_path: Path) -> None:
    home = tmp_path / "home"
    refused = zkml(home, "up", "--host", "0.0.0.0", "--port", "0", "--json")
    assert (refused.code, refused.problem["code"]) == (2, "api_key_needed")
    (first_id, first), (_, second) = key(home, "first"), key(home, "second")

    with (
        up(home, "--host", "0.0.0.0") as running,
        Client(running.url, api_key=first, timeout_s=300) as one,
        Client(running.url, api_key=second, timeout_s=300) as other,
    ):
        assert httpx.get(f"{running.url}/v1/models").status_code == 401
        model = one.upload_model(MODEL)
        jobs = [one.create_proof(model=model.id, inputs=INPUTS)]
        with pytest.raises(ServerProblem, match="model_not_found"):
            other.create_proof(model=model.id, inputs=INPUTS)
        other.upload_model(MODEL, name="the same bytes")
        jobs.append(other.create_proof(model=model.id, inputs=INPUTS))
        done = [c.wait(j.id, timeout_s=300) for c, j in zip((one, other), jobs, strict=True)]

        assert [job.state for job in done] == ["succeeded", "succeeded"]
        # The same circuit by name, made for each of them: nobody waits less for what others did.
        assert done[0].circuit == done[1].circuit
        assert all("compile" in job.timings for job in done)
        for mine, theirs, client in ((0, 1, one), (1, 0, other)):
            assert [p.id for p in client.proofs().items] == [jobs[mine].id]
            assert client.verify(client.bundle(jobs[mine].id)).ok
            for look in (client.proof, client.bundle, client.receipt, client.cancel):
                with pytest.raises(ServerProblem, match="job_not_found"):
                    look(jobs[theirs].id)

        zkml(home, "api-keys", "revoke", first_id, "--json")
        until(lambda: code_of(one) == "api_key_revoked")
        assert other.proof(jobs[1].id).state == "succeeded"
    listed = zkml(home, "api-keys", "list", "--json").json["keys"]
    assert all(k["last_used_at"] for k in listed)
    for secret in (first, second):
        assert secret[18:] not in running.log.read_text()
    used = zkml(home, "quotas", "list", "--json").json["tenants"]
    assert used["first"]["used"]["stored_bytes"] > 100 * len(MODEL)  # a proving key among it
    assert used["second"]["used"]["proving_s_today"] > 0


def code_of(client: Client) -> str:
    try:
        client.models()
    except ServerProblem as problem:
        return problem.problem.code
    return ""
