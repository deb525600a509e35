"""Connections and transactions for SQLite and PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from circuits.errors import StorageFull
from prover.admission import Sizing
from prover.errors import SettingsInvalid, StoreUnavailable
from prover.records.quotas import Quota

#: Returns the current time, timezone-aware, in UTC.
Clock = Callable[[], datetime]
_BUSY_S = 15.0
_AT_HAND_BUSY_S = 0.2
_WRITES = "zkml_writes"
#: Timeouts for a PostgreSQL server whose host is disconnected: 10 s to connect, about 30 s without
#: a response, instead of the kernel's own.
_SILENT = {
    "connect_timeout": 10,
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
}


def utc_now() -> datetime:
    return datetime.now(UTC)


class Database:
    """A pool of connections. All transactions go through ``read`` and ``write``."""

    def __init__(self, engine: sa.Engine):
        self._engine = engine
        self._writer = engine.execution_options(**{_WRITES: True})
        self._of_thread = threading.local()
        self._turn = threading.Lock() if self.is_sqlite else None

    @classmethod
    def connect(cls, url: str) -> Database:
        """Raises ``SettingsInvalid`` for a URL of a database that is not supported."""
        parsed = _parse(url)
        if parsed.get_backend_name() == "sqlite":
            engine = _sqlite(parsed)
            sa.event.listen(engine, "begin", _begin)
            return cls(engine)
        engine = sa.create_engine(
            parsed,
            pool_pre_ping=True,
            json_serializer=_json,
            pool_size=8,
            connect_args={k: v for k, v in _SILENT.items() if k not in parsed.query},
        )
        return cls(engine)

    def at_hand(self) -> Database | None:
        """The same database for a thread that must not block: reads by key from the local file
        through a separate connection, which no writer blocks. Each statement is a transaction.
        None if the database is another process."""
        if not self.is_sqlite:
            return None
        return Database(_sqlite(self._engine.url, busy_s=_AT_HAND_BUSY_S, poolclass=sa.StaticPool))

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A read-only transaction."""
        snapshot = getattr(self._of_thread, "snapshot", None)
        if snapshot is not None:
            yield snapshot
            return
        with _named_errors(), self._engine.begin() as conn:
            yield conn

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads of this thread inside the block share one read-only transaction."""
        with self.read() as conn:
            self._of_thread.snapshot = conn
            try:
                yield
            finally:
                self._of_thread.snapshot = None

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A write transaction: committed at the end, rolled back on any exception."""
        with _named_errors(), self._in_turn(), self._writer.begin() as conn:
            yield conn

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """SQLite has one writer at a time, and other writers have to poll. Writers of this process
        queue here instead."""
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=_BUSY_S):
            raise StoreUnavailable("The job database did not respond: other processes write to it.")
        try:
            yield
        finally:
            self._turn.release()

    def close(self) -> None:
        self._engine.dispose()


class Repository:
    """The base class of all tables' classes.

    A repository is one tenant's view: it reads and writes only that tenant's rows. ``tenant`` None
    is the view over all tenants, which cannot create rows. ``key_id`` is the API key that creates
    rows, for the ledger.
    """

    def __init__(
        self,
        database: Database,
        *,
        max_attempts: int,
        quarantine_after: int,
        clock: Clock,
        tenant: str | None,
        default_quota: Quota,
        sizing: Sizing,
    ) -> None:
        self._db = database
        self._max_attempts = max_attempts
        self._quarantine_after = quarantine_after
        self._now = clock
        self.tenant = tenant
        self.key_id: str | None = None
        self.default_quota = default_quota
        self._sizing = sizing

    @property
    def _owner(self) -> str:
        """The owner of new rows."""
        if self.tenant is None:
            raise ValueError("the view over all tenants cannot create rows: use for_tenant()")
        return self.tenant

    def _mine(self, table: sa.Table) -> list[sa.ColumnElement[bool]]:
        """The conditions that restrict a query to this view's rows of ``table``."""
        return [] if self.tenant is None else [table.c.tenant == self.tenant]


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsInvalid("ZKML_DATABASE_URL is not a database URL.") from None
    if parsed.drivername in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite" and parsed.database not in {None, "", ":memory:"}:
        return parsed
    if parsed.drivername == "postgresql+psycopg":
        return parsed
    raise SettingsInvalid(
        f"ZKML_DATABASE_URL names a database that is not supported ({parsed.drivername}).",
        advice="Use sqlite:////absolute/path.db or postgresql://user@host/name.",
    )


def _sqlite(url: URL, *, busy_s: float = _BUSY_S, **options: Any) -> sa.Engine:
    assert url.database is not None
    path = Path(url.database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _use_wal(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(
            f"The job database {path} cannot be opened: {error}.",
            advice="Check that its folder exists, is writable, and is not a network share.",
        ) from error
    # isolation_level None stops the driver from opening transactions: `_begin` does it.
    engine = sa.create_engine(
        url,
        json_serializer=_json,
        connect_args={"timeout": busy_s, "isolation_level": None, "check_same_thread": False},
        **options,
    )
    sa.event.listen(engine, "connect", _prepare)
    return engine


def _use_wal(path: Path) -> None:
    """Turns on WAL mode, where readers never wait for a writer. The file stores the mode.

    Changing it ignores the busy timeout, so processes that start together retry.
    """
    give_up = time.monotonic() + _BUSY_S
    while True:
        conn = sqlite3.connect(path, timeout=_BUSY_S)
        try:
            if conn.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                conn.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)
        finally:
            conn.close()


def _prepare(connection: Any, _record: Any) -> None:
    # NORMAL in WAL mode writes the log at each commit without waiting for the disk: a committed
    # transaction survives the death of any process. A power failure may lose the last ones but
    # never corrupts the file.
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(conn: sa.Connection) -> None:
    # In SQLite a transaction that reads first and writes later fails at once instead of waiting.
    # Taking the write lock at the start makes writers queue.
    writes = conn.get_execution_options().get(_WRITES, False)
    conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _json(value: Any) -> str:
    # NaN is not JSON and PostgreSQL rejects it: fail for every database.
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable from error
    except DBAPIError as error:
        if not (error.connection_invalidated or isinstance(error, sa.exc.OperationalError)):
            raise
        if "disk is full" in str(error.orig) or "No space left" in str(error.orig):
            raise StorageFull from error
        raise StoreUnavailable(f"The job database did not respond: {error.orig}.") from error
