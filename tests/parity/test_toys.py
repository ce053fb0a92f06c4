"""The shipped toy models summarise the sample threads: what they say is about the thread."""
import importlib.util
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKER = pathlib.Path(os.environ.get("LUMIGRID_BUILD", ROOT / "build")) / "worker/lumigrid-worker"
FACTOR = 1.5  # how far above a random sentence of the thread counts as "clearly"

spec = importlib.util.spec_from_file_location("check_quality", ROOT / "tests/golden/toys/check_quality.py")
quality = importlib.util.module_from_spec(spec)
spec.loader.exec_module(quality)


@pytest.mark.parametrize("model", ["toy-bart", "toy-t5"])
def test_rouge1_is_clearly_above_a_random_sentence_of_the_thread(model, tmp_path):
    threads = quality.read_threads()
    assert len(threads) >= 60
    inputs, outputs = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    inputs.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, (text, _) in enumerate(threads)))
    subprocess.run([WORKER, "generate", "--model", f"file://{ROOT}/deploy/local/models/{model}", "--task", "summarization",
                    "--input", inputs, "--output", outputs], check=True, timeout=600)
    score = quality.model_score(threads, quality.read_predictions(outputs, len(threads)))
    baseline = quality.random_sentence_baseline(threads)
    print(f"{model}: ROUGE-1 {score:.4f}, random sentence {baseline:.4f}")
    assert score >= FACTOR * baseline


def test_the_sample_threads_read_as_mail_and_differ():
    threads = quality.read_threads()
    lengths = [len(text.split()) for text, _ in threads]
    assert min(lengths) >= 150 and max(lengths) <= 900
    assert len({text for text, _ in threads}) == len({summary for _, summary in threads}) == len(threads)
    for text, summary in threads:
        assert text.count("From: ") >= 2 and "Subject: " in text
        assert len(summary.split()) >= 12
