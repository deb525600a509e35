"""``zkml identity``: the name of an input in receipts, before any proof."""

from __future__ import annotations

import math
import secrets
from pathlib import Path
from typing import Annotated

import typer

from prover.cli import options
from prover.cli.binding import bound
from prover.cli.terminal import EXIT_YES, Terminal, read_file, read_model_file


def identity(
    model: options.ModelFile,
    input_file: Annotated[Path, typer.Argument(metavar="INPUT", help="As for `zkml prove`.")],
    input_scale: Annotated[
        int,
        typer.Option(
            "--input-scale",
            min=-32,
            max=32,
            help="Scale of the circuits: as for `zkml prove --input-scale`, or as in a receipt.",
        ),
    ],
    salt: Annotated[
        str | None, typer.Option(metavar="HEX", help="Salt, 64 hex digits. Default: a new one.")
    ] = None,
    logrows: Annotated[
        int | None,
        typer.Option(
            "--logrows",
            min=1,
            max=26,
            help="k of the reference string. All of the public ceremony's give one identity, but"
            " each development string its own.",
        ),
    ] = None,
    shape: options.Shapes = None,
    as_json: options.Json = False,
) -> int:
    """Print the identity of INPUT, by which receipts with --visibility committed-input name it."""
    terminal = Terminal(as_json)
    from circuits.format.commitments import input_identity
    from circuits.format.tensors import InputEncoding, Signature, scale_wanted
    from circuits.srs.input_identity import SALT_BYTES, NamedInput, least_logrows
    from circuits.srs.verify_part import extract
    from prover.app import App
    from prover.jobs.inputs import read_input
    from prover.settings import Settings

    own = options.read_salt(salt) if salt else secrets.token_bytes(SALT_BYTES)
    settings = Settings.load(redis_url=None)
    app = App.open(settings)
    try:
        data = read_model_file(model, limit=settings.max_model_bytes)
        data = bound(app.engine.sandbox, data, shape, input_file, terminal=terminal)
        signature = Signature.from_json(app.inspect_bytes(data)["signature"])
        given = read_input(read_file(input_file), signature)[0]
        tensors = [
            InputEncoding(
                tensor=tensor,
                scale=scale_wanted(tensor.dtype, input_scale),
                lower=-math.inf,
                upper=math.inf,
            )
            for tensor in signature.inputs
        ]
        integers = [n for t in tensors for n in t.quantise(given[t.tensor.name])]
        builder = app.registry.builder()
        size = logrows or least_logrows(len(integers))
        srs = builder.srs.ensure(
            size,
            builder.policy,
            lambda path, k: app.engine.generate_srs(path, k, settings.engine_limits),
        )
        point = NamedInput.of(integers, own, srs.path).point
        inputs = [(t.tensor.size, t.scale) for t in tensors]
        named = input_identity(point, extract(srs.path), inputs)
    finally:
        app.close()
    terminal.line(f"Identity of the input, for everyone: {named}")
    terminal.line(f"Its salt, which nobody else may see, for proofs under it: {own.hex()}")
    if not srs.is_public:
        terminal.line(
            f"Over {srs.path.name}, whose maker can forge proofs: only circuits of k = {size} have"
            " this identity."
        )
    terminal.object(
        {
            "ok": True,
            "input_identity": named,
            "input_salt": own.hex(),
            "commitment": point.hex(),
            "srs": {"logrows": size, "origin": srs.origin.value},
        }
    )
    return EXIT_YES
