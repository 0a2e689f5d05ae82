"""The grader: order, limits, bombs, the path without workers, the command line."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.grade import main
from evals.grading import grader as grading
from evals.grading import worker as grade_worker
from evals.grading.equivalence import TooLargeError, judge
from evals.grading.grader import Grade, Grader, grade
from evals.grading.pool import Reply, Request, WorkerPool
from evals.records import read_grades
from tests.bench.bench_grade import BOMBS, GOLDS, make_items
from tests.patience import FAR_S, until

ROOT = Path(__file__).resolve().parents[2]
# A comparison that nothing screens and that math-verify does not finish: it expands the power.
LINE, SLOW = "y=x+1", "y=(1+x+z)^{200}"


def boxed(answer: str) -> str:
    return f"I think it is \\boxed{{{answer}}}."


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=2, timeout_s=FAR_S) as shared:
        yield shared


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("evals.grading.pool.subprocess.Popen", refuse)


def test_grades_come_in_order_with_their_status(grader: Grader) -> None:
    pairs = [
        ("5", boxed("5")),
        (r"\frac{1}{2}", boxed("0.5")),
        ("5", "five"),
        (r"\dfrac{9}{7}", boxed(r"\frac{18}{14}")),
        (r"2\sqrt{13}", boxed("2")),
        ("5", boxed("9^{9^{9^{9}}}")),
        (r"2\sqrt{13}", boxed(r"\sqrt{52}")),
        ("5", boxed("")),
        ("5", boxed("6")),
        ("5", boxed("7" * 2000)),
        ("x=5", boxed("5")),
        ("5", boxed("x=5") + boxed("x=6")),
        ("5", boxed("{" * 20 + "5" + "}" * 20)),
    ]
    assert grader.grade(pairs) == [
        Grade(True, "ok", "5"),
        Grade(True, "ok", "0.5"),
        Grade(False, "no_answer", None),
        Grade(True, "ok", r"\frac{18}{14}"),
        Grade(False, "ok", "2"),
        Grade(False, "timeout", "9^{9^{9^{9}}}"),
        Grade(True, "ok", r"\sqrt{52}"),
        Grade(False, "no_answer", ""),
        Grade(False, "ok", "6"),
        Grade(False, "error", "7" * grading.MAX_ANSWER_CHARS),
        Grade(True, "ok", "5"),
        Grade(False, "ok", "x=6"),
        Grade(False, "error", "{" * 20 + "5" + "}" * 20),
    ]


def test_the_gold_is_asked_not_the_answer(grader: Grader) -> None:
    """verify is asymmetric: an answer may leave a solution's name out, not put one in for it."""
    asked = [("x=5", boxed("5")), ("1<x<2", boxed("(1,2)")), ("y=2x+1", boxed("y=2x+2"))]
    assert [g.correct for g in grader.grade(asked)] == [True, True, False]


def test_nothing_to_grade(no_process: None) -> None:
    assert grade([], workers=2, timeout_s=1) == []


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        (("5", None), "pair 1: the response is NoneType"),
        (("5", b"5"), "pair 1: the response is bytes"),
        ((5, boxed("5")), "pair 1: the gold is int"),
    ],
)
def test_what_is_not_text_is_refused_before_work(
    pair: Any, complaint: str, no_process: None
) -> None:
    with pytest.raises(TypeError, match=complaint):
        grade([("1/3", boxed("1/2")), pair], workers=1, timeout_s=1)


