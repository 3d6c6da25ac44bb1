"""Step 7b: temperature and min_confidence from dev, for export.py --temperature and --min-confidence.

The temperature minimises the negative log-likelihood; the threshold is the highest that flags at most --flag of the texts.
Also prints what other hypotheses would do: templates for all labels.
"""
import argparse
import os

import numpy as np

from eval import FIVE, Model, ece, rows


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("--data", required=True)
    ap.add_argument("--flag", type=float, default=0.14)
    a = ap.parse_args()
    dev = rows(os.path.join(a.data, "dev.jsonl"))
    m = Model(a.folder)
    p = np.array(m.many([(r["text"], FIVE) for r in dev]))
    z = np.log(np.maximum(p, 1e-9))
    gold = np.array([FIVE.index(r["label"]) for r in dev])
    best = None
    for t in np.arange(0.5, 4.01, 0.05):
        s = z / t
        s = s - np.log(np.exp(s).sum(1, keepdims=True))
        nll = -s[np.arange(len(gold)), gold].mean()
        if best is None or nll < best[0]:
            best = (nll, t, np.exp(s))
    nll, t, s = best
    conf, right = s.max(1), s.argmax(1) == gold
    threshold = float(np.quantile(conf, a.flag))
    flag = conf < threshold
    print("accuracy %.4f temperature %.2f nll %.3f ECE %.3f threshold %.3f flags %.3f catches %.3f" % (
        right.mean(), t, nll, ece(conf, right), threshold, flag.mean(), flag[~right].mean()))


if __name__ == "__main__":
    main()
