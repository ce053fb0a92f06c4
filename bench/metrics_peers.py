"""Pairs per second of rouge-score and of NLTK's METEOR over word_tokenize on the pairs of a JSON Lines file, in one
process. Prints one JSON line; a peer that cannot be imported, or has no data, is left out.

usage: python metrics_peers.py PAIRS.jsonl
"""
import json
import sys
import time

pairs = [(x["prediction"], x["reference"]) for x in map(json.loads, open(sys.argv[1]))][:200]
peers = {}
try:
    from rouge_score import rouge_scorer
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=False)
    peers["rouge"] = lambda p, r: scorer.score(r, p)
except ImportError:
    pass
try:
    from nltk import word_tokenize
    from nltk.translate.meteor_score import single_meteor_score
    single_meteor_score(word_tokenize("a b"), word_tokenize("a c"))
    peers["meteor"] = lambda p, r: single_meteor_score(word_tokenize(r), word_tokenize(p))
except (ImportError, LookupError):
    pass
out = {}
for name, score in peers.items():
    start = time.perf_counter()
    for pair in pairs:
        score(*pair)
    out[name] = len(pairs) / (time.perf_counter() - start)
print(json.dumps(out))
