"""What all tests share: Hypothesis profiles, fixtures, and a session that may be told to allow no skips."""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine and in every run, and no test depends on time. HYPOTHESIS_PROFILE=search looks further.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, database=None, **COMMON)
settings.register_profile("search", max_examples=2000, print_blob=True, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def no_collector():
    """The cyclic collector off, and nothing left for it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


skipped: list[str] = []


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped.append(_line(report))


def pytest_collectreport(report):
    if report.skipped:
        skipped.append(_line(report))


def _line(report):
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    return f"{report.nodeid}: {reason}"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Modules that one of several processes skipped while it collected."""
    skipped.extend(line for line in node.workeroutput.get("skipped", ()) if line not in skipped)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """With WB_NO_SKIPS=1 in the environment, where everything is installed, a skipped test is a failure."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["skipped"] = skipped
        return
    if skipped and os.environ.get("WB_NO_SKIPS") == "1":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    if skipped and os.environ.get("WB_NO_SKIPS") == "1":
        terminalreporter.section("skipped, and WB_NO_SKIPS=1 allows no skips", red=True)
        for line in skipped:
            terminalreporter.line(line)
