"""The engines of other environments, against fake_server.py in their place."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gonogo.methods.run import NotObservable
from gonogo.methods.serving import engine, http_server
from gonogo.methods.serving.contract import Deployment, Request, UnknownAdapter
from gonogo.methods.serving.http_server import Refused
from gonogo.methods.serving.llama_cpp import LlamaCpp
from gonogo.methods.serving.ollama import Ollama
from gonogo.methods.serving.vllm import Vllm

FAKE = Path(__file__).parents[1] / "fake_server.py"
LONG, LONGER = (8, 9, 10), (8, 9, 10, 11)


def fake(names):
    return lambda self: [sys.executable, str(FAKE), str(self.port), names]


@pytest.fixture(params=[Vllm, LlamaCpp], ids=["vllm", "llama.cpp"])
def server(request, llama, tmp_path, monkeypatch):
    monkeypatch.setattr(request.param, "command", fake("base,x,y"))
    deployment = Deployment(llama, {"x": tmp_path, "y": tmp_path})
    with request.param(deployment, python=sys.executable) as server:
        yield server


def test_each_request_is_answered_by_the_adapter_it_names_with_its_own_times(server):
    asked = [Request(LONG, "x"), Request(LONGER, "y"), Request(LONG, "base")]
    begun = time.perf_counter()
    seen = server.serve(asked, 4)
    elapsed = time.perf_counter() - begun
    assert [answer.tokens for answer in seen] == [(11, 9, 8, 11), (12, 10, 8, 12), (11, 8, 8, 11)]
    assert [answer.generated for answer in seen] == [4, 4, 4]
    assert all(0 < answer.first_token_s < answer.latency_s < elapsed for answer in seen)
    assert sum(answer.latency_s for answer in seen) > elapsed, (
        "the requests were handed over one after the other"
    )


def test_an_adapter_that_is_not_served_never_reaches_a_server_that_would_answer_as_the_base(server):
    with pytest.raises(UnknownAdapter, match="'z'"):
        server.serve([Request(LONG, "x"), Request(LONG, "z")], 2)


def test_a_refusal_is_an_error_with_the_servers_words(server):
    with pytest.raises(Refused, match=r"400.*too short"):
        server.serve([Request((8,), "x")], 2)


def test_what_the_server_holds_is_asked_of_the_server(server):
    assert server.holds() == ["x", "y"]
    assert server.memory().peak >= server.memory().rss > 5e6


def test_the_server_and_its_scratch_are_gone_after_its_stop(server):
    group, scratch = server.pid, server.scratch
    assert (scratch / "server.log").is_file()
    server.stop()
    assert not scratch.exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    server.stop()


def test_the_server_ends_with_a_measuring_process_that_is_killed(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(Vllm, "command", fake("base"))
    note = tmp_path / "pid"
    child = os.fork()
    if not child:
        with Vllm(Deployment(llama), python=sys.executable, scratch=tmp_path) as server:
            note.write_text(str(server.pid))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    for _ in range(100):
        if (
            not Path(f"/proc/{note.read_text()}").exists()
            or "zombie" in Path(f"/proc/{note.read_text()}/status").read_text()
        ):
            return
        time.sleep(0.02)
    pytest.fail("the server outlived the process that had started it")


def test_a_server_that_does_not_list_an_adapter_is_not_measured(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(Vllm, "command", fake("base,x"))
    with (
        pytest.raises(NotObservable, match="does not list y"),
        Vllm(Deployment(llama, {"x": tmp_path, "y": tmp_path}), python=sys.executable),
    ):
        pass


def test_a_server_that_ends_at_once_says_why(llama, monkeypatch):
    monkeypatch.setattr(
        Vllm, "command", lambda self: [sys.executable, "-c", "raise SystemExit('no such device')"]
    )
    with (
        pytest.raises(NotObservable, match="no such device"),
        Vllm(Deployment(llama), python=sys.executable),
    ):
        pass


def test_the_name_says_which_version_serves(llama, monkeypatch):
    monkeypatch.setattr(Vllm, "command", fake("base"))
    monkeypatch.setattr(Vllm, "packages", ("no-such-package", "pytest"))
    with Vllm(Deployment(llama), python=sys.executable) as server:
        assert server.name == f"vllm (pytest {pytest.__version__})"


@pytest.mark.parametrize("name", ["vllm", "llama.cpp"])
def test_without_its_own_environment_an_engine_is_not_observable(llama, name):
    with (
        pytest.raises(NotObservable, match="own environment"),
        engine(name)(Deployment(llama), python="/no/python"),
    ):
        pass


def test_llama_cpp_refuses_a_prompt_that_the_server_reads_as_other_tokens(llama, monkeypatch):
    monkeypatch.setattr(LlamaCpp, "command", fake("base"))
    with (
        LlamaCpp(Deployment(llama), python=sys.executable) as server,
        pytest.raises(NotObservable, match="other token ids"),
    ):
        server.serve([Request((8, 21), "base")], 2)


def test_special_tokens_are_not_to_be_seen_in_a_text(llama):
    assert LlamaCpp(Deployment(llama), python=sys.executable).visible((8, 3, 9, 2)) == (8, 9)
    assert Vllm(Deployment(llama), python=sys.executable).visible((8, 3, 9, 2)) == (8, 3, 9, 2)


def test_llama_cpp_generates_and_does_not_classify(llama):
    with (
        pytest.raises(NotObservable, match="transformers"),
        LlamaCpp(Deployment(llama, task="classification"), python=sys.executable),
    ):
        pass


def test_vllm_is_told_its_adapters_and_their_rank(llama, tmp_path):
    for name, rank in (("x", 4), ("y", 16)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(
            f'{{"r": {rank}, "rank_pattern": {{}}}}'
        )
    words = Vllm(
        Deployment(llama, {"x": tmp_path / "x", "y": tmp_path / "y"}), python=sys.executable
    ).command()
    assert words[words.index("--max-lora-rank") + 1] == "16"
    assert words[words.index("--lora-modules") + 1 :][:2] == [
        f"x={tmp_path / 'x'}",
        f"y={tmp_path / 'y'}",
    ]
    assert "--enable-lora" not in Vllm(Deployment(llama), python=sys.executable).command()


@pytest.fixture
def ollama():
    port = http_server.free_port()
    process = subprocess.Popen([sys.executable, str(FAKE), str(port), "my-base,my-x"])
    for _ in range(100):
        try:
            http_server.asked(port, "GET", "/api/tags")
            break
        except OSError:
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def test_ollama_asks_the_model_created_for_the_adapter(llama, tmp_path, ollama):
    models = {"base": "my-base", "x": "my-x"}
    with Ollama(Deployment(llama, {"x": tmp_path}), url=ollama, models=models) as server:
        seen = server.serve([Request(LONG, "x"), Request(LONG, "base")], 3)
        assert [a.tokens for a in seen] == [(11, 9, 8), (11, 8, 8)]
        assert [a.generated for a in seen] == [4, 4], (
            "the server's own count, which the text does not show"
        )
        with pytest.raises(UnknownAdapter):
            server.serve([Request(LONG, "y")], 3)
        with pytest.raises(NotObservable, match="other prompts"):
            server.serve([Request((8, 21), "x")], 3)


def test_ollama_without_the_adapters_model_or_without_a_server_is_not_observable(
    llama, tmp_path, ollama
):
    with (
        pytest.raises(NotObservable, match="no model for 'x'"),
        Ollama(Deployment(llama, {"x": tmp_path}), url=ollama, models={"base": "my-base"}),
    ):
        pass
    port = http_server.free_port()
    with (
        pytest.raises(NotObservable, match=f"no Ollama server at 127.0.0.1:{port}"),
        Ollama(Deployment(llama), url=f"http://127.0.0.1:{port}"),
    ):
        pass
