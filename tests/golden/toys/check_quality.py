"""Are a model's summaries about the threads? Compares their mean ROUGE-1 with that of a random sentence of each thread.

usage: check_quality.py PREDICTIONS.jsonl [--threads deploy/local/sample/threads.csv] [--seed 1] [--factor 1.5]

PREDICTIONS.jsonl has a line {"id": row, "text": summary} (or "prediction") for each row of the CSV, counted from 0.
Prints both means and exits 1 when the model's is below factor times the other. Needs nothing but Python.
"""
import argparse
import collections
import csv
import json
import pathlib
import random
import re
import sys

SAMPLE = pathlib.Path(__file__).resolve().parents[3] / "deploy/local/sample/threads.csv"


def read_threads(path=SAMPLE):
    """[(thread, summary)] of the sample."""
    with open(path, newline="", encoding="utf-8") as file:
        return [(row["examples"], row["ground_truth"]) for row in csv.DictReader(file)]


def rouge1(prediction, reference):
    """F-measure of shared words; a plain version of ROUGE-1 without stemming."""
    a, b = (collections.Counter(re.findall("[a-z0-9]+", text.lower())) for text in (prediction, reference))
    shared = sum((a & b).values())
    return 2 * shared / (a.total() + b.total()) if shared else 0.0


def sentences(thread):
    """The sentences that people wrote in a thread: no headers, quotes or sign-offs, at least three words."""
    body = "\n".join(line for line in thread.split("\n") if not re.match("(From|To|Date|Subject): |>", line))
    found = [" ".join(s.split()) for s in re.split(r"(?<=[.?!])\s+|\n\s*\n", body)]
    return [s for s in found if len(s.split()) >= 3]


def random_sentence_baseline(threads, seed=1):
    """Mean ROUGE-1 of one random sentence of each thread, as a prediction of its summary."""
    choice = random.Random(seed).choice
    return sum(rouge1(choice(sentences(thread)), summary) for thread, summary in threads) / len(threads)


def model_score(threads, predictions):
    """Mean ROUGE-1 of predictions, a summary for each thread in the same order."""
    if len(predictions) != len(threads):
        raise ValueError(f"{len(predictions)} predictions for {len(threads)} threads")
    return sum(rouge1(p, summary) for p, (_, summary) in zip(predictions, threads)) / len(threads)


def read_predictions(path, count):
    found = {}
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found[int(row["id"])] = row.get("prediction", row.get("text", ""))
    return [found.get(i, "") for i in range(count)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("predictions")
    parser.add_argument("--threads", default=SAMPLE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--factor", type=float, default=1.5)
    a = parser.parse_args()
    threads = read_threads(a.threads)
    model = model_score(threads, read_predictions(a.predictions, len(threads)))
    baseline = random_sentence_baseline(threads, a.seed)
    print(f"ROUGE-1: model {model:.4f}, random sentence {baseline:.4f}, factor {model / baseline:.2f}")
    sys.exit(model < a.factor * baseline)


if __name__ == "__main__":
    main()