@pytest.mark.parametrize("limits", [{"workers": 0}, {"timeout_s": 0}, {"memory_mb": -1}])
def test_limits_must_be_positive(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Grader(**limits)


def test_whole_numbers_need_no_worker(no_process: None) -> None:
    rng = random.Random(0)
    numbers = [(rng.randint(-99, 99), rng.randint(-99, 99)) for _ in range(500)]
    with Grader() as free:
        grades = free.grade([(str(a), boxed(str(b))) for a, b in numbers])
        assert free.grade([("5", "no box")]) == [Grade(False, "no_answer", None)]
    assert [g.correct for g in grades] == [a == b for a, b in numbers]
    assert {g.status for g in grades} == {"ok"}


SPELLINGS = r"""0 -0 +0 00 1 -1 +1 01 -01 2 -2 3 03 +3 3. 3.0 1,000 1000 1,001 1/2 -1/2 0.5
    \frac{1}{2} -\frac{1}{2} \frac{-1}{2} -\frac{-1}{2} \frac{+1}{2} \dfrac{2}{4} \tfrac{01}{2}
    \frac12 \frac{0}{3} -\frac{0}{7} \frac{6}{2} -\frac{3}{3} \frac{3}{-3}
    \frac{1}{0} \frac{0}{0}"""
LONG = ["7" * 60, "7" * 59 + "8", "-" + "7" * 60, "0" + "7" * 60, "10" * 50, "5" * 99]
NUMBERS = [*re.split(r"\s+", SPELLINGS), *LONG]


@pytest.mark.parametrize("gold", NUMBERS)
def test_the_path_without_workers_agrees_with_math_verify(gold: str) -> None:
    for answer in NUMBERS:
        known = grading._without_worker(gold, answer)
        if isinstance(known, Grade):
            assert known == Grade(judge(gold, answer), "ok", answer)


def test_a_comparison_is_made_once(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []
    run = WorkerPool.run

    def recording(self: WorkerPool, requests: Any, *rest: Any) -> list[Reply]:
        asked.extend(requests)
        return run(self, requests, *rest)

    monkeypatch.setattr(WorkerPool, "run", recording)
    pairs = [("x+1", boxed(a)) for a in ("1+x", "x+2", "1+x", " 1+x ", "x+2")] * 30
    done: list[int] = []
    grades = grader.grade(pairs, on_done=done.append)
    assert [g.correct for g in grades] == [True, False, True, True, False] * 30
    assert sorted(asked) == [Request("x+1", "1+x"), Request("x+1", "x+2")]
    assert sum(done) == len(pairs)


@pytest.mark.slow
def test_a_timeout_costs_only_its_own_answer() -> None:
    pairs = [("1/2", boxed("0.5")), (LINE, boxed(SLOW)), ("x", boxed("y")), ("y=x", boxed(SLOW))]
    pairs += [("x+y", boxed("y+x"))]
    grades = grade(pairs, workers=1, timeout_s=5.0)
    assert [(g.correct, g.status) for g in grades] == [
        (True, "ok"),
        (False, "timeout"),
        (False, "ok"),
        (False, "timeout"),
        (True, "ok"),
    ]


@pytest.mark.slow
def test_a_worker_that_dies_costs_only_its_own_answer() -> None:
    with WorkerPool(workers=1, timeout_s=30, memory_mb=2048) as pool:
        assert pool.run([Request("x", "x")]) == [Reply("ok", True)]
        (worker,) = pool._alive
        threading.Timer(0.5, os.killpg, (worker.process.pid, signal.SIGKILL)).start()
        replies = pool.run([Request(LINE, SLOW), Request("x", "x"), Request("x", "y")])
        assert [reply.status for reply in replies] == ["error", "ok", "ok"]
        assert "died" in replies[0].reason
        os.killpg(pool._alive[0].process.pid, signal.SIGKILL)
        pool._alive[0].process.wait()
        assert pool.run([Request("x", "x")]) == [Reply("ok", True)]


@pytest.mark.slow
def test_memory_is_limited() -> None:
    """The worker that came near its limit is replaced: its later answers would be errors too."""
    requests = [Request(LINE, "y=(x+w+z)^{30}"), Request("x+1", "1+x"), Request("x+1", "x+2")]
    with WorkerPool(workers=1, timeout_s=20, memory_mb=90) as pool:
        replies = pool.run(requests)
        limits = Path(f"/proc/{pool._alive[0].process.pid}/limits")
        if limits.exists():
            found = re.search(r"Max address space +(\d+)", limits.read_text())
            assert found is not None and int(found[1]) == 90 * 2**20
    # math-verify may try on after a failed allocation, and then time ends it.
    assert replies[0] in (Reply("error", reason="memory"), Reply("timeout", reason="over 20 s"))
    assert replies[1:] == [Reply("ok", True), Reply("ok", False)]


def test_a_failed_allocation_is_an_error_and_retires_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(gold: str, answer: str) -> bool:
        raise MemoryError

    monkeypatch.setattr("evals.grading.equivalence.judge", exhausted)
    reply = grade_worker.reply_to({"gold": "1", "answer": "2", "rule": "by_kind"}, 10**6)
    assert reply == {"error": "memory", "retire": True}


def test_workers_that_cannot_start_are_an_error_with_a_reason() -> None:
    pool = WorkerPool(workers=2, timeout_s=5, memory_mb=40)
    with pytest.raises(RuntimeError, match=r"do not start.*40 MiB"):
        pool.run([Request("x", "y")])
    assert pool._alive == []


def test_an_interrupted_call_leaves_no_worker_in_the_middle_of_something(grader: Grader) -> None:
    class InterruptError(BaseException):
        pass

    def interrupt(done: int) -> None:
        raise InterruptError

    with pytest.raises(InterruptError):
        grader.grade([("x", boxed(f"x+{n}")) for n in range(20)], on_done=interrupt)
    assert grader._pool._alive == []
    assert grader.grade([("x+1", boxed("1+x"))]) == [Grade(True, "ok", "1+x")]


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[Reply]:
    """What the workers reply from now on."""
    seen: list[Reply] = []
    run = WorkerPool.run

    def recording(self: WorkerPool, *args: Any) -> list[Reply]:
        seen.extend(found := run(self, *args))
        return found

    monkeypatch.setattr(WorkerPool, "run", recording)
    return seen


@pytest.mark.slow
def test_bombs_neither_lose_nor_shift_a_grade(replies: list[Reply]) -> None:
    items = make_items(GOLDS, count=300, bomb_share=0.1, seed=3)
    assert sum(item.bomb for item in items) == 30
    grades = grade([(i.gold, i.response) for i in items], workers=2, timeout_s=FAR_S)
    assert not any(reply.reason.startswith("over") for reply in replies)  # no deadline was met
    for item, result in zip(items, grades, strict=True):
        assert result.correct == item.right, (item.gold, result)
        assert item.bomb or result.status == "ok"


@pytest.mark.parametrize("bomb", BOMBS, ids=[repr(b[:24]) for b in BOMBS])
def test_each_bomb_is_wrong_before_its_deadline(
    bomb: str, grader: Grader, replies: list[Reply]
) -> None:
    tame = (r"\sqrt{8}", boxed(r"2\sqrt{2}"))
    before, result, after = grader.grade([tame, ("5", bomb), tame])
    assert not result.correct
    assert before == after == Grade(True, "ok", r"2\sqrt{2}")
    assert not any(reply.reason.startswith("over") for reply in replies)


def test_what_stands_beside_a_bomb_in_a_response_does_not_matter(grader: Grader) -> None:
    noises = ["\x00" * 99, "\ud800", "\U0001f600", "{" * 3000, "}" * 3000, r"\frac" * 9999]
    pairs = [("5", noise + boxed("5.0") + noise) for noise in noises]
    assert grader.grade(pairs) == [Grade(True, "ok", "5.0")] * len(noises)


@pytest.mark.parametrize(
    "giant",
    [
        "9^{9^{9}}",
        "2^{-9^{9^{9}}}",
        "(10^{9})!",
        "((9!)!)!",
        r"\binom{10^{9}}{10^{8}}",
        "x^{9^{9^9}}",
    ],
)
def test_giants_are_refused_not_evaluated(giant: str) -> None:
    with pytest.raises(TooLargeError):
        judge("5", giant)
    assert judge(giant, giant)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("2^{1009}", r"2 \cdot 2^{1008}"),
        (r"\frac{100!}{2^{50}}", r"100! \cdot 2^{-50}"),
        (r"\sqrt{\sqrt{\sqrt{\sqrt{256}}}}", r"\sqrt{2}"),
        ("10^{1000}", "10^{999} \\cdot 10"),
        (r"\binom{40}{20}", "137846528820"),
    ],
)
def test_large_is_not_giant(gold: str, answer: str) -> None:
    assert judge(gold, answer)


