"""The meaning of a proof and the course of a job: statements, receipts, verification, pipeline.

Knows nothing of HTTP or Celery.
"""
