"""What routes reach for: the application, the task sender, and the watch over jobs.

All of it as the caller's tenant sees it: see ``api.caller``.
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

#: Calls that start a child process (inspecting a model) run so many at a time,
#: however many clients ask: the others wait, and short requests keep their threads.
HEAVY_CALLS = 2
#: Verification is for everybody: it gets a queue of its own, so that nobody's junk holds up others.
VERIFICATIONS = 1


@dataclass(frozen=True, kw_only=True)
class Services:
    """The parts of one API process, as one caller may use them: ``app`` and ``watch`` know only
    what is the caller's tenant's."""

    app: App
    sender: JobSender
    watch: Watch
    caller: Caller
    verifications: ClientRate
    #: Requests with an Idempotency-Key that this process is at: tenant and key, fingerprint.
    under_way: dict[tuple[str, str], str] = field(default_factory=dict)
    heavy: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(HEAVY_CALLS))
    verifying: anyio.CapacityLimiter = field(
        default_factory=lambda: anyio.CapacityLimiter(VERIFICATIONS)
    )

    async def run(self, call: Callable[[], T]) -> T:
        """Runs a short blocking call beside the event loop."""
        return await anyio.to_thread.run_sync(call)

    async def run_verification(self, call: Callable[[], T]) -> T:
        """Runs a call for a client whom nobody knows, when its turn comes."""
        return await anyio.to_thread.run_sync(call, limiter=self.verifying)

    async def run_heavy(self, call: Callable[[], T]) -> T:
        """Runs a call that starts a child process, when its turn comes."""
        return await anyio.to_thread.run_sync(call, limiter=self.heavy)

    def of(self, caller: Caller) -> Services:
        """The same for another caller."""
        app = self.app.for_tenant(caller.tenant, caller.key_id)
        return replace(self, app=app, watch=self.watch.of(app.store), caller=caller)


async def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services).of(caller_of(request))


Use = Annotated[Services, Depends(_services)]


async def _application(services: Use) -> App:
    return services.app


Application = Annotated[App, Depends(_application)]
