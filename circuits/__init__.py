"""From an ONNX model to a zero-knowledge circuit: inspect, rewrite, plan, build.

Knows nothing of jobs, HTTP, Celery or SQL. Only ``circuits.engine.calls`` imports ``ezkl``,
and only inside a child process that can be killed.
"""
