"""The dependencies of routes: the application, the job sender, and the watch over jobs.

All are views of the caller's tenant: see ``api.caller``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, TypeVar, cast

import anyio
from fastapi import Depends, Request

from api.caller import Caller, caller_of
from api.queue import JobSender
from api.rate import ClientRate
from api.watch import Watch
from prover.app import App

T = TypeVar("T")

#: Concurrent calls that start a child process (inspecting a model). Others wait, so that short
#: requests keep their threads.
HEAVY_CALLS = 2
#: Verification is public: a separate queue, so that junk does not delay other requests.
VERIFICATIONS = 1


@dataclass(frozen=True, kw_only=True)
class Services:
    """The parts of one API process for one caller: ``app`` and ``watch`` are views of the caller's
    tenant."""

    app: App
    sender: JobSender
    watch: Watch
    caller: Caller
    verifications: ClientRate
    #: Current requests with an Idempotency-Key in this process: tenant and key, fingerprint.
    under_way: dict[tuple[str, str], str] = field(default_factory=dict)
    heavy: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(HEAVY_CALLS))
    verifying: anyio.CapacityLimiter = field(
        default_factory=lambda: anyio.CapacityLimiter(VERIFICATIONS)
    )

    async def run(self, call: Callable[[], T]) -> T:
        """Runs a short blocking call in a thread."""
        return await anyio.to_thread.run_sync(call)

    async def run_verification(self, call: Callable[[], T]) -> T:
        """Runs a call of an anonymous client, queued separately."""
        return await anyio.to_thread.run_sync(call, limiter=self.verifying)

    async def run_heavy(self, call: Callable[[], T]) -> T:
        """Runs a call that starts a child process, limited in number."""
        return await anyio.to_thread.run_sync(call, limiter=self.heavy)

    def of(self, caller: Caller) -> Services:
        """The same for another caller."""
        app = self.app.for_tenant(caller.tenant, caller.key_id)
        return replace(self, app=app, watch=self.watch.of(app.store), caller=caller)


def services_of(request: Request) -> Services:
    """The services as the request's caller may use them."""
    return cast(Services, request.app.state.services).of(caller_of(request))


async def _services(request: Request) -> Services:
    return services_of(request)


Use = Annotated[Services, Depends(_services)]


async def _application(services: Use) -> App:
    return services.app


Application = Annotated[App, Depends(_application)]
