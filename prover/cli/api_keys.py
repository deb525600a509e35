"""``zkml api-keys``: keys for the HTTP API. (``zkml keys``: keys that sign receipts.)"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from prover.cli import options
from prover.cli.terminal import EXIT_YES, Terminal
from prover.errors import SettingsInvalid
from prover.records.api_key import ALL_SCOPES, ApiKey, Scope, new_api_key, read_origin
from prover.records.tenant import DEFAULT_TENANT, read_tenant
from prover.settings import Settings
from prover.statement.render import printable
from prover.store import Store

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke keys of the HTTP API.")

_SPAN = re.compile(r"(\d{1,3})([hdwy])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(days=7)}
_UNITS["y"] = timedelta(days=365)
_MAX_NAME = 200


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Name of the key, shown in lists.")],
    tenant: Annotated[str, typer.Option(help="Tenant whose models and proofs it can access.")] = (
        DEFAULT_TENANT
    ),
    scopes: Annotated[
        str, typer.Option(help="Comma-separated scopes: models, proofs, verify, admin, operator.")
    ] = "models,proofs,verify",
    expires: Annotated[
        str | None, typer.Option(metavar="SPAN|TIME", help="90d, 12h, or an RFC 3339 time.")
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(min=0, help="Requests per minute; 0: any number. Default: the setting."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Web origin that may use the key; repeatable."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Create a key. It is shown only once and stored nowhere."""
    terminal = Terminal(as_json)
    now = datetime.now(UTC)
    key, token = new_api_key(
        tenant=read_tenant(tenant),
        name=printable(name)[:_MAX_NAME],
        scopes=_scopes(scopes),
        now=now,
        expires_at=_expiry(expires, now),
        requests_per_minute=rate,
        origins=frozenset(map(read_origin, origin or ())),
    )
    with open_store() as store:
        store.add_api_key(key)
    terminal.line(f"Created {key.id} for tenant {tenant}: {', '.join(sorted(key.scopes))}.")
    terminal.line("The key is shown only this once. Send it as Authorization: Bearer")
    terminal.line(token)
    terminal.object({"ok": True, "key": _json(key), "token": token})
    return EXIT_YES


@app.command("list")
def list_(as_json: options.Json = False) -> int:
    """List the keys, newest first, with their last use."""
    terminal = Terminal(as_json)
    with open_store() as store:
        keys = store.api_keys()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("key", "tenant", "name", "scopes", "state", "last used"):
        table.add_column(column)
    now = datetime.now(UTC)
    for key in keys:
        used = key.last_used_at.isoformat(timespec="minutes") if key.last_used_at else "never"
        scopes = ",".join(sorted(key.scopes))
        table.add_row(key.id, key.tenant, escape(key.name), scopes, _state(key, now), used)
    terminal.table(table)
    if not keys:
        terminal.line("No keys yet: on loopback the service needs none.")
    terminal.object({"ok": True, "keys": [_json(key) for key in keys]})
    return EXIT_YES


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key id: zkml_ and 12 hex digits.")],
    as_json: options.Json = False,
) -> int:
    """Revoke a key permanently. Takes effect within seconds, for open streams too."""
    terminal = Terminal(as_json)
    with open_store() as store:
        ended = store.revoke_api_key(key)
    terminal.line(f"Revoked {ended.id} ({escape(ended.name)}).")
    terminal.object({"ok": True, "key": _json(ended)})
    return EXIT_YES


@contextmanager
def open_store() -> Iterator[Store]:
    """The service's own store."""
    settings = Settings.load()
    settings.prepare()
    with Store.open(settings.database_url, quota=settings.quota) as store:
        yield store


def _scopes(text: str) -> frozenset[Scope]:
    wanted = {part.strip() for part in text.split(",")}
    if strange := sorted(wanted - ALL_SCOPES):
        raise SettingsInvalid(
            f"{strange[0]!r} is not a scope", advice=f"Scopes: {', '.join(Scope)}."
        )
    return frozenset(Scope(name) for name in wanted)


def _expiry(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    if found := _SPAN.fullmatch(text):
        return now + int(found[1]) * _UNITS[found[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SettingsInvalid(
            f"{text!r} is neither a duration nor a time with a UTC offset",
            advice="Give 90d, 12h, 4w, 1y, or 2027-01-01T00:00:00Z.",
        )
    if moment <= now:
        raise SettingsInvalid(f"{text} is in the past", advice="Give a time to come.")
    return moment


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "[bold red]revoked[/]"
    if key.expires_at is None:
        return "[green]active[/]"
    if key.expires_at <= now:
        return "[yellow]expired[/]"
    return f"[green]active[/] until {key.expires_at:%Y-%m-%d}"


def _json(key: ApiKey) -> dict[str, Any]:
    def text(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": text(key.created_at),
        "expires_at": text(key.expires_at),
        "revoked_at": text(key.revoked_at),
        "last_used_at": text(key.last_used_at),
        "requests_per_minute": key.requests_per_minute,
        "origins": sorted(key.origins),
    }
