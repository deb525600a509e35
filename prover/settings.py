"""The settings of the service, read once from the environment (prefix ``ZKML_``).

Constructors take a ``Settings``. Nothing else in the project reads the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from circuits.engine.port import Limits
from circuits.srs.ceremony import SOURCE_URL
from prover.errors import HomeUnusable, SettingsInvalid
from prover.records.quotas import Quota

ENV_PREFIX = "ZKML_"
#: cgroup files: version 2, as seen inside a container, and version 1.
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def physical_memory_bytes() -> int:
    """The memory this process may use: the machine's, or its container's smaller limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUP_LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        return min(total, int(text)) if text.isdigit() else total
    return total


def _absolute(value: Any) -> Any:
    return Path(value).expanduser().absolute() if isinstance(value, (str, Path)) else value


Folder = Annotated[Path, BeforeValidator(_absolute)]


class Settings(BaseModel):
    """Paths, limits and trust."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # --- places ---
    home: Folder = Field(
        default_factory=lambda: Path("~/.zkml").expanduser(),
        description="The service's home folder; the defaults of other paths are inside.",
    )
    database_url: str = Field(
        default_factory=lambda data: f"sqlite:///{data['home'] / 'zkml.db'}",
        description="The job database: sqlite:///PATH or postgresql://….",
    )
    artifacts_url: str = Field(
        default_factory=lambda data: (data["home"] / "artifacts").as_uri(),
        description="The artifact store: file://, s3://, gs:// or az://.",
    )
    cache_dir: Folder = Field(
        default_factory=lambda data: data["home"] / "cache",
        description="Local copies of artifacts of a remote store.",
    )
    cache_max_mb: int = Field(
        default=10 << 10,
        ge=0,
        description="MiB of local copies, except those in use. 0: unlimited.",
    )
    keep_proofs_days: int = Field(
        default=0,
        ge=0,
        description="Days after which proofs and bundles are deleted (receipts stay); 0: never.",
    )
    housekeeping_s: float = Field(
        default=600, ge=0.05, description="Seconds between two rounds of housekeeping."
    )
    redis_url: str | None = Field(
        default=None,
        description="The queue: redis://, rediss:// or unix://; unset, `zkml up` starts its own.",
    )

    redis_prefix: str = Field(
        default="zkml:",
        min_length=1,
        max_length=64,
        description="Prefix of all keys and channels in Redis.",
    )

    # --- the engine ---
    engine_deadline_s: float = Field(
        default=1800, gt=0, description="Deadline of one engine call, in seconds."
    )
    engine_memory_mb: int = Field(
        default_factory=lambda: physical_memory_bytes() * 8 // 10 >> 20,
        ge=64,
        description="Memory limit of one engine call, in MiB (80 % of physical memory).",
    )
    engine_nice: int = Field(
        default=5, ge=0, le=19, description="Niceness of engine processes: keeps the API prompt."
    )

    plan_effort: Literal["fast", "balanced", "max"] = Field(
        default="balanced",
        description="fast: cost model only; balanced: time the best few; max: time them all.",
    )
    cost_model_path: Path = Field(
        default_factory=lambda data: data["home"] / "cost_model.json",
        description="This machine's cost model, written by `zkml doctor --calibrate`.",
    )

    solc: Path | None = Field(
        default=None,
        description="The Solidity compiler (0.8.20, solc or solcjs) for the target evm; unset, the"
        " first on PATH. Without one, sizes of verifier contracts are predicted.",
    )

    # --- trust ---
    srs_dir: Folder = Field(
        default_factory=lambda data: data["home"] / "srs",
        description="Structured reference strings, one file per size.",
    )
    srs_policy: Literal["development", "ceremony"] = Field(
        default="development",
        description="development: generate a missing SRS, labelled insecure; ceremony: never.",
    )
    srs_source_url: str = Field(
        default=SOURCE_URL,
        description="Source of `zkml srs fetch K`, the public ceremony; {k} is the size.",
    )
    key_path: Folder = Field(
        default_factory=lambda data: data["home"] / "keys",
        description="The folder of the keys that sign receipts.",
    )
    verifier_domain: str = Field(
        default="local",
        min_length=1,
        max_length=253,
        description="Name of this deployment in receipts and contexts.",
    )

    # --- jobs ---
    lease_s: float = Field(
        default=30,
        ge=0.1,
        description="Seconds after which a job of an unresponsive worker is taken over.",
    )
    sweep_s: float = Field(
        default=5, ge=0.05, description="Seconds between two sweeps for unclaimed jobs."
    )
    max_attempts: int = Field(
        default=5,
        ge=1,
        le=100,
        description="Attempts at a job, after lost workers and transient errors, before it fails.",
    )
    quarantine_after: int = Field(
        default=2, ge=1, le=100, description="Workers that a job may kill before it is quarantined."
    )
    retry_s: float = Field(
        default=1.0,
        ge=0,
        le=3600,
        description="Seconds before a job is retried; doubled each time, up to a minute.",
    )
    stop_grace_s: float = Field(
        default=10,
        ge=0,
        le=86_400,
        description="Seconds a stopping worker gives its jobs; unfinished ones are requeued.",
    )
    starving_s: float = Field(
        default=120,
        gt=0,
        description="Seconds after which a worker that gets no messages while jobs wait exits.",
    )
    worker_concurrency: int = Field(
        default=1, ge=1, le=256, description="Concurrent jobs of one worker process."
    )
    worker_classes: str = Field(
        default="small,large,compile,notify",
        description="Work this worker accepts: small and large proofs, builds, webhooks.",
    )
    memory_budget_mb: int = Field(
        default_factory=lambda: physical_memory_bytes() * 8 // 10 >> 20,
        ge=0,
        description="MiB that the jobs of one host may need together by prediction (80 % of its"
        " memory); 0: any.",
    )
    compile_memory_mb: int = Field(
        default=1024, ge=0, description="MiB reserved for building a circuit."
    )
    large_s: float = Field(
        default=10, ge=0, description="Seconds from which a proof counts as large."
    )
    overtake_s: float = Field(
        default=60,
        ge=0,
        description="Seconds for which jobs may overtake a job that waits for memory.",
    )
    engine_threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads per proof; 0: a large proof has all cores, small ones share them.",
    )

    coalesce_ms: int = Field(
        default=0,
        ge=0,
        le=60_000,
        description="Milliseconds that a job waits for others to share a proof with; 0: off.",
    )

    max_running_jobs: int = Field(
        default=0,
        ge=0,
        description="Running jobs per tenant, the others wait; 0: unlimited.",
    )
    max_queued_jobs: int = Field(
        default=100_000, ge=0, description="Queued jobs per tenant; 0: unlimited."
    )
    max_stored_bytes: int = Field(
        default=0,
        ge=0,
        description="Stored bytes per tenant (models, circuits, proofs); 0: unlimited.",
    )
    max_proving_s_per_day: int = Field(
        default=0,
        ge=0,
        description="Seconds of work per tenant and day (UTC); 0: unlimited.",
    )

    batches_expected: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Similar batches over which new batched keys must pay off; 1: the first alone.",
    )

    # --- requests ---
    max_model_bytes: int = Field(
        default=256 << 20, ge=1, description="Largest accepted model, in bytes."
    )
    max_input_bytes: int = Field(
        default=16 << 20, ge=1, description="Largest accepted input, in bytes."
    )
    max_batch_bytes: int = Field(
        default=4 << 30, ge=1, description="Largest accepted file of inputs, in bytes."
    )

    max_bundle_bytes: int = Field(
        default=16 << 20, ge=1, description="Largest bundle that is verified over HTTP, in bytes."
    )
    public_verification: bool = Field(
        default=True,
        description="Verification over HTTP without a key; false: needs a key with scope verify.",
    )
    requests_per_minute: int = Field(
        default=20_000,
        ge=0,
        description="Requests per minute for an API key without its own rate; 0: unlimited.",
    )
    verifications_per_minute: int = Field(
        default=30,
        ge=0,
        le=1_000_000,
        description="Verifications over HTTP per client address and minute; 0: unlimited.",
    )

    webhooks_allow_private: bool = Field(
        default=False,
        description="For development: allow webhooks to http:// URLs and private addresses.",
    )

    # --- logs ---
    log_json: bool = Field(default=False, description="Log one JSON object per line.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Lowest severity that is logged."
    )

    @field_validator("srs_source_url")
    @classmethod
    def _has_size(cls, url: str) -> str:
        if "{k}" not in url:
            raise ValueError("must contain {k}, the place of the SRS's size")
        return url

    @field_validator("artifacts_url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if urlsplit(url).scheme not in {"file", "s3", "gs", "az", "memory"}:
            raise ValueError("must begin with file://, s3://, gs:// or az://")
        return url

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """The settings of this process's environment, with ``overrides`` on top.

        Raises ``SettingsInvalid``, which names the first environment variable at fault.
        """
        named = {name: os.environ.get(ENV_PREFIX + name.upper()) for name in cls.model_fields}
        try:
            return cls(**{n: value for n, value in named.items() if value is not None} | overrides)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ENV_PREFIX + str(first["loc"][0] if first["loc"] else "").upper()
            raise SettingsInvalid(f"{name}: {first['msg']}.", variable=name) from None

    @field_validator("worker_classes")
    @classmethod
    def _known_classes(cls, text: str) -> str:
        unknown = set(text.split(",")) - {"small", "large", "compile", "notify"}
        if unknown:
            raise ValueError("must be some of small, large, compile and notify, with commas")
        return text

    @property
    def classes(self) -> frozenset[str]:
        """The kinds of work that this worker accepts."""
        return frozenset(self.worker_classes.split(","))

    @property
    def engine_limits(self) -> Limits:
        """The limits of one engine call."""
        return Limits(deadline_s=self.engine_deadline_s, memory_bytes=self.engine_memory_mb << 20)

    @property
    def quota(self) -> Quota:
        """The default quota of a tenant."""
        return Quota(
            running=self.max_running_jobs,
            queued=self.max_queued_jobs,
            stored_bytes=self.max_stored_bytes,
            proving_s_per_day=self.max_proving_s_per_day,
        )

    def prepare(self) -> None:
        """Creates the home folder, readable by its user only. Raises ``HomeUnusable``."""
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HomeUnusable(f"{self.home} cannot be created: {error.strerror}") from None
        if not os.access(self.home, os.W_OK | os.X_OK):
            raise HomeUnusable(f"{self.home} cannot be written: permission denied")

    def describe(self) -> list[Setting]:
        """Every setting with its value; passwords in URLs are redacted."""
        return [
            Setting(
                env=ENV_PREFIX + name.upper(),
                value=_redacted(str(getattr(self, name))),
                description=info.description or "",
                is_set=ENV_PREFIX + name.upper() in os.environ,
            )
            for name, info in type(self).model_fields.items()
        ]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One line of ``Settings.describe``."""

    env: str
    value: str
    description: str
    is_set: bool


def _redacted(text: str) -> str:
    parts = urlsplit(text) if "://" in text else None
    if parts is None or not parts.password:
        return text
    where = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{where}"))
