"""Errors of the benchmarks."""

from __future__ import annotations

from circuits.errors import Fault, ZkmlError


class BenchmarkError(ZkmlError):
    """The benchmark cannot be run."""

    code = "bench_failed"


class UnknownSuite(BenchmarkError):
    """There is no suite of this name."""

    code = "bench_unknown_suite"
    fault = Fault.INPUT


class UnknownModel(BenchmarkError):
    """There is no model of this name in the zoo."""

    code = "bench_unknown_model"
    fault = Fault.INPUT


class PeerMissing(BenchmarkError):
    """The peer's programs are not installed."""

    code = "bench_peer_missing"
    fault = Fault.INPUT
    default_advice = "Install them with `python -m benchmarks install-peers`; this needs npm."


class ResultsVersion(BenchmarkError):
    """The results were written by another version of the harness."""

    code = "bench_results_version"
    fault = Fault.INPUT
    default_advice = "Measure again with this version; results of two versions are not compared."


class ResultsInvalid(BenchmarkError):
    """The results file cannot be read."""

    code = "bench_results_invalid"
    fault = Fault.INPUT


class FolderUnusable(BenchmarkError):
    """The results folder cannot be created or written."""

    code = "bench_folder_unusable"
    fault = Fault.INPUT
    default_advice = "Name another folder with -o."


class FileUnusable(BenchmarkError):
    """The file cannot be read or written."""

    code = "bench_file_unusable"
    fault = Fault.INPUT


class ResultsOfAnotherRun(BenchmarkError):
    """The folder holds results of a run with other options, on another machine or commit."""

    code = "bench_results_conflict"
    fault = Fault.CONFLICT
    default_advice = "Name another folder with -o, or remove this one."


class SampleFailed(BenchmarkError):
    """A measured program failed."""

    code = "bench_sample_failed"


class SampleTimeout(SampleFailed):
    """A measured program did not finish before its deadline."""

    code = "bench_sample_timeout"


class SampleOutOfMemory(SampleFailed):
    """A measured program was killed, most likely because memory ran out."""

    code = "bench_sample_killed"


class NotEnoughMemory(BenchmarkError):
    """The sample is expected to need more memory than is free."""

    code = "bench_not_enough_memory"
    fault = Fault.TOO_LARGE
    default_advice = "Run it on a machine with more memory."


class BudgetSpent(BenchmarkError):
    """The run has no time left for this sample."""

    code = "bench_budget_spent"
    fault = Fault.BUSY
    default_advice = "The same command with the same -o and more minutes continues from here."


class SystemRefused(BenchmarkError):
    """The system cannot prove this model."""

    code = "bench_system_refused"
    fault = Fault.INPUT


class MarkersMissing(BenchmarkError):
    """The file lacks the markers of the benchmark table."""

    code = "bench_markers_missing"
    fault = Fault.INPUT
    default_advice = (
        "Put <!-- benchmarks:begin --> and <!-- benchmarks:end --> where the table belongs."
    )
