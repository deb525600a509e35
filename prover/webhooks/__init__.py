"""Webhooks about the end of jobs, by the Standard Webhooks specification.

An event is a row, written in the transaction that ends its job. Each subscribed endpoint gets a
*delivery*, a row of the queue (``prover.store.webhook_queue``). ``deliverer`` claims due
deliveries, ``sender`` makes one attempt, ``network`` restricts its destination, ``signing`` signs
it, ``schedule`` decides on the next attempt. Nothing here reads or changes a job.
"""