@pytest.mark.parametrize(
    "other", ["[-2,7]", "(1,2) \\cup (3,4)", "(1,2,3)", r"\begin{pmatrix}1\end{pmatrix}"]
)
def test_a_number_is_not_compared_with_a_set(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """math-verify would need a tenth of a second to say no."""
    compared: list[tuple[Any, Any]] = []
    monkeypatch.setattr("evals.grading.terms.verify", lambda g, a, **_: compared.append((g, a)))
    assert not judge("4", other)
    assert all(isinstance(gold, str) or isinstance(answer, str) for gold, answer in compared)


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("p - q", "q - p", False),
        (r"2\sqrt{3}", r"\sqrt{12}", True),
        (r"\sin^2 x + \cos^2 x", "1", True),
        (r"\frac{x^2-1}{x-1}", "x+1", True),
        (r"\frac{20000}{\pi}", r"\frac{20000}{3}", False),
        ("x^2", "x^3", False),
        ("f(x)+1", "f(x)+2", False),
        (r"\text{east}", "east", True),
        (r"\text{east}", r"\text{west}", False),
        ("0.333333", r"\frac{1}{3}", True),
        (r"8 \%", "8", True),
        (r"6 - 5i", r"-5i + 6", True),
        (r"6 - 5i", r"6 + 5i", False),
        ("ab", "ba", True),
        (r"\sqrt{2}", "1.41421356", True),
    ],
)
def test_the_short_cut_for_what_differs_is_math_verifys_verdict(
    gold: str, answer: str, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judge(gold, answer) == same
    monkeypatch.setattr("evals.grading.terms._decided", lambda *_: None)
    assert judge(gold, answer) == same


def test_the_caller_imports_neither_torch_nor_sympy() -> None:
    code = "import sys, evals.grade; print({'torch', 'sympy', 'math_verify'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_workers_start_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert grade([("x+1", boxed("1+x"))], workers=1, timeout_s=FAR_S)[0].correct


# The command line


def row(index: int, answer: str, response: str, /, **changes: Any) -> dict[str, Any]:
    base = {"benchmark": "minerva", "id": f"m/{index}", "sample": 0, "answer": answer}
    return {**base, "response": response, "tokens": 9, "finish": "stop", "seed": 1, **changes}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows))
    return path


