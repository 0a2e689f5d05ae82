"""Stored results in a folder, at an address, and on a hub: a small server stands for both."""

import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from tests.evals.sharing.halves import compared, halves, refused
from tests.evals.sharing.uploads import TOKEN

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder, and, as of the data set me/results, the same by the hub's rules."""

    def do_GET(self) -> None:
        root = Path(self.directory)
        kept = [*(root / "kept").glob("*")]
        if self.path.startswith("/api/datasets/me/results/tree/"):
            self.answer(
                [
                    {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": f.name}
                    for f in kept
                ]
            )
        elif self.path.startswith("/api/datasets/me/results/revision/"):
            files = [{"rfilename": path.name} for path in kept]
            self.answer({"id": "me/results", "sha": COMMIT, "siblings": files})
        elif self.path.startswith("/api/"):
            self.send_response(401)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
        else:
            super().do_GET()

    def answer(self, content: object) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def translate_path(self, path: str) -> str:
        return super().translate_path(
            path.replace(f"/datasets/me/results/resolve/{COMMIT}", "/kept")
        )

    def end_headers(self) -> None:
        if "/resolve/" in self.path:
            self.send_header("ETag", f'"{Path(self.path).name}"')
            self.send_header("X-Repo-Commit", COMMIT)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a server that has what lies in `root`."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def body(text: str) -> str:
    """What is printed, without the names of places."""
    lines = text.splitlines()
    return "\n".join(
        line for line in lines if " beside " not in line and "called stored" not in line
    )


@pytest.mark.parametrize("end", ["", "/", "/table1.csv"])
def test_an_address(root: Path, capsys: pytest.CaptureFixture[str], address: str, end: str) -> None:
    mine, theirs = halves(root)
    text = compared(capsys, mine, f"{address}/kept{end}")
    assert text.splitlines()[0] == f"# {mine} beside {address}/kept{end}"
    assert body(text) == body(compared(capsys, mine, theirs))


def test_an_address_without_scores(
    root: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    mine, theirs = halves(root)
    (theirs / "scores.csv").unlink()
    assert "No differences: " in compared(capsys, mine, f"{address}/kept")


def test_an_address_where_nothing_is(
    root: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    mine, _ = halves(root)
    told = refused(capsys, mine, f"{address}/nothing")
    assert told == f"error: {address}/nothing/table1.csv: 404 File not found\n"
    nowhere = "http://127.0.0.1:1/x"
    assert f"error: {nowhere}/table1.csv cannot be had: " in refused(capsys, mine, nowhere)


@pytest.fixture
def hub(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("revision", ["", "@v1"])
def test_a_data_set_of_the_hub(
    root: Path, capsys: pytest.CaptureFixture[str], revision: str
) -> None:
    mine, theirs = halves(root)
    text = compared(capsys, mine, f"me/results{revision}")
    assert text.splitlines()[0] == f"# {mine} beside me/results@{COMMIT[:12]}"
    assert body(text) == body(compared(capsys, mine, theirs))
    assert TOKEN not in text


@pytest.mark.usefixtures("hub")
def test_a_data_set_that_is_not_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, _ = halves(root)
    told = refused(capsys, mine, "me/nothing")
    assert told.startswith("error: me/nothing: no such folder here, nor such a data set: ")
    assert TOKEN not in told


def test_what_is_no_place(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, _ = halves(root)
    for place in ("results/reference/tinny", "kept/table1.csv", "tiny"):
        told = refused(capsys, mine, place)
        assert told.startswith(
            f"error: {place}: neither a folder or table that is here, nor an add"
        )
