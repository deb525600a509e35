"""The application object behind the API, the workers and the command line, which know none of its
parts. It loads neither the engine nor the compiler: child processes and late imports do.

A job, from start to end::

    app = App.open(settings)                             # or its view: app.for_tenant("acme")
    model, _ = app.add_model(path, "digits.onnx")        # Models: inspected in a child, stored
    job = app.request_proof(model_id=model.id, …)        # Requests: checked, stored, queued
    app.run_turn(job.id, owner)                          # Work: claimed, proved, verified, signed
    app.bundle(app.store.job(job.id))                    # Results: can be verified offline

The store decides which job a worker claims; the pipeline (``prover.jobs``) runs jobs, and
``prover.batch`` those of batches.
"""

from prover.app.models import Models
from prover.app.requests import NO_OPTIONS, Requests
from prover.app.results import Results
from prover.app.work import Work

__all__ = ["NO_OPTIONS", "App"]


class App(Models, Requests, Work, Results):
    """The whole application. Thread-safe; methods may raise a ``ZkmlError``."""
