"""What a proof means and how a job goes: statements, receipts, bundles, verification, the pipeline.

Knows nothing of HTTP or Celery.
"""
