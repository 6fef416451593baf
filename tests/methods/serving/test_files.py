"""What is made on disk for the engines; stand-ins for llama.cpp's converters write down what they were asked."""

import json
import sys
from pathlib import Path

import pytest
import torch
from gonogo.methods.run import NotObservable
from gonogo.methods.serving import files, models_of
from gonogo.methods.serving.contract import Deployment
from gonogo.methods.serving.llama_cpp import LlamaCpp
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.methods.drawn_adapters import adapters

CONVERTER = "import sys\nfrom pathlib import Path\nwords = sys.argv[1:]\nPath(words[words.index('--outfile') + 1]).write_text(' '.join(words))\n"


@pytest.fixture
def runs(tmp_path, llama, data):
    (tmp_path / "runs").mkdir()
    return adapters(tmp_path / "runs", llama, data, 2, {})


@pytest.fixture
def scripts(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name in ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py"):
        (folder / name).write_text(CONVERTER)
    return folder


def test_a_merged_folder_is_the_merged_model_with_its_tokenizer(runs, llama, tmp_path):
    deployment = Deployment(llama, merged=runs[0].artifact)
    folder = files.merged_folder(deployment, tmp_path / "scratch")
    ids = torch.tensor([[2, 9, 10, 11]])
    seen = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
    assert torch.equal(seen, models_of.load(deployment)(ids).logits)
    assert not torch.allclose(seen, models_of.base(deployment)(ids).logits, atol=1e-2)
    assert (
        AutoTokenizer.from_pretrained(folder).get_vocab()
        == AutoTokenizer.from_pretrained(llama).get_vocab()
    )


def test_a_file_is_converted_once_for_the_same_weights_and_anew_for_others(
    runs, llama, scripts, tmp_path
):
    def converted(run):
        return files.gguf_adapter(sys.executable, scripts, llama, run.artifact, tmp_path, "f32")

    first, again, other = converted(runs[0]), converted(runs[0]), converted(runs[1])
    assert first == again != other
    assert str(runs[0].artifact) in first.read_text()
    assert str(runs[1].artifact) in other.read_text()
    (scripts / "convert_lora_to_gguf.py").unlink()
    assert converted(runs[0]) == first


def test_a_missing_or_failing_converter_is_not_observable(runs, llama, tmp_path):
    with pytest.raises(NotObservable, match="no converter"):
        files.gguf_model(sys.executable, tmp_path, llama, tmp_path, "f32")
    (tmp_path / "convert_hf_to_gguf.py").write_text("raise SystemExit('no such architecture')")
    with pytest.raises(NotObservable, match="no such architecture"):
        files.gguf_model(sys.executable, tmp_path, llama, tmp_path, "f32")
    assert not list(tmp_path.glob("*.gguf"))


def config(server):
    return json.loads(Path(server.command()[-1]).read_text())["models"]


def test_llama_cpp_gets_an_alias_with_its_adapter_for_each_name(runs, llama, scripts, tmp_path):
    held = {"x": runs[0].artifact, "y": runs[1].artifact}
    options = {"python": sys.executable, "scripts": str(scripts), "scratch": tmp_path / "scratch"}
    models = config(LlamaCpp(Deployment(llama, held), **options))
    assert [model["model_alias"] for model in models] == ["base", "x", "y"]
    assert "lora_path" not in models[0]
    assert [
        str(held[m["model_alias"]]) in Path(m["lora_path"]).read_text() for m in models[1:]
    ] == [True, True]
    assert len({model["model"] for model in models}) == 1


def test_llama_cpp_gets_one_alias_without_adapter_for_a_merged_model(
    runs, llama, scripts, tmp_path
):
    options = {"python": sys.executable, "scripts": str(scripts), "scratch": tmp_path / "scratch"}
    (model,) = config(LlamaCpp(Deployment(llama, merged=runs[0].artifact), **options))
    assert model["model_alias"] == "merged"
    assert "lora_path" not in model
    assert str(tmp_path / "scratch/merged") in Path(model["model"]).read_text()
