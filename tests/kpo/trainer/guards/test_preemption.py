"""SIGTERM sets a flag that all ranks see."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

import pytest

from kpo.distributed.ranks import Ranks
from kpo.trainer.guards.preemption import (
    PREEMPTED_EXIT_CODE,
    Preempted,
    Preemption,
    leave_on_sigterm,
)
from tests.kpo.processes import SERVER, on_ranks


def notify() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_is_a_request() -> None:
    with Preemption() as preemption:
        preemption.check()
        notify()
        notify()
        with pytest.raises(Preempted):
            preemption.check()
    with Preemption() as preemption:
        preemption.check()


def test_the_handler_before_comes_back() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        try:
            with Preemption():
                notify()
                assert seen == []
                raise KeyError
        except KeyError:
            notify()
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def stops(preemption: Preemption) -> bool:
    try:
        preemption.check()
    except Preempted:
        return True
    return False


def stops_before_and_after(ranks: Ranks) -> tuple[bool, bool]:
    with Preemption(ranks) as preemption:
        before = stops(preemption)
        if ranks.rank == 1:
            notify()
        return before, stops(preemption)


@pytest.mark.slow
def test_ranks_agree() -> None:
    assert on_ranks(2, stops_before_and_after) == [(False, True)] * 2


def notify_and_wait() -> None:
    notify()
    time.sleep(3600)


def wrapped() -> None:
    try:
        notify_and_wait()
    except BaseException as error:
        raise RuntimeError("a library's own words for it") from error


def swallowed() -> str:
    with contextlib.suppress(BaseException):
        notify_and_wait()
    return "done"


@pytest.mark.parametrize("work", [notify_and_wait, wrapped, swallowed])
def test_work_is_broken_off_wherever_it_stands(work: Callable[[], object]) -> None:
    with Preemption() as preemption, pytest.raises(Preempted):
        preemption.breakable(work)


def test_work_that_nothing_disturbs_gives_its_result() -> None:
    with Preemption() as preemption:
        assert preemption.breakable(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            preemption.breakable(lambda: 1 / 0)
        notify()  # outside such work, it only sets the flag
        with pytest.raises(Preempted):
            preemption.breakable(lambda: pytest.fail("not begun"))


def one_works_on(ranks: Ranks) -> bool:
    """Rank 1 is told to stop in the middle, rank 0 comes to the end of its work."""
    with Preemption(ranks) as preemption:
        try:
            preemption.breakable(notify_and_wait if ranks.rank else lambda: None)
        except Preempted:
            return True
    return False


@pytest.mark.slow
def test_ranks_whose_work_is_done_leave_with_the_one_that_was_told() -> None:
    assert on_ranks(2, one_works_on) == [True, True]


def left_early() -> None:
    leave_on_sigterm()
    notify_and_wait()


def test_before_and_after_the_steps_there_is_nothing_to_save() -> None:
    process = SERVER.Process(target=left_early)
    process.start()
    process.join()
    assert process.exitcode == PREEMPTED_EXIT_CODE
