"""Makes golden.json: what statistics.c must compute, from numpy and scipy.

Run in an environment with numpy and scipy:  python3 make.py > golden.json

Two kinds of values: `exact` from the same resamples (splitmix64 written once more, in numpy), to be met to rounding, and
`scipy` from scipy.stats with another generator, to be met within the noise of resampling.
"""
import json
import sys

import numpy as np
import scipy.stats as stats

SEED, RESAMPLES = 0x6C756D6967726964, 10000


def draws(count):
    """The first `count` outputs of splitmix64."""
    with np.errstate(over="ignore"):
        z = np.uint64(SEED) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def resampled_means(values):
    n = len(values)
    index = ((draws(RESAMPLES * n) >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)
    return values[index.astype(np.int64).reshape(RESAMPLES, n)].mean(axis=1)


def exact(values):
    means = resampled_means(values)
    low, high = np.percentile(means, [2.5, 97.5])
    far = np.abs(means - values.mean()) >= abs(values.mean()) - 1e-12 * (1 + abs(values.mean()))
    return {"mean": values.mean(), "low": low, "high": high, "p": (1 + far.sum()) / (RESAMPLES + 1)}


def by_scipy(values):
    interval = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, confidence_level=0.95, method="percentile",
                               random_state=np.random.default_rng(1)).confidence_interval
    return {"low": interval.low, "high": interval.high, "p": stats.ttest_1samp(values, 0).pvalue}


def holm(p):
    order, out, running = np.argsort(p, kind="stable"), [0.0] * len(p), 0.0
    for step, i in enumerate(order):
        running = max(running, min(1.0, p[i] * (len(p) - step)))
        out[i] = running
    return out


def main():
    rng = np.random.default_rng(7)
    cases = [rng.beta(2, 5, 60), rng.beta(5, 2, 500), rng.normal(0.02, 0.1, 60), rng.normal(0, 0.1, 200),
             rng.normal(-0.03, 0.05, 40), np.round(rng.normal(0.01, 0.05, 90), 1)]
    golden = {"intervals": [{"values": list(v), "exact": exact(v), "scipy": by_scipy(v)} for v in cases]}
    golden["holm"] = [{"p": p, "corrected": holm(p)} for p in ([0.01, 0.04, 0.03, 0.005], [0.5, 0.6], [0.02], [0.001, 0.001, 0.9, 0.3, 0.02])]
    a, b = rng.normal(size=50), rng.normal(size=50)
    golden["correlation"] = {"a": list(a), "b": list(a * 0.5 + b), "r": stats.pearsonr(a, a * 0.5 + b).statistic}
    json.dump(golden, sys.stdout, indent=None, separators=(",", ":"), default=float)
    print()


main()
