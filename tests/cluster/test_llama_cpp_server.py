"""Lumigrid against llama.cpp's own server, with a toy model; where the packages llama-cpp-python[server] and gguf are installed."""
import contextlib
import importlib.util
import subprocess
import sys

import pytest
import requests
from cluster import Cluster, Process, free_port, rows, wait_for

NEEDED = ("llama_cpp", "gguf", "numpy", "uvicorn", "starlette_context", "pydantic_settings")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


def write_toy(path):
    """A random llama of one layer whose vocabulary is the bytes."""
    import gguf
    import numpy as np

    width, inner = 64, 128
    tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % i for i in range(256)]
    draw = np.random.default_rng(0)
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(512)
    w.add_embedding_length(width)
    w.add_block_count(1)
    w.add_feed_forward_length(inner)
    w.add_head_count(4)
    w.add_head_count_kv(4)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(width // 4)
    w.add_vocab_size(len(tokens))
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_scores([0.0] * len(tokens))
    w.add_token_types([2, 3, 3] + [6] * 256)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    shapes = {"token_embd": (len(tokens), width), "output": (len(tokens), width), "blk.0.ffn_gate": (inner, width), "blk.0.ffn_up": (inner, width),
              "blk.0.ffn_down": (width, inner), **{f"blk.0.attn_{n}": (width, width) for n in ("q", "k", "v", "output")}}
    for name, shape in shapes.items():
        w.add_tensor(f"{name}.weight", (draw.standard_normal(shape) * 0.1).astype(np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        w.add_tensor(f"{name}.weight", np.ones(width, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


@pytest.mark.skipif(bool(MISSING), reason=f"llama.cpp's server is not installed (missing: {', '.join(MISSING)})")
def test_llama_cpps_server_answers_every_sample(tmp_path):
    write_toy(tmp_path / "toy.gguf")
    port = free_port()
    server = Process("llama.cpp", [sys.executable, "-m", "llama_cpp.server", "--model", tmp_path / "toy.gguf", "--port", port, "--chat_format", "chatml",
                                   "--n_ctx", 512], tmp_path / "server.log", cwd=tmp_path)
    c = Cluster()
    try:
        def serves():
            assert server.alive(), server.text()
            with contextlib.suppress(requests.RequestException):
                return requests.get(f"http://127.0.0.1:{port}/v1/models", timeout=5).ok
        wait_for("llama.cpp's server", serves)
        id = c.submit(c.dataset(rows(3, 5)), f"http://127.0.0.1:{port}/v1#toy", generation_config={"max_new_tokens": 8})
        experiment = c.wait_done(id)
        assert experiment["status"] == "succeeded", experiment
        assert c.postgres.query(f"SELECT count(*) FROM result WHERE job_id = '{id}' AND error_code IS NULL AND prompt_tokens > 100 AND new_tokens > 0") == "3"
    finally:
        c.close()
        server.kill()
