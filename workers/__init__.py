"""Workers: a Celery app with one task, and the sweep that resends lost jobs.

For each job a message with its id arrives. ``tasks.run_job`` passes the id to the ``Runner``, which
claims the job's lease, or does nothing if the job is taken. Then the message is acknowledged,
whatever the outcome: the job's row, not the message, is the source of truth, and ``sweep`` sends a
message for every unclaimed row.

A worker also delivers webhooks (``prover.webhooks.deliverer``), in separate threads.
``prover.admission`` decides which jobs it claims. Workers are independent of the HTTP API.
"""
