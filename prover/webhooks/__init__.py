"""Webhooks: tell a tenant's endpoints what became of jobs, by the Standard Webhooks specification.

An event is a row that is written in the transaction that ends its job; each endpoint that wants it
gets a *delivery*, a row too, which is the queue (``prover.store.webhooks``). ``deliverer`` takes
deliveries that are due, ``sender`` makes one attempt, ``network`` decides where it may go,
``signing`` signs it, ``schedule`` says when the next attempt is. Nothing here reads or changes a
job: what becomes of a webhook is no concern of the job it tells about.
"""
