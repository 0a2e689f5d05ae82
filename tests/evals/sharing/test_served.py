"""An exported model behind vLLM's server gives the log-probs that it has in transformers."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from kpo import export
from tests.patience import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed"),
]
PROBLEM = "12+3=?\n"
ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def ask(address: str, **question: Any) -> Any:
    body = json.dumps(question).encode() if question else None
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def answers(address: str) -> bool:
    try:
        return bool(ask(address))
    except OSError:
        return False


@contextmanager
def served(model: Path) -> Iterator[str]:
    """The address of a server; `vllm serve` is this module, but the CPU build lacks the command."""
    port = free_port()
    options = f"--dtype float32 --generation-config vllm --enforce-eager --port {port}".split()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    log = model.with_suffix(".log")
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, *options, "--host", "127.0.0.1", "--served-model-name", "policy"],
            env={**ON_CPU, **os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdout=output,
            stderr=output,
        )
    address = f"http://127.0.0.1:{port}/v1"
    try:
        until(lambda: answers(f"{address}/models"), lambda: server.poll() is None)
        yield address
    finally:
        server.terminate()
        server.wait()


def test_a_server_gives_the_models_own_tokens(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    export.main([str(trained), "--out", str(folder)])
    with served(folder) as address:
        asked = {"model": "policy", "prompt": PROBLEM, "max_tokens": 6, "temperature": 0}
        answer = ask(f"{address}/completions", **asked, logprobs=0, return_token_ids=True)
    (choice,) = answer["choices"]

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    ids = AutoTokenizer.from_pretrained(folder)(PROBLEM, return_tensors="pt")["input_ids"]
    response = torch.tensor(choice["token_ids"])
    whole = torch.cat([ids[0], response])[None]
    logprobs = model(input_ids=whole).logits[0, ids.shape[1] - 1 : -1].log_softmax(-1)
    assert response.tolist() == logprobs.argmax(-1).tolist()
    given = torch.tensor(choice["logprobs"]["token_logprobs"])
    assert torch.allclose(given, logprobs.max(-1).values, atol=1e-4)
