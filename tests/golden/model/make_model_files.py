"""Writes the small model files that tests/unit/model reads, and what they hold. Needs torch, safetensors, gguf, transformers.

usage: make_model_files.py [DIR]      (default: the directory of this script)

expected.json: per file, per tensor: [dtype, shape, sha256 of its bytes in row-major order].
generation_defaults.json: per case: a config.json, and what transformers' GenerationConfig.from_model_config makes of it.
"""
import collections, hashlib, json, pathlib, sys, warnings
import numpy as np, torch, gguf, transformers
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
names = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.int8: "i8", torch.int32: "i32", torch.int64: "i64"}


def tensor_bytes(t):
    t = t.detach().contiguous()
    return t.view(torch.uint8).numpy().tobytes() if t.dim() else t.reshape(1).view(torch.uint8).numpy().tobytes()


def describe(tensors):
    return {k: [names[t.dtype], list(t.shape), hashlib.sha256(tensor_bytes(t)).hexdigest()] for k, t in tensors.items() if t.dtype in names}


base = torch.randn(6, 4)
plain = {
    "embed.weight": torch.randn(7, 4),
    "half": torch.randn(3, 5).half(),
    "brain": torch.randn(2, 3, 2).bfloat16(),
    "ids": torch.arange(5),
    "small": torch.arange(-4, 4, dtype=torch.int8),
    "ints": torch.arange(3, dtype=torch.int32),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
}
expected = {}

save_file(plain, out / "plain.safetensors", metadata={"format": "pt"})
expected["plain.safetensors"] = describe(plain)

torch_only = collections.OrderedDict(plain)
torch_only["lm_head.weight"] = torch_only["embed.weight"]  # tied: one storage
torch_only["rows"] = base[2:5]  # a part of a storage
torch_only["transposed"] = base.t()  # not contiguous
torch_only["column"] = base[:, 1]
torch_only["parameter"] = torch.nn.Parameter(torch.randn(2, 2))
torch_only["mask"] = torch.ones(2, 2, dtype=torch.bool)  # a dtype that is not readable
torch_only["double"] = torch.ones(2, dtype=torch.float64)
torch_only["rank5"] = torch.zeros(1, 1, 1, 1, 2)
torch_only._metadata = collections.OrderedDict({"": {"version": 1}})
torch.save(torch_only, out / "plain.bin")
expected["plain.bin"] = describe({k: t for k, t in torch_only.items() if t.dim() < 5})

torch.save(torch_only, out / "legacy.bin", _use_new_zipfile_serialization=False)
torch.save({"epoch": 3, "global_step": 2**70, "pytorch-lightning_version": "1.6.0", "loss": 0.25, "hyper_parameters": {"nr": [1, (2, 3)], "on": True, "none": None},
            "callbacks": {"x": {"best": torch.tensor(1.0)}}, "optimizer_states": [{"state": {0: {"step": torch.tensor(3)}}}], "state_dict": torch_only}, out / "lightning.ckpt")
expected["lightning.ckpt"] = expected["plain.bin"]


def gguf_file(name, arch, write):
    w = gguf.GGUFWriter(str(out / name), arch)
    kept = {}

    def add(tensor_name, array, kind=gguf.GGMLQuantizationType.F32):
        data = array if kind == gguf.GGMLQuantizationType.F32 else gguf.quants.quantize(array, kind)
        w.add_tensor(tensor_name, data, raw_dtype=kind)
        kept[tensor_name] = [kind.name.lower(), list(array.shape), hashlib.sha256(data.tobytes()).hexdigest()]

    write(w, add)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    expected[name] = kept


def random(*shape):
    return torch.randn(*shape).numpy().astype(np.float32)


def llama(w, add):
    Q = gguf.GGMLQuantizationType
    w.add_context_length(64), w.add_embedding_length(64), w.add_block_count(1), w.add_feed_forward_length(96)
    w.add_head_count(4), w.add_head_count_kv(2), w.add_layer_norm_rms_eps(1e-5), w.add_rope_freq_base(500000.0), w.add_rope_dimension_count(16)
    w.add_tokenizer_model("llama"), w.add_token_list(["<unk>", "<s>", "</s>", "<|im_end|>", "a"]), w.add_token_scores([0.0, 0.0, 0.0, 0.0, -1.5])
    w.add_token_types([2, 3, 3, 3, 1]), w.add_bos_token_id(1), w.add_eos_token_id(2), w.add_add_bos_token(True)
    add("token_embd.weight", random(5, 64), Q.Q8_0)
    add("rope_freqs.weight", np.array([1.0] * 6 + [4.0, 8.0], dtype=np.float32))
    add("output_norm.weight", random(64))
    add("output.weight", random(5, 64), Q.F16)
    for part, shape, kind in [("attn_q", (64, 64), Q.Q4_0), ("attn_k", (32, 64), Q.Q5_0), ("attn_v", (32, 64), Q.BF16), ("attn_output", (64, 64), Q.F32), ("ffn_gate", (96, 64), Q.Q8_0), ("ffn_up", (96, 64), Q.Q8_0), ("ffn_down", (64, 96), Q.Q4_0)]:
        add(f"blk.0.{part}.weight", random(*shape), kind)
    add("blk.0.attn_norm.weight", random(64)), add("blk.0.ffn_norm.weight", random(64))


def gemma3(w, add):
    w.add_context_length(128), w.add_embedding_length(32), w.add_block_count(7), w.add_feed_forward_length(32)
    w.add_head_count(2), w.add_head_count_kv(1), w.add_key_length(16), w.add_value_length(16), w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(1000000.0), w.add_sliding_window(8), w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR), w.add_rope_scaling_factor(8.0)
    w.add_bos_token_id(2), w.add_eos_token_id(1), w.add_pad_token_id(0)
    add("token_embd.weight", random(4, 32)), add("output_norm.weight", random(32))
    for n in ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"]:
        add(f"blk.0.{n}.weight", random(32))
    add("blk.0.attn_q_norm.weight", random(16))


gguf_file("llama.gguf", "llama", llama)
gguf_file("gemma3.gguf", "gemma3", gemma3)
(out / "expected.json").write_text(json.dumps(expected, indent=0, sort_keys=True) + "\n")

defaults = {k: v for k, v in transformers.GenerationConfig().to_dict().items() if v is not None and not k.startswith("_") and k != "transformers_version"}
cases = []
types = "bart mbart t5 mt5 led pegasus marian m2m_100 llama mistral qwen2 qwen3 gemma2 gemma3_text phi3 gpt2 bert roberta xlm-roberta deberta-v2".split()
changes = [{}, {"num_beams": 4, "max_length": 142, "early_stopping": True, "length_penalty": 2.0, "num_beam_groups": 1, "d_model": 16, "task_specific_params": {"summarization": {"num_beams": 9}}},
           {"eos_token_id": 5, "pad_token_id": None, "forced_eos_token_id": None, "forced_bos_token_id": 3}, {"eos_token_id": [1, 2], "do_sample": True, "temperature": 0.7, "bad_words_ids": [[4]]}]
for kind in types:
    for change in changes:
        if kind == "gemma3_text" and "d_model" in change:
            continue
        got = transformers.GenerationConfig.from_model_config(transformers.AutoConfig.for_model(kind, **change)).to_diff_dict()
        got = {k: v for k, v in got.items() if not k.startswith("_") and k != "transformers_version" and v is not None}
        cases.append({"config": {"model_type": kind, **change}, "expected": got})
(out / "generation_defaults.json").write_text(json.dumps({"transformers_defaults": defaults, "cases": cases}, indent=0, sort_keys=True) + "\n")
