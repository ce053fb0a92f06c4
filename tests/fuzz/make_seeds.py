"""Writes the seed corpora: corpus/<topic>/. Needs only Python and the files of tests/golden/model.

usage: make_seeds.py
"""
import collections, io, json, os, pathlib, pickle, zipfile

here = pathlib.Path(__file__).parent
golden = here.parent / "golden" / "model"


def put(topic, name, data):
    folder = here / "corpus" / topic
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


class Hostile:
    def __reduce__(self):
        return (os.system, ("true",))


def safetensors(header, data=b"", claim=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if claim is None else claim).to_bytes(8, "little") + text + data


entry = lambda a, b, shape=(1,), dtype="F32": {"dtype": dtype, "shape": list(shape), "data_offsets": [a, b]}
put("safetensors", "plain", (golden / "plain.safetensors").read_bytes())
put("safetensors", "overlap", safetensors({"a": entry(0, 4), "b": entry(0, 4)}, b"1234"))
put("safetensors", "hole", safetensors({"a": entry(0, 4), "b": entry(8, 12)}, b"123412341234"))
put("safetensors", "huge", safetensors({"a": entry(0, 4, (2**31, 2**33))}, b"1234"))
put("safetensors", "lying", safetensors(b"{", claim=2**64 - 1))
put("safetensors", "deep", safetensors(b"[" * 3000))
put("safetensors", "empty", b"")

for protocol in (2, 3, 4, 5):
    put("pickle", f"values-{protocol}", pickle.dumps({"a": [1, -2, 2**40, 2**80, 1.5, None, True], "state_dict": collections.OrderedDict(b="x"), "t": (1, (2,), ()), "y": b"z" * 300}, protocol))
    put("pickle", f"hostile-{protocol}", pickle.dumps(Hostile(), protocol))
cycle = {}
cycle["state_dict"] = cycle
put("pickle", "cycle", pickle.dumps(cycle, 2))
put("pickle", "deep", b"]" * 5000 + b"a" * 4999 + b".")
put("pickle", "memo", b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (i - 1, i - 1, i) for i in range(1, 100)) + b".")
for name in ("plain.bin", "lightning.ckpt"):
    archive = zipfile.ZipFile(golden / name)
    inner = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
    put("pickle", name, archive.read(inner))
    put("torch_bin", name, (golden / name).read_bytes())
put("torch_bin", "legacy", (golden / "legacy.bin").read_bytes())


def torch_zip(data, **options):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as z:
        z.writestr("x/data.pkl", data)
        z.writestr("x/byteorder", "little")
        z.writestr("x/data/0", bytes(24))
    return out.getvalue()


put("torch_bin", "hostile", torch_zip(pickle.dumps({"a": Hostile()}, 2)))
put("torch_bin", "deflated", torch_zip(b"}.", compression=zipfile.ZIP_DEFLATED))
for name in ("gemma3.gguf", "llama.gguf"):
    data = (golden / name).read_bytes()
    put("gguf", name, data if len(data) < 5000 else data[:3000])
put("gguf", "keys", b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (2**60).to_bytes(8, "little"))
put("config", "bart", json.dumps({"model_type": "bart", "num_beams": 4, "pad_token_id": None, "decoder": {"model_type": "t5", "eos_token_id": [1, 2]}}).encode())
put("config", "deep", b'{"a":' * 100)
put("config", "reference", b"hf://org/name@refs/pr/1/a/b.gguf")
put("config", "path", b"file:///a/../b")
