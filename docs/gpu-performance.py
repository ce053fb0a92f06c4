#!/usr/bin/env python3
"""Regenerates the tables of gpu-performance.md from `lumigrid-worker bench --plan` and GPUs' public figures.

Usage: docs/gpu-performance.py [build/worker/lumigrid-worker]        prints Markdown
"""
import json
import subprocess
import sys

WORKER = sys.argv[1] if len(sys.argv) > 1 else "build/worker/lumigrid-worker"

# NVIDIA's data sheets: memory GB and bandwidth GB/s; TFLOP/s of dense f16/bf16 tensor cores, and of float32 without them.
GPUS = {
    "A100 80 GB SXM": (80, 2039, 312, 19.5),
    "H100 SXM": (80, 3350, 989, 67),
    "B200 SXM": (180, 8000, 2250, 75),
}
LAUNCH_S = 2e-6  # between two kernels of a stream; an assumption, to be measured
NEW_TOKENS = 128
CASES = [
    ("BART-large, 4 beams, f16", ["--shape", "bart-large", "--beams", "4", "--dtype", "f16", "--input-tokens", "512"]),
    ("Llama-3-8B, greedy, bf16", ["--shape", "llama-3-8b", "--beams", "1", "--dtype", "bf16", "--input-tokens", "512"]),
]
BATCHES = (1, 32, 256)


def plan(arguments, batch):
    done = subprocess.run([WORKER, "bench", "--plan", *arguments, "--batch", str(batch), "--new-tokens", str(NEW_TOKENS)],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def phase_bytes(phase):
    return phase["weight_bytes"] + phase["cache_bytes"] + phase["activation_bytes"]


def seconds(phase, gpu):
    """(time at the roofline, what bounds it)"""
    _, bandwidth, tensor, plain = GPUS[gpu]
    memory = phase_bytes(phase) / (bandwidth * 1e9)
    arithmetic = phase["product_flops"] / (tensor * 1e12) + phase["attention_flops"] / (plain * 1e12)
    return max(memory, arithmetic), "memory" if memory >= arithmetic else "arithmetic"


def number(value):
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"


def main():
    plans = {(name, batch): plan(arguments, batch) for name, arguments in CASES for batch in BATCHES}
    print("| model | batch | phase | launches | product GFLOP | attention GFLOP | weights MB | keys and values MB | activations MB | to and from host KB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for (name, batch), p in plans.items():
        for key, label in (("prefill", "prefill"), ("decode_step", "one step")):
            phase = p[key]
            print(f"| {name} | {batch} | {label} | {number(phase['launches'])} | {number(phase['product_flops'] / 1e9)} | "
                  f"{number(phase['attention_flops'] / 1e9)} | {number(phase['weight_bytes'] / 1e6)} | "
                  f"{number(phase['cache_bytes'] / 1e6)} | {number(phase['activation_bytes'] / 1e6)} | {number(phase['host_bytes'] / 1e3)} |")
    print()
    print("| model | batch | GPU | prefill ms | bound by | one step ms | bound by | with launches ms | new tokens/s | with launches |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for (name, batch), p in plans.items():
        for gpu in GPUS:
            prefill, prefill_bound = seconds(p["prefill"], gpu)
            step, step_bound = seconds(p["decode_step"], gpu)
            # In 16 bits the CUDA backend rounds the activations of each product by a kernel of its own.
            launched = step + LAUNCH_S * (p["decode_step"]["launches"] + p["decode_step"]["products"])
            print(f"| {name} | {batch} | {gpu} | {number(1e3 * prefill)} | {prefill_bound} | {number(1e3 * step)} | {step_bound} | "
                  f"{number(1e3 * launched)} | {number(batch / step)} | {number(batch / launched)} |")


if __name__ == "__main__":
    main()