def visible(folder: Path) -> list[Path]:
    """What lies in a folder beside the locks of what is made there."""
    return [path for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = write(
        tmp_path / "samples.jsonl",
        [
            row(0, "4.5e33", boxed(r"4.5 \times 10^{33}")),
            row(0, "4.5e33", boxed("4.5"), sample=1, finish="length", tokens=4096),
            row(1, "5", "\ud800"),
            row(2, "5", boxed("\ud800")),
            row(3, "5", boxed("9^{9^{9}}")),
            row(4, "-1./3", boxed(r"\frac{-1}{3}")),
        ],
    )
    out = tmp_path / "new" / "grades.jsonl"
    assert main(["--samples", str(samples), "--out", str(out), "--timeout-s", "900"]) == 0
    rows = [json.loads(line) for line in out.read_text(encoding="ascii").splitlines()]
    assert list(rows[0]) == [
        *("benchmark", "id", "sample", "correct", "status", "extracted", "tokens", "finish")
    ]
    assert [tuple(r.values())[1:] for r in rows] == [
        ("m/0", 0, True, "ok", r"4.5 \times 10^{33}", 9, "stop"),
        ("m/0", 1, False, "ok", "4.5", 4096, "length"),
        ("m/1", 0, False, "no_answer", None, 9, "stop"),
        ("m/2", 0, False, "ok", "\ud800", 9, "stop"),
        ("m/3", 0, False, "timeout", "9^{9^{9}}", 9, "stop"),
        ("m/4", 0, True, "ok", r"\frac{-1}{3}", 9, "stop"),
    ]
    assert [g.extracted for g in read_grades(out)] == [r["extracted"] for r in rows]
    assert visible(out.parent) == [out]
    printed = capsys.readouterr()
    counts = "6 graded, 2 correct, 1 no_answer, 1 timeout, 0 error"
    assert printed.out == f"{counts}, 0 otherwise by another rule\n"
    assert "6/6" in printed.err


@pytest.mark.parametrize(("answers", "correct"), [("boxed", 1), ("boxed-or-hashes", 3)])
def test_the_rule_of_the_prompt_protocol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answers: str, correct: int
) -> None:
    responses = (boxed("5"), "So it is\n#### 5", "#### \\frac{10}{2}", "5")
    rows = [row(i, "5", response) for i, response in enumerate(responses)]
    samples, out = write(tmp_path / "samples.jsonl", rows), tmp_path / "grades.jsonl"
    assert main(["--samples", str(samples), "--out", str(out), "--answers", answers]) == 0
    assert f"4 graded, {correct} correct, {4 - correct} no_answer" in capsys.readouterr().out


