"""Settings for every test."""

import os
import signal

import hypothesis
import pytest

# One thread: the models are tiny, and threads that wait for each other crawl on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests are for the CPU, wherever they run: no engine takes a GPU that another has.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# What is started here can be interrupted, also where a shell runs the tests in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How fast the machine is decides nothing, and the same examples come every time.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what starts vLLM where it is not the CPU build, which engines side by side need."""
    from kpo.config.builds import vllm_build  # noqa: PLC0415 - torch reads the settings above

    if item.get_closest_marker("vllm") and vllm_build() != "cpu":
        pytest.skip("needs the CPU build of vLLM (LOCK=cpu)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests come first, so that at the end no process waits for one alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def problems_of_the_shell() -> None:
    """Those that variables name are not the tests' problems."""
    for name in ("KPO_BENCHMARKS", "KPO_TRAIN_PROBLEMS"):
        os.environ.pop(name, None)
