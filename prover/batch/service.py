"""The batches of the application: run, cancel, deliver results. ``ingest`` creates them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from circuits.errors import Canceled, EngineError, EngineKilled, ZkmlError
from prover.batch.chunks import queued_items
from prover.batch.finer import finer_packs
from prover.batch.options import OnInexact
from prover.batch.planning import plan_batch, split_packs
from prover.batch.proving import PackOutcome, prove_pack
from prover.batch.services import BatchServices
from prover.errors import LeaseLost, ResultRemoved
from prover.jobs.forgetting import forget_rows
from prover.jobs.lease import LeaseKeeper
from prover.jobs.retries import as_zkml_error, is_transient, pause_s
from prover.logs import get_logger
from prover.records.batch import Batch, BatchState, Item, ItemState, Pack
from prover.records.batch_errors import BatchExpired, ItemNotDone, problem_of_item
from prover.records.job import Job, JobKind, JobState
from prover.statement.bundle import Bundle, write_bundle

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class BatchService:
    """Thread-safe. Workers call ``run`` and ``lost``, requests call the others."""

    services: BatchServices

    # --- the requester's side ----------------------------------------------------------------

    def batch(self, batch_id: str) -> Batch:
        """The current state of the batch. Ends a batch whose last worker died before it could, and
        one whose deadline has passed. Raises ``BatchNotFound``."""
        store = self.services.store
        batch = store.batch(batch_id)
        if batch.is_overdue(datetime.now(UTC)):
            self._expire(batch_id)
            return store.batch(batch_id)
        if batch.state.terminal or batch.state is BatchState.RECEIVING:
            return batch
        for job in store.orphaned_jobs(batch_id):
            self.lost(job)
        if batch.state is BatchState.RUNNING and not batch.remaining:
            self._finish(batch_id)
        return store.batch(batch_id)

    def cancel(self, batch_id: str) -> Batch:
        """Ends a batch: proved items stay, the others are canceled. Idempotent; has no effect on a
        batch that has ended."""
        batch = self.services.store.batch(batch_id)
        if not batch.state.terminal:
            self._end(batch, ItemState.CANCELED, Canceled("the batch was canceled"))
        return self.services.store.batch(batch_id)

    def item_bundle(self, batch_id: str, number: int) -> bytes:
        """The self-contained bundle of one item. Raises ``ItemNotFound``, ``ItemNotDone``."""
        return write_bundle(self.members(self.services.store.item(batch_id, number)))

    def members(self, item: Item, shared: SharedFiles | None = None) -> Bundle:
        """The members of an item's bundle; ``shared`` caches the parts that other items of the
        same proof need. Raises ``ItemNotDone``."""
        if item.result is None or item.pack_id is None:
            raise ItemNotDone(
                f"item {item.number} is {item.state.value}: it has no proof", number=item.number
            )
        get, result = self.services.artifacts.get, item.result
        files = (shared or SharedFiles(self.services)).of(item.pack_id)
        return Bundle(
            **files,
            receipt=get(result["receipt"]),
            signer=get(result["signer"]),
            input=get(result["input"]) if result["input"] else None,
        )

    # --- the workers' side -------------------------------------------------------------------

    def run(self, job: Job, held: LeaseKeeper, note: Callable[[str], None] | None = None) -> None:
        """Works on a job of kind batch or pack under its lease and writes its end.

        Errors of the job are not raised.
        """
        try:
            if job.kind is JobKind.BATCH:
                self._plan(job, held, note)
            else:
                self._prove(job, held)
        except LeaseLost:
            _log.warning("lease_lost", job=job.id)
        except Canceled:
            settled = held.settle()
            if settled is not None and settled.state is JobState.EXPIRED:
                self._expire(_batch_of(job))
            elif settled is not None and settled.state.terminal and job.kind is JobKind.BATCH:
                self.lost(settled)
        except ZkmlError as error:
            # Who stops a service often kills the engine with it: that is no failure of the job.
            if isinstance(error, EngineError | EngineKilled) and held.should_stop():
                held.settle()
            else:
                self._failed(job, held, error)
        except Exception as error:  # an internal error must not leave a batch running forever
            _log.exception("batch_defect", job=job.id)
            self._failed(job, held, as_zkml_error(error))
        finally:
            self.services.notifications.publish(job.id)
            self._finish(_batch_of(job))

    def lost(self, job: Job) -> None:
        """Handles a job that ended without its worker: like a failed pack, a pack that killed its
        workers is split, and a pack of one fails its item. Without its plan a batch ends."""
        store, batch_id = self.services.store, _batch_of(job)
        if job.state is JobState.EXPIRED:
            self._expire(batch_id)
        elif job.kind is JobKind.PACK:
            numbers = [i.number for i in queued_items(store, batch_id, pack_id=job.id)]
            if len(numbers) > 1 or (numbers and "finer" in job.request):
                packs = self._halves(job, numbers)
                self.services.announce(store.queue_packs(batch_id, packs))
            else:
                problem = job.problem or Canceled("the proof was canceled").problem()
                store.fail_pack(batch_id, job.id, problem)
        elif job.problem is not None:
            store.end_batch(batch_id, left=ItemState.FAILED, problem=job.problem)
        elif job.state is JobState.CANCELED:
            self.cancel(batch_id)
        self._finish(batch_id)

    def _plan(self, job: Job, held: LeaseKeeper, note: Callable[[str], None] | None) -> None:
        def say(text: str) -> None:
            if held.should_stop():
                raise Canceled
            if note is not None:
                note(text)

        packs = plan_batch(self.services, job, held, say)
        self.services.announce(packs)

    def _prove(self, job: Job, held: LeaseKeeper) -> None:
        batch = self.services.store.batch(_batch_of(job))
        outcome = prove_pack(self.services, job, held)
        self._settle(job, held, outcome, finer_packs(self.services, batch, outcome.again))

    def _failed(self, job: Job, held: LeaseKeeper, error: ZkmlError) -> None:
        """Retries transient errors. Otherwise a pack of one fails its item, and a larger pack is
        split until the culprit is alone."""
        problem = problem_of_item(error, job.request)
        _log.warning("batch_job_failed", job=job.id, code=error.code, detail=problem["detail"])
        store = self.services.store
        try:
            settings = self.services.settings
            if is_transient(error) and job.attempt < settings.max_attempts:
                pause = pause_s(job.attempt, settings.retry_s)
                store.requeue(held.lease, problem, after_s=pause)
                return
            if job.kind is JobKind.BATCH:
                store.fail(held.lease, problem)
                store.end_batch(job.id, left=ItemState.FAILED, problem=problem)
                return
            self._split(job, held, error)
        except LeaseLost:
            _log.warning("lease_lost", job=job.id)

    def _split(self, job: Job, held: LeaseKeeper, error: ZkmlError) -> None:
        store, batch_id = self.services.store, _batch_of(job)
        numbers = [i.number for i in queued_items(store, batch_id, pack_id=job.id)]
        outcome = PackOutcome(proved={}, failed={}, result={}, timings={})
        packs: list[Pack] = []
        if len(numbers) == 1 and "finer" not in job.request:
            outcome.failed = {numbers[0]: problem_of_item(error, job.request)}
        elif numbers:
            packs = self._halves(job, numbers)
        outcome.result = {
            "split": [p.id for p in packs],
            "problem": problem_of_item(error, job.request),
        }
        self._settle(job, held, outcome, packs)

    def _halves(self, job: Job, numbers: list[int]) -> list[Pack]:
        """The rows of a failed pack, in smaller packs. Rows that were meant for a finer circuit are
        proved as before and reported."""
        wish = OnInexact.REPORT if "finer" in job.request else job.request.get("on_inexact")
        batch = self.services.store.batch(_batch_of(job))
        return split_packs(self.services, batch, numbers, on_inexact=wish)

    def _settle(self, job: Job, held: LeaseKeeper, outcome: PackOutcome, packs: list[Pack]) -> None:
        queued = self.services.store.settle_pack(
            held.lease,
            _batch_of(job),
            proved=outcome.proved,
            failed=outcome.failed,
            packs=packs,
            result=outcome.result,
            timings=outcome.timings,
            peak_rss=outcome.peak_rss_bytes,
        )
        self.services.announce(queued)

    def _expire(self, batch_id: str) -> None:
        """Ends a batch at its deadline; proved items stay."""
        batch = self.services.store.batch(batch_id)
        if not batch.state.terminal:
            self._end(batch, ItemState.EXPIRED, BatchExpired())

    def _end(self, batch: Batch, left: ItemState, error: ZkmlError) -> None:
        """Cancels queued items and stops running packs."""
        for job_id in self.services.store.give_up_batch(
            batch.id, left=left, problem=error.problem()
        ):
            self.services.notifications.publish(job_id)
        self._finish(batch.id)

    def _finish(self, batch_id: str) -> None:
        """Ends the batch if no item is left, and deletes the inputs of an ended batch."""
        store = self.services.store
        try:
            store.end_batch(batch_id)
            if store.batch(batch_id).state.terminal:
                forget_rows(store, self.services.artifacts, batch_id)
        except ZkmlError as error:
            _log.warning("batch_not_finished", batch=batch_id, detail=error.detail)
        self.services.notifications.publish(batch_id)


class SharedFiles:
    """A cache of the files of the last requested proof."""

    def __init__(self, services: BatchServices) -> None:
        self._services = services
        self._pack_id = ""
        self._files: dict[str, bytes] = {}

    def of(self, pack_id: str) -> dict[str, bytes]:
        """Proof, key, settings and so on, by their names in a bundle."""
        if pack_id != self._pack_id:
            pack = self._services.store.job(pack_id)
            assert pack.result is not None
            if pack.removed_at is not None:
                raise ResultRemoved(job=pack.id, removed_at=pack.removed_at.isoformat())
            get = self._services.artifacts.get
            self._files = {name: get(digest) for name, digest in pack.result["files"].items()}
            self._pack_id = pack_id
        return self._files


def _batch_of(job: Job) -> str:
    return job.id if job.kind is JobKind.BATCH else str(job.request["batch"])
