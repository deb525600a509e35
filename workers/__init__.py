"""Workers: a Celery app with one thin task, and the sweep that brings lost jobs back.

One job, seen from here: a message with its id arrives; ``tasks.run_job`` hands the id to the
``Runner``; the runner claims the job's lease, or finds it taken and does nothing. The message is
acknowledged after that, whatever came of it: the job's row, not the message, says what is left to
do, and ``sweep`` sends a message for every row that nobody works on.

A worker also sends webhooks that are due (``prover.webhooks.deliverer``), in threads of its own.
What it takes up, and when, ``prover.admission`` says. Knows nothing of the HTTP API.
"""