BAD_LINES = {
    '{"benchmark": "a", "id"': "not a whole JSON object",
    "[1]\n": "not a JSON object",
    json.dumps({"benchmark": "a", "id": "b", "sample": 0}) + "\n": "has no 'answer', 'response'",
    json.dumps(row(1, "5", "x", response=None)) + "\n": "'response' is null",
    json.dumps(row(1, "5", "x", response=["x"])) + "\n": "'response' is [\"x\"]",
    json.dumps(row(1, "5", "x", answer=5)) + "\n": "'answer' is 5",
    json.dumps(row(1, "5", "x", sample=True)) + "\n": "'sample' is true",
    json.dumps(row(1, "5", "x", finish="eos")) + "\n": "'finish' is \"eos\", not 'stop'",
    json.dumps(row(0, "5", "y")) + "\n": "sample 0 of minerva m/0 is already on line 1",
    "[" * 100_000 + "\n": "not a whole JSON object",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=BAD_LINES.values())
def test_bad_lines_are_named_and_nothing_is_written(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_process: None
) -> None:
    samples = write(tmp_path / "samples.jsonl", [row(0, "1/2", boxed("0.5")), line])
    assert main(["--samples", str(samples), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert f"{samples}, line 2" in message
    assert BAD_LINES[line] in message
    assert message.count("\n") == 1
    assert visible(tmp_path) == [samples]


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--samples", str(tmp_path / "no"), "--out", str(tmp_path / "out")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_help_says_what_is_read_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "Reads --samples" in text
    assert "Writes --out" in text


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see processes")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_parent(end: signal.Signals, tmp_path: Path) -> None:
    """After Ctrl-C at once, after a kill -9 when the kernel's alarm ends the worker."""
    samples = write(tmp_path / "s.jsonl", [row(n, LINE, boxed(SLOW + f"+{n}")) for n in range(99)])
    command = [sys.executable, "-m", "evals.grade", "--samples", str(samples)]
    command += ["--out", str(tmp_path / "out"), "--timeout-s", "2"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as parent:
        assert parent.stderr is not None
        told = b""
        # Until one answer has run to its deadline; others are begun then.
        while not re.search(rb" [1-9][0-9]?/99 ", told):
            more = os.read(parent.stderr.fileno(), 4096)
            assert more
            told += more
        workers = children(parent.pid)
        parent.send_signal(end)
        assert parent.wait() != 0
    until(lambda: not any(map(is_running, workers)))
    assert visible(tmp_path) == [samples]
