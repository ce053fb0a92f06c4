"""Writes golden.jsonl.gz: 2,000 text pairs and what the reference implementations make of them.

usage: python make_golden.py [--count N] [--seed S] [--output FILE] [--metrics LIST] [--processes N]

Needs rouge-score, nltk (with punkt_tab and wordnet 3.0 in NLTK_DATA), sacrebleu and `regex`. BLEU is evaluate's
arithmetic over sacrebleu's 13a tokeniser. A value is null where the reference raises. Floats are written so that they
read back exactly.
"""
import argparse
import collections
import gzip
import json
import math
import multiprocessing

from make_pairs import pairs

TER_WORDS_MAX = 60  # sacrebleu takes seconds to minutes beyond; such lines have no "ter"


def rouge(p, r):
    from rouge_score import rouge_scorer
    keys = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scores = rouge_scorer.RougeScorer(keys, use_stemmer=False).score(r, p)
    return {k: float(scores[k].fmeasure) for k in keys}


def meteor(p, r):
    from nltk import word_tokenize
    from nltk.translate.meteor_score import single_meteor_score
    return {"meteor": single_meteor_score(word_tokenize(r), word_tokenize(p), alpha=0.9, beta=3, gamma=0.5)}


def bleu(p, r):
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    tokenize = Tokenizer13a()
    hypothesis, reference = tokenize(p).split(), tokenize(r).split()
    precisions = []
    for n in range(1, 5):
        grams = lambda t: collections.Counter(tuple(t[i:i + n]) for i in range(len(t) - n + 1))
        possible = len(hypothesis) - n + 1
        precisions.append(sum((grams(hypothesis) & grams(reference)).values()) / possible if possible > 0 else 0.0)
    mean = math.exp(sum(.25 * math.log(x) for x in precisions)) if min(precisions) > 0 else 0.0
    ratio = len(hypothesis) / len(reference)
    return {"bleu": mean * (1.0 if ratio > 1.0 else math.exp(1 - 1.0 / ratio))}


def chrf(p, r):
    import sacrebleu
    return {"chrf": sacrebleu.sentence_chrf(p, [r]).score}


def ter(p, r):
    import sacrebleu
    return {"ter": sacrebleu.sentence_ter(p, [r]).score}


def token_length(p, r):
    return {"ref_token_length": int(len(r.split()) / 0.75), "pred_token_length": int(len(p.split()) / 0.75)}


METRICS = {"rouge": (rouge, ["rouge1", "rouge2", "rougeL", "rougeLsum"]), "meteor": (meteor, ["meteor"]), "bleu": (bleu, ["bleu"]),
           "chrf": (chrf, ["chrf"]), "ter": (ter, ["ter"]), "token_length": (token_length, ["ref_token_length", "pred_token_length"])}


def score(task):
    (prediction, reference), metrics = task
    line = {"prediction": prediction, "reference": reference}
    for name in metrics:
        if name == "ter" and max(len(prediction.split()), len(reference.split())) > TER_WORDS_MAX:
            continue
        function, keys = METRICS[name]
        try:
            line.update(function(prediction, reference))
        except Exception:
            line.update({k: None for k in keys})
    return line


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", default="golden")
    parser.add_argument("--output", default="golden.jsonl.gz")
    parser.add_argument("--metrics", default=",".join(METRICS))
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    tasks = [(pair, args.metrics.split(",")) for pair in pairs(args.count, args.seed)]
    with multiprocessing.Pool(args.processes) as pool:
        lines = pool.map(score, tasks, chunksize=5)
    with gzip.GzipFile(args.output, "wb", 9, mtime=0) as out:
        for line in lines:
            out.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    main()
