"""Errors of requests, besides ``httpx.TransportError``."""

from __future__ import annotations

from api.client.models import Problem


class ServerProblem(Exception):
    """The service responded with a problem document."""

    def __init__(self, problem: Problem):
        self.problem = problem
        advice = f" {problem.advice}" if problem.advice else ""
        super().__init__(f"{problem.code}: {problem.detail}{advice}")


class UnexpectedAnswer(Exception):
    """The response is not from this service: a proxy's error page, a wrong address."""
