"""``zkml keys``: the keys that sign this deployment's receipts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from prover.cli import options
from prover.cli.terminal import EXIT_YES, Terminal, write_file
from prover.errors import KeyUnknown
from prover.settings import Settings
from prover.statement.keys import KeyRing, KeyState, PublicKey
from prover.statement.render import printable

app = typer.Typer(
    no_args_is_help=True, help="List, export, rotate and revoke the keys that sign receipts."
)

_STYLES = {KeyState.ACTIVE: "green", KeyState.RETIRED: "yellow", KeyState.REVOKED: "bold red"}
_SHORT = 16  # digits of a key id that people are shown
_LEAST = 8  # digits of one that they must give


@app.command("list")
def list_(as_json: options.Json = False) -> int:
    """List every key that ever signed here, newest first, with its state."""
    terminal = Terminal(as_json)
    folder = Settings.load(redis_url=None).key_path
    ring = KeyRing.find(folder)
    keys = ring.keys if ring else ()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("key", "scheme", "state", "made", "note"):
        table.add_column(column)
    for key in keys:
        style = _STYLES[key.state]
        state = f"[{style}]{key.state}[/]"
        table.add_row(key.keyid[:_SHORT], key.scheme, state, key.created_at, escape(_note(key)))
    terminal.table(table)
    if not keys:
        terminal.line(f"No keys in {folder} yet: the first receipt creates one.")
    terminal.object({"ok": True, "folder": str(folder), "keys": [k.to_json() for k in keys]})
    return EXIT_YES


@app.command()
def export(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write it.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Print the public key set, for `zkml verify --trusted`."""
    terminal = Terminal(as_json)
    ring = _ring()
    if out is not None:
        write_file(out, ring.document())
        terminal.line(f"Wrote {out}. Check with: zkml verify BUNDLE --trusted {out}")
        terminal.object({"ok": True, "out": str(out), "keys": [k.to_json() for k in ring.keys]})
    else:
        print(ring.document().decode())
    return EXIT_YES


@app.command()
def rotate(
    overlap: Annotated[
        float,
        typer.Option(min=0.0, max=24 * 365.0, help="Hours for which the old key stays valid."),
    ] = 24.0,
    as_json: options.Json = False,
) -> int:
    """Create a new signing key; earlier receipts stay valid."""
    terminal = Terminal(as_json)
    ring = _ring()
    new = ring.rotate(timedelta(hours=overlap))
    old = ring.keys[1]
    terminal.line(f"New key {new.keyid[:_SHORT]}; {old.keyid[:_SHORT]}: {_note(old)}.")
    terminal.line("Publish the new key set: zkml keys export")
    terminal.object({"ok": True, "key": new.to_json(), "previous": old.to_json()})
    return EXIT_YES


@app.command()
def revoke(
    keyid: Annotated[str, typer.Argument(metavar="KEY", help="Key id or prefix.")],
    reason: Annotated[str, typer.Option(help="Reason, published with the key set.")],
    as_json: options.Json = False,
) -> int:
    """Revoke a key permanently: every receipt it signed becomes invalid."""
    terminal = Terminal(as_json)
    ring = _ring()
    key = _named(ring, keyid)
    ring.revoke(key.keyid, reason)
    terminal.line(f"Revoked {key.keyid[:_SHORT]}. Signing now: {ring.active.keyid[:_SHORT]}.")
    terminal.line("Verifiers learn of it only from the key set: publish it (zkml keys export).")
    revoked = next(k for k in ring.keys if k.keyid == key.keyid)
    terminal.object({"ok": True, "key": revoked.to_json(), "active": ring.active.to_json()})
    return EXIT_YES


def _ring() -> KeyRing:
    folder = Settings.load(redis_url=None).key_path
    ring = KeyRing.find(folder)
    if ring is None:
        raise KeyUnknown(
            f"there are no signing keys in {folder}",
            advice="The first receipt creates one; ZKML_KEY_PATH sets another folder.",
        )
    return ring


def _named(ring: KeyRing, keyid: str) -> PublicKey:
    found = [k for k in ring.keys if k.keyid.startswith(keyid)]
    if len(keyid) < _LEAST or len(found) != 1:
        raise KeyUnknown(
            f"{keyid!r} names {len(found)} keys; at least {_LEAST} digits of one are needed",
            advice="See `zkml keys list`.",
        )
    return found[0]


def _note(key: PublicKey) -> str:
    if key.state is KeyState.REVOKED:
        return f"since {key.revoked_at}: {printable(key.reason or '')}"
    if key.state is KeyState.RETIRED:
        return f"receipts issued until {key.retired_at} stay valid"
    return "signs now"
