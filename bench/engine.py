#!/usr/bin/env python3
"""The engine at BART-large-CNN's true shape (random weights, 4 samples of 512 tokens, 64 new, 4 beams), beside its peers.

usage: engine [--runs N] [--threads N] [--peers PYTHON]

Prints one JSON line last: seconds of `lumigrid-worker bench` for float32 and int8 (medians), and, where PYTHON (default:
this one) can import them, of CTranslate2 and transformers on the same weights, taken in turns with ours in one run.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

WORKER = pathlib.Path("@PROJECT_BINARY_DIR@/worker/lumigrid-worker")
TOKENS, NEW, BATCH, BEAMS = 512, 64, 4, 4

# Runs in PYTHON: makes the model once, then times one peer a line of standard input.
PEERS = f"""
import json, pathlib, random, sys, time
directory, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
import torch, ctranslate2
from transformers import BartConfig, BartForConditionalGeneration
torch.manual_seed(0); torch.set_num_threads(threads)
config = BartConfig(vocab_size=50264, d_model=1024, encoder_layers=12, decoder_layers=12, encoder_ffn_dim=4096, decoder_ffn_dim=4096,
                    encoder_attention_heads=16, decoder_attention_heads=16, max_position_embeddings=1024, dropout=0.0,
                    normalize_before=False, normalize_embedding=True, add_final_layer_norm=False, scale_embedding=False)
model = BartForConditionalGeneration(config).eval()
model.generation_config.forced_eos_token_id = None
model.save_pretrained(directory)
names = {{n: i for i, n in enumerate(["<s>", "<pad>", "</s>", "<unk>"])}}
names.update({{f"w{{i}}": i for i in range(4, 50263)}}); names["<mask>"] = 50263
(directory/"vocab.json").write_text(json.dumps(names)); (directory/"merges.txt").write_text("#version: 0.2\\n")
(directory/"tokenizer_config.json").write_text('{{"tokenizer_class": "BartTokenizer"}}')
for kind in ("float32", "int8"):
    ctranslate2.converters.TransformersConverter(str(directory)).convert(str(directory/("ct2-" + kind)), quantization=kind)
r = random.Random(0)
ids = [[0] + [r.randrange(4, 50000) for _ in range({TOKENS} - 2)] + [2] for _ in range({BATCH})]
texts = [["<s>"] + [f"w{{i}}" for i in row[1:-1]] + ["</s>"] for row in ids]
print("ready", flush=True)
for line in sys.stdin:
    kind = line.strip()
    if kind == "transformers":
        start = time.time()
        with torch.inference_mode():
            model.generate(torch.tensor(ids), num_beams={BEAMS}, min_new_tokens={NEW}, max_new_tokens={NEW}, do_sample=False)
    else:
        translator = ctranslate2.Translator(str(directory/("ct2-" + kind)), device="cpu", inter_threads=1, intra_threads=threads, compute_type=kind)
        translator.translate_batch(texts[:1], beam_size=1, max_decoding_length=4)
        start = time.time()
        translator.translate_batch(texts, beam_size={BEAMS}, min_decoding_length={NEW}, max_decoding_length={NEW}, max_batch_size=0)
    print(time.time() - start, flush=True)
"""


class Peers:
    """A Python with the peers in it, or nothing when it cannot import them."""

    def __init__(self, python, directory, threads):
        self.process = None
        probe = subprocess.run([python, "-c", "import torch, transformers, ctranslate2"], capture_output=True)
        if probe.returncode == 0:
            self.process = subprocess.Popen([python, "-c", PEERS, directory, str(threads)], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True)
            while self.process.stdout.readline().strip() != "ready":
                if self.process.poll() is not None:
                    raise SystemExit("the peers' process ended early; run without --peers to leave them out")

    def seconds(self, kind):
        self.process.stdin.write(kind + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def bench(model, dtype, threads):
    command = [WORKER, "bench", *model, "--input-tokens", TOKENS, "--new-tokens", NEW, "--batch", BATCH, "--beams", BEAMS,
               "--threads", threads, "--dtype", dtype]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"lumigrid-worker bench: {done.stderr.strip()}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lumigrid-bench-") as directory:
        peers = Peers(options.peers, directory, options.threads)
        model = ["--model", f"file://{directory}"] if peers.process else ["--shape", "bart-large"]
        times = {}
        for _ in range(options.runs):
            for dtype, peer in (("f32", "float32"), ("int8", "int8")):
                own = bench(model, dtype, options.threads)
                times.setdefault(f"{dtype}_s", []).append(own["seconds"])
                times.setdefault(f"{dtype}_resident_bytes", []).append(own["resident_bytes"])
                if peers.process:
                    times.setdefault(f"ctranslate2_{peer}_s", []).append(peers.seconds(peer))
            if peers.process:
                times.setdefault("transformers_s", []).append(peers.seconds("transformers"))
        if peers.process:
            peers.process.stdin.close()
            peers.process.wait()
    result = {name: statistics.median(values) for name, values in times.items()}
    for dtype, peer in (("f32", "float32"), ("int8", "int8")):
        if f"ctranslate2_{peer}_s" in result:
            result[f"{dtype}_ratio"] = result[f"{dtype}_s"] / result[f"ctranslate2_{peer}_s"]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
