"""``zkml quotas``: each tenant's quota and usage."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from prover.cli import options
from prover.cli.api_keys import open_store
from prover.cli.options import OptionsDisagree
from prover.cli.terminal import EXIT_YES, Terminal
from prover.records.quotas import LIMITS, Quota, Used
from prover.records.tenant import read_tenant

app = typer.Typer(
    no_args_is_help=True, help="Show and set the tenants' quotas of jobs, storage and time."
)


@app.command("list")
def list_(as_json: options.Json = False) -> int:
    """Show the default quota, and tenants with their own limits or keys."""
    terminal = Terminal(as_json)
    with open_store() as store:
        own = store.own_quotas()
        tenants = sorted({*own, *(key.tenant for key in store.api_keys())})
        shown = {t: (own.get(t, store.default_quota), store.used(t)) for t in tenants}
        general = store.default_quota
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("tenant", "running", "queued", "stored bytes", "seconds today"):
        table.add_column(column)
    table.add_row("(each)", *(_most(value) for value in vars(general).values()))
    for tenant, (quota, used) in shown.items():
        table.add_row(tenant, *_pairs(quota, used))
    terminal.table(table)
    terminal.object(
        {
            "ok": True,
            "general": vars(general),
            "tenants": {t: {"quota": vars(q), "used": vars(u)} for t, (q, u) in shown.items()},
        }
    )
    return EXIT_YES


@app.command("set")
def set_(
    tenant: Annotated[
        str, typer.Argument(metavar="TENANT", help="The tenant whose limits are set.")
    ],
    running: Annotated[
        int | None, typer.Option(min=0, help="Jobs that run at once; 0: unlimited.")
    ] = None,
    queued: Annotated[int | None, typer.Option(min=0, help="Jobs that wait; 0: unlimited.")] = None,
    stored_bytes: Annotated[
        int | None, typer.Option(min=0, help="Bytes of models, circuits and proofs; 0: unlimited.")
    ] = None,
    proving_s_per_day: Annotated[
        int | None, typer.Option(min=0, help="Seconds of work in a day (UTC); 0: unlimited.")
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="First reset all limits to the defaults.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Set some limits of a tenant; the others stay unchanged."""
    terminal = Terminal(as_json)
    given = {
        "running": running,
        "queued": queued,
        "stored_bytes": stored_bytes,
        "proving_s_per_day": proving_s_per_day,
    }
    changes: dict[str, int | None] = dict.fromkeys(LIMITS) if default else {}
    changes |= {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise OptionsDisagree("no limit to set", advice="Give at least one; see --help.")
    with open_store() as store:
        quota = store.set_quota(read_tenant(tenant), changes)
    shown = ", ".join(f"{name} {_most(value)}" for name, value in vars(quota).items())
    terminal.line(f"{tenant}: {shown}")
    terminal.object({"ok": True, "tenant": tenant, "quota": vars(quota)})
    return EXIT_YES


def _pairs(quota: Quota, used: Used) -> list[str]:
    pairs: list[tuple[Any, int]] = [
        (used.running, quota.running),
        (used.queued, quota.queued),
        (used.stored_bytes, quota.stored_bytes),
        (round(used.proving_s_today), quota.proving_s_per_day),
    ]
    return [f"{now} of {_most(most)}" for now, most in pairs]


def _most(value: int) -> str:
    return str(value) if value else "unlimited"
