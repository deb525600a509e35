"""The application behind every door: the API, the workers and the command line stand on it, and
none of them knows its parts' insides. It loads neither the engine nor the compiler: those live in
child processes and late imports.

A job, from end to end::

    app = App.open(settings)                             # or its view: app.for_tenant("acme")
    model, _ = app.add_model(path, "digits.onnx")        # Models: inspected in a child, kept
    job = app.request_proof(model_id=model.id, …)        # Orders: checked, on disk, queued
    app.run_turn(job.id, owner)                          # Work: claimed, proved, verified, signed
    app.bundle(app.store.job(job.id))                    # Results: what anyone can check offline

Which job a worker takes, and how its row changes, the store says; how a job goes, the pipeline
(``prover.jobs``), for many inputs ``prover.batch``.
"""

from prover.app.models import Models
from prover.app.orders import NO_OPTIONS, Orders
from prover.app.results import Results
from prover.app.work import Work

__all__ = ["NO_OPTIONS", "App"]


class App(Models, Orders, Work, Results):
    """All of it. Thread-safe; methods may raise a ``ZkmlError``."""
