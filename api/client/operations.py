"""More commands of ``zkml remote``: batches, usage, webhooks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from api.client.command import LOCAL, Json, KeyFile, Out, Url, app, connected
from prover.cli.terminal import EXIT_FAILED, Terminal, check_writable, read_file

__all__ = ["app"]

webhooks = typer.Typer(no_args_is_help=True, help="Webhook endpoints and their missed events.")
app.add_typer(webhooks, name="webhooks")
EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT", help="A webhook endpoint's id.")]


@app.command()
def batch(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file, or a model's id.")],
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="JSON lines, .csv or .npz.")],
    out: Out,
    isolate: Annotated[bool, typer.Option("--isolate", help="One proof for each row.")] = False,
    nonce: Annotated[str | None, typer.Option(help="Nonce bound into the proofs.")] = None,
    url: Url = LOCAL,
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> int:
    """Prove ROWS remotely and fetch the bundle of the proved ones, for `zkml verify`."""
    terminal = Terminal(as_json)
    check_writable(out)
    read_file(rows)
    with connected(url, api_key_file) as zkml:
        model_id = model if model.startswith("sha256:") else zkml.upload_model(Path(model)).id
        made = zkml.create_batch(
            rows,
            model=model_id,
            isolate=isolate or None,
            context={"nonce": nonce} if nonce else None,
        )
        for now in zkml.batch_events(made.id):
            made = now
            if not as_json:
                line = f"  {made.state}: {made.progress.done} of {made.progress.total}"
                terminal.err.print(line, markup=False)
        if made.progress.done:
            zkml.save_batch_bundle(made.id, out)
    failed = made.progress.total - made.progress.done
    terminal.line(f"batch {made.id} {made.state}: {made.progress.done} proved, {failed} not")
    terminal.object(
        {
            "ok": not failed,
            "bundle": str(out) if made.progress.done else None,
            "batch": made.model_dump(mode="json"),
        }
    )
    return EXIT_FAILED if failed else 0


@app.command()
def usage(
    by: Annotated[
        list[str] | None,
        typer.Option(help="day, model, caller, key, owner, circuit; may be repeated."),
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="UTC; excluded.")] = None,
    url: Url = LOCAL,
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Show your tenant's usage, and other tenants' usage of its models."""
    terminal = Terminal(as_json)
    with connected(url, api_key_file) as zkml:
        found = zkml.usage(
            by=by or ["day", "model", "caller"], since=_utc(since), until=_utc(until)
        )
    for item in found.items:
        of = " ".join(f"{name}={getattr(item, name, None)}" for name in found.by)
        spent = f"{item.proofs} proofs, {item.verifications} verifications"
        terminal.line(f"{of}: {spent}, {item.proving_s:.2f} s proving")
    terminal.object({"ok": True, **found.model_dump(mode="json")})


@webhooks.command("list")
def list_(url: Url = LOCAL, api_key_file: KeyFile = None, as_json: Json = False) -> None:
    """List endpoints, newest first, with their state."""
    terminal = Terminal(as_json)
    with connected(url, api_key_file) as zkml:
        found = zkml.webhook_endpoints(limit=200).items
    for endpoint in found:
        state = "enabled" if endpoint.enabled else f"disabled: {endpoint.disabled_reason}"
        terminal.line(f"{endpoint.id}  {state}  {endpoint.url}")
    terminal.object({"ok": True, "endpoints": [e.model_dump(mode="json") for e in found]})


@webhooks.command()
def create(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where to send them.")],
    event: Annotated[
        list[str] | None, typer.Option(help="A type, such as proof.*; may be repeated.")
    ] = None,
    signature: Annotated[str, typer.Option(help="v1 (a secret) or v1a (a public key).")] = "v1",
    description: Annotated[str, typer.Option()] = "",
    url: Url = LOCAL,
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Create an endpoint; prints its key, which is shown only once."""
    terminal = Terminal(as_json)
    with connected(url, api_key_file) as zkml:
        made = zkml.create_webhook_endpoint(
            address, events=event, signature=signature, description=description
        )
    terminal.line(made.id)
    terminal.line(made.secret or made.public_key or "")
    terminal.object({"ok": True, "endpoint": made.model_dump(mode="json")})


@webhooks.command()
def enable(
    endpoint: EndpointId,
    off: Annotated[bool, typer.Option("--off", help="Send nothing more.")] = False,
    url: Url = LOCAL,
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Enable ENDPOINT, or disable it."""
    terminal = Terminal(as_json)
    with connected(url, api_key_file) as zkml:
        found = zkml.enable_webhook_endpoint(endpoint, not off)
    terminal.line("enabled" if found.enabled else "disabled")
    terminal.object({"ok": True, "endpoint": found.model_dump(mode="json")})


@webhooks.command()
def replay(
    endpoint: EndpointId,
    since: Annotated[datetime, typer.Argument(metavar="SINCE", help="UTC; at most 7 days ago.")],
    all_: Annotated[bool, typer.Option("--all", help="Also delivered events.")] = False,
    url: Url = LOCAL,
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Resend the events that ENDPOINT missed."""
    terminal = Terminal(as_json)
    with connected(url, api_key_file) as zkml:
        moment = since.replace(tzinfo=UTC)
        queued = zkml.replay_webhooks(endpoint, moment, include_delivered=all_ or None)
    terminal.line(f"{queued['queued']} queued again")
    terminal.object({"ok": True, **queued})


@webhooks.command()
def delete(
    endpoint: EndpointId, url: Url = LOCAL, api_key_file: KeyFile = None, as_json: Json = False
) -> None:
    """Delete ENDPOINT with its log."""
    terminal = Terminal(as_json)
    with connected(url, api_key_file) as zkml:
        zkml.delete_webhook_endpoint(endpoint)
    terminal.object({"ok": True})


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
