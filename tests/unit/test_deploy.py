"""The files under deploy/ against what they speak of: settings, commands, names of metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from prover.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
KNOWN = {f"ZKML_{name.upper()}" for name in Settings.model_fields}


def test_every_setting_that_is_named_exists() -> None:
    for path in (*DEPLOY.rglob("*"), DEPLOY.parent / "docs" / "operations.md"):
        if path.is_file():
            named = set(re.findall(r"\bZKML_[A-Z0-9_]+\b", path.read_text(encoding="utf-8")))
            assert named <= KNOWN, path


def test_the_compose_file_locks_our_own_services_in() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"api", "worker", "redis", "postgres", "s3"}
    for name in ("api", "worker"):
        service = services[name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert "/tmp:mode=1777" in service["tmpfs"]
    assert "noeviction" in services["redis"]["command"]


def test_the_compose_file_keeps_to_the_specification() -> None:
    specification = pytest.importorskip("compose_spec")  # pip install compose-spec
    options = specification.PyOptions()
    options.apply_merge = True
    read = options.from_yaml((DEPLOY / "compose.yaml").read_text())
    read.validate()
    assert {"api", "worker"} <= set(read.service_names())


def test_the_seccomp_profile_refuses_and_lets_children_wall_themselves_in() -> None:
    (rule,) = json.loads((DEPLOY / "seccomp.json").read_text())["syscalls"]
    assert rule["action"] == "SCMP_ACT_ERRNO"
    assert {"ptrace", "bpf", "mount", "keyctl"} <= set(rule["names"])
    assert not {"unshare", "seccomp", "landlock_create_ruleset", "clone"} & set(rule["names"])


def test_the_image_has_every_package_and_runs_as_any_user() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    for package in ("circuits", "prover", "workers", "api", "benchmarks"):
        assert f"COPY {package} {package}" in text
    assert "USER 10001:10001" in text
    assert "--require-hashes" in text
