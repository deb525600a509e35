"""What each command may load: most of its time beyond the engine is spent on imports. And what
tests may import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_PRINT = "import sys; print(*sorted({m.partition('.')[0] for m in sys.modules} | set(sys.modules)))"

#: Loaded by none of the light commands: web frameworks, models, graph tools, clients of services.
_NEVER = {
    "alembic",
    "api",
    "asyncpg",
    "benchmarks",
    "celery",
    "circuits.compiler.build",
    "circuits.plan.graphs",
    "circuits.lower",
    "circuits.plan.planner",
    "circuits.rebuild",
    "circuits.rewrite",
    "ezkl",
    "fastapi",
    "httpx",
    "jsonschema",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "psutil",
    "psycopg",
    "redis",
    "scipy",
    "workers",
}
_STORE = {"obstore", "prover.jobs.pipeline", "prover.store", "sqlalchemy"}


def _loaded(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; {_PRINT}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_verification_loads_neither_store_nor_settings_nor_planner() -> None:
    loaded = _loaded("import prover.verify.bundle, prover.verify.bare_proof")
    banned = (
        _NEVER
        | _STORE
        | {"prover.settings", "prover.jobs.circuit_registry", "typer", "rich", "structlog"}
    )
    assert loaded & banned == set()
    assert not any(m.startswith("circuits.plan.") for m in loaded)


@pytest.mark.parametrize(
    ("command", "banned"),
    [
        ("verify", _NEVER | _STORE | {"numpy", "prover.settings", "pydantic", "rich", "structlog"}),
        ("prove", _NEVER | _STORE | {"prover.settings", "pydantic", "rich", "structlog"}),
        ("keys", _NEVER | _STORE),
        ("srs", _NEVER | _STORE),
    ],
)
def test_a_command_line_is_read_before_anything_heavy_is_loaded(
    command: str, banned: set[str]
) -> None:
    loaded = _loaded(
        f"from prover.cli.root import command_line; command_line(['zkml', '{command}'])"
    )
    assert loaded & banned == set()


def test_the_engine_of_a_command_starts_before_anything_heavy_is_loaded() -> None:
    loaded = _loaded("import prover.cli.engine")
    assert loaded & (_NEVER | _STORE | {"numpy", "pydantic", "rich", "typer"}) == set()


def test_the_engines_process_of_a_verification_loads_neither_numpy_nor_onnx() -> None:
    loaded = _loaded("import circuits.engine.forkserver, circuits.engine.calls")
    assert "ezkl" in loaded
    assert loaded & {"numpy", "onnx", "onnxruntime", "scipy"} == set()


def test_verifying_loads_no_more_than_verification() -> None:
    """After a whole run of ``zkml verify``."""
    bundle = Path(__file__).parents[1] / "conformance/vectors/public.zkml"
    loaded = _loaded(
        f"import sys; sys.argv = ['zkml', 'verify', {str(bundle)!r}];"
        " from prover.cli.root import main; sys.stdout = open('/dev/null', 'w')\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.stdout = sys.__stdout__"
    )
    assert "prover.verify.bundle" in loaded
    banned = _NEVER | _STORE | {"circuits.committed", "rich", "structlog", "securesystemslib"}
    assert loaded & banned == set()


def test_proving_starts_without_clients_of_services_and_compilers() -> None:
    loaded = _loaded("import prover.app")
    banned = _NEVER | {
        "prover.batch",
        "rich",
        "securesystemslib",
        "sqlalchemy.dialects.postgresql",
        "structlog",
        "typer",
    }
    assert loaded & banned == set()


def test_no_test_module_is_imported_by_another() -> None:
    """Shared code is in tests/cases, or is a fixture of a conftest."""
    root = Path(__file__).parents[1]
    modules = sorted(path.stem for path in root.rglob("test_*.py"))
    assert len(modules) > 100
    imported = re.compile(
        r"^\s*(?:from\s+tests\S*\s+import\s+(?:\([^)]*|.*)|(?:from|import)\s+tests\S*)",
        re.MULTILINE,
    )
    found = {
        f"{path.relative_to(root)}: {name}"
        for path in root.rglob("*.py")
        for statement in imported.findall(path.read_text())
        for name in re.findall(r"\btest_\w+", statement)
        if name in modules
    }
    assert found == set()
