"""What engines read from disk: a merged model as a folder, and base, merged model and adapters as GGUF."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from gonogo.methods.run import NotObservable
from gonogo.methods.serving.contract import Deployment

TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "vocab.*",
    "merges.txt",
    "*.jinja",
    "generation_config.json",
)


def merged_folder(deployment: Deployment, scratch: Path) -> Path:
    """The adapter folded into the base, as a model folder with the base's tokenizer."""
    from gonogo.methods.serving.models_of import load

    folder = scratch / "merged"
    if not (folder / "config.json").is_file():
        load(deployment).save_pretrained(str(folder))  # type: ignore[operator]
        for pattern in TOKENIZER:
            for file in deployment.base.glob(pattern):
                shutil.copy(file, folder)
    return folder


def rank(folder: Path) -> int:
    """The largest rank in the adapter, not below 8: vLLM knows no smaller table."""
    config = json.loads((Path(folder) / "adapter_config.json").read_text("utf-8"))
    return max(8, int(config["r"]), *map(int, config.get("rank_pattern", {}).values()))


def gguf_model(python: str, scripts: Path, model: Path, home: Path, kind: str) -> Path:
    """The model folder as a GGUF file in `home`, converted once; kind: "f32" or "bf16"."""
    file = home / f"model-{digest(model)}-{kind}.gguf"
    return _converted(
        python, scripts / "convert_hf_to_gguf.py", [str(model), "--outtype", kind], file
    )


def gguf_adapter(
    python: str, scripts: Path, base: Path, adapter: Path, home: Path, kind: str
) -> Path:
    file = home / f"adapter-{digest(adapter)}-{kind}.gguf"
    return _converted(
        python,
        scripts / "convert_lora_to_gguf.py",
        ["--base", str(base), str(adapter), "--outtype", kind],
        file,
    )


def digest(folder: Path) -> str:
    """Of the weights and the configuration in the folder."""
    whole = hashlib.sha256()
    for file in sorted([*Path(folder).glob("*.safetensors"), *Path(folder).glob("*config.json")]):
        with file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:16]


def _converted(python: str, script: Path, arguments: list[str], file: Path) -> Path:
    if file.is_file():
        return file
    if not script.is_file():
        raise NotObservable(
            f"no converter {script}; unpack the source of llama-cpp-python and name its vendor/llama.cpp folder"
        )
    partial = file.with_name(f".{file.name}")
    done = subprocess.run(
        [python, str(script), *arguments, "--outfile", str(partial)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotObservable(f"{script.name} failed: {done.stderr.strip()[-300:]}")
    partial.rename(file)
    return file
