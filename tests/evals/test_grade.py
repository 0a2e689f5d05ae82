"""The grading command: what it reads, writes, says and leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kpo.evals import grade as grade_command
from kpo.evals.grade import main
from kpo.evals.grading.grader import Grade, Grader
from kpo.evals.records import read_grades
from tests.evals.grading.asked import LINE, SLOW, boxed, is_running
from tests.evals.stored import row, visible, write
from tests.patience import until

ROOT = Path(__file__).resolve().parents[2]


def test_the_caller_imports_neither_torch_nor_sympy() -> None:
    code = "import sys, evals.grade; print({'torch', 'sympy', 'math_verify'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


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
    options = "--timeout-s", "900", "--normaliser", "minerva"
    main(["--samples", str(samples), "--out", str(out), *options])
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
    main(["--samples", str(samples), "--out", str(out), "--answers", answers])
    assert f"4 graded, {correct} correct, {4 - correct} no_answer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "gold"), [([], "-1./3"), (["--normaliser", "minerva"], "-1/3")]
)
def test_golds_are_as_samples_hold_them_unless_a_normaliser_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], gold: str
) -> None:
    graded: list[str] = []

    def grade(_: Grader, pairs: list[tuple[str, str]], on_done: object) -> list[Grade]:
        graded.extend(gold for gold, _ in pairs)
        return [Grade(True, "ok", "5")]

    monkeypatch.setattr(Grader, "grade", grade)
    samples = write(tmp_path / "samples.jsonl", [row(0, "-1./3", boxed("5"))])
    files = ["--samples", str(samples), "--out", str(tmp_path / "grades.jsonl")]
    main([*files, *options])
    assert graded == [gold]


def test_a_task_takes_no_normaliser(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--samples", "x", "--out", str(tmp_path / "grades.jsonl")]
    with pytest.raises(SystemExit) as left:
        main([*files, "--config", "x.yaml", "--normaliser", "minerva"])
    assert left.value.code == 2
    assert "--normaliser has no use beside --config" in capsys.readouterr().err


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
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpo.evals.grading.pool.subprocess.Popen", None)  # no worker may start
    samples = write(tmp_path / "samples.jsonl", [row(0, "1/2", boxed("0.5")), line])
    with pytest.raises(SystemExit, match="2"):
        main(["--samples", str(samples), "--out", str(tmp_path / "out")])
    message = capsys.readouterr().err
    assert f"{samples}, line 2" in message
    assert BAD_LINES[line] in message
    assert message.count("\n") == 1
    assert visible(tmp_path) == [samples]


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--samples", str(tmp_path / "no"), "--out", str(tmp_path / "out")])
    assert "cannot be read" in capsys.readouterr().err


def test_help_says_what_is_read_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "Reads --samples" in text
    assert "Writes --out" in text


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


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


def test_grading_is_told_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    class StopHereError(Exception):
        pass

    def grader(**settings: object) -> None:
        asked.update(settings)
        raise StopHereError

    monkeypatch.setattr(grade_command, "Grader", grader)
    (tmp_path / "samples.jsonl").write_text("")
    files = ["--samples", str(tmp_path / "samples.jsonl"), "--out", str(tmp_path / "grades.jsonl")]
    limits = ["--workers", "3", "--timeout-s", "1.5", "--memory-mb", "777"]
    with pytest.raises(StopHereError):
        main([*files, *limits, "--answers", "boxed-or-hashes", "--rule", "math_verify"])
    assert asked == {
        "workers": 3,
        "timeout_s": 1.5,
        "memory_mb": 777,
        "answers": "boxed-or-hashes",
        "rule": "math_verify",
        "beside": True,
    }
