"""Step 8: the figures of a model folder, through ONNX Runtime, one run per text as the engine plans it.

Dev (never trained on): per language and label, confusion, calibration, review at min_confidence; the prototype's
one-liners; held-out label sets (heldout-*, never trained on) with English names and with names in another language;
speed; with --baselines the same tables for simpler methods. Prints one JSON object with --json, else text.
"""
import argparse
import collections
import json
import os
import threading
import time

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

FIVE = ["Network Issue", "Server Issue", "Software Issue", "Login Issue", "Others"]


def rows(path):
    return [json.loads(l) for l in open(path, encoding="utf-8")]


class Model:
    def __init__(self, folder):
        opt = ort.SessionOptions()
        opt.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.path.join(folder, "model.onnx"), opt)
        self.tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        cfg = json.load(open(os.path.join(folder, "config.json")))
        self.entail = next(int(i) for i, n in cfg["id2label"].items() if n.lower().startswith("entail"))
        self.zero = json.load(open(os.path.join(folder, "zeroshot.json")))

    def hypotheses(self, labels, template=None):
        own = self.zero.get("hypotheses", {})
        return [own[l] if l in own and template is None else (template or self.zero["hypothesis_template"]).format(l) for l in labels]

    def logits(self, text, hyps):
        p = self.tok.encode(text, add_special_tokens=False).ids
        hs = [self.tok.encode(h, add_special_tokens=False).ids for h in hyps]
        ids = [[0] + p[:512 - len(h) - 4] + [2, 2] + h + [2] for h in hs]
        n = max(map(len, ids))
        x = np.full((len(ids), n), 1, np.int64)
        for i, r in enumerate(ids):
            x[i, :len(r)] = r
        return self.session.run(None, {"input_ids": x, "attention_mask": (x != 1).astype(np.int64)})[0]

    def scores(self, text, labels, template=None):
        z = self.logits(text, self.hypotheses(labels, template))[:, self.entail]
        e = np.exp(z - z.max())
        return e / e.sum()

    def many(self, jobs):
        """Scores of (text, labels) jobs on two threads."""
        out, at, lock = [None] * len(jobs), iter(range(len(jobs))), threading.Lock()

        def work():
            while True:
                with lock:
                    i = next(at, None)
                if i is None:
                    return
                out[i] = self.scores(*jobs[i])
        threads = [threading.Thread(target=work) for _ in range(2)]
        [t.start() for t in threads], [t.join() for t in threads]
        return out


def ece(conf, right, bins=10):
    conf, right = np.array(conf), np.array(right, float)
    which = np.minimum((conf * bins).astype(int), bins - 1)
    return float(sum((which == b).mean() * abs(conf[which == b].mean() - right[which == b].mean()) for b in range(bins) if (which == b).any()))


def five(score, dev, threshold):
    """score: list of probability vectors over FIVE."""
    by, label, conf, right, confusion = collections.defaultdict(list), collections.defaultdict(list), [], [], np.zeros((5, 5), int)
    for r, s in zip(dev, score):
        k, g = int(np.argmax(s)), FIVE.index(r["label"])
        by[r["lang"]].append(k == g), label[r["label"]].append(k == g)
        confusion[g, k] += 1
        conf.append(float(s[k])), right.append(k == g)
    conf, right = np.array(conf), np.array(right)
    flag = conf < threshold
    acc = {l: float(np.mean(v)) for l, v in sorted(by.items())}
    return {"macro": float(np.mean(list(acc.values()))), "languages": acc, "labels": {l: float(np.mean(v)) for l, v in label.items()},
            "confusion": confusion.tolist(), "ece": ece(conf, right), "review_catch": float(flag[~right].mean()) if (~right).any() else 1.0,
            "review_flag": float(flag.mean())}


def heldout_sets(data, name):
    sets = collections.defaultdict(dict)
    for r in rows(os.path.join(data, name + "-labels.jsonl")):
        sets[r["set"]][r["label"]] = r["names"]
    return sets, rows(os.path.join(data, name + "-texts.jsonl"))


def heldout(score_many, data, name="heldout"):
    """Mean accuracy over sets: English names; and names in each other language than the text's."""
    sets, texts = heldout_sets(data, name)
    where = {l: s for s, ls in sets.items() for l in ls}
    out = {}
    for lang in ("en", "de", "fr", "es", "ru", "ja"):
        jobs, gold = [], []
        for r in texts:
            names = sets[where[r["label"]]]
            jobs.append((r["text"], [v[lang][0] for v in names.values()]))
            gold.append(list(names).index(r["label"]))
        hit = collections.defaultdict(list)
        same, cross = [], []
        for r, s, g in zip(texts, score_many(jobs), gold):
            ok = int(np.argmax(s)) == g
            hit[where[r["label"]]].append(ok)
            (same if r["lang"] == lang else cross).append(ok)
        out[lang] = {"mean": float(np.mean([np.mean(v) for v in hit.values()])), "sets": {k: float(np.mean(v)) for k, v in hit.items()},
                     "same": float(np.mean(same)), "cross": float(np.mean(cross)), "texts": len(texts)}
    return {"english_names": out["en"]["mean"], "cross_language": float(np.mean([o["cross"] for o in out.values()])), "by_name_language": out}


def speed(model, dev):
    jobs = [(r["text"], FIVE) for r in dev]
    model.many(jobs[:50])
    start = time.time()
    model.many(jobs)
    total = len(jobs) / (time.time() - start)
    times = []
    for t, l in jobs[:200]:
        s = time.time()
        model.scores(t, l)
        times.append(time.time() - s)
    return {"incidents_per_s": total, "single_p50_ms": 1000 * float(np.median(times))}


def baselines(data, dev):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    train = rows(os.path.join(data, "train.jsonl"))
    lr = make_pipeline(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2), LogisticRegression(C=20, max_iter=300))
    lr.fit([r["text"] for r in train], [r["label"] for r in train])
    p = lr.predict_proba([r["text"] for r in dev])[:, [list(lr.classes_).index(l) for l in FIVE]]
    out = {"majority": {"macro": 0.2}, "char LR": five(p, dev, 0.6)}
    from judged import Teacher
    teacher = Teacher()

    def similarity(jobs):
        texts = sorted({t for t, _ in jobs} | {l for _, ls in jobs for l in ls})
        v = dict(zip(texts, teacher.vectors(texts)))
        out = []
        for t, ls in jobs:
            z = np.array([v[l] @ v[t] for l in ls]) / 0.02
            e = np.exp(z - z.max())
            out.append(e / e.sum())
        return out
    out["e5 similarity"] = {**five(similarity([(r["text"], FIVE) for r in dev]), dev, 0.6), "heldout": heldout(similarity, data),
                            "heldout_work": heldout(similarity, data, "heldout-work")}
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("--data", required=True)
    ap.add_argument("--baselines", action="store_true")
    ap.add_argument("--json")
    a = ap.parse_args()
    dev = rows(os.path.join(a.data, "dev.jsonl"))
    model = Model(a.folder)
    out = {"dev": five(model.many([(r["text"], FIVE) for r in dev]), dev, model.zero.get("min_confidence", 0))}
    ones = rows(os.path.join(a.data, "oneliners.jsonl"))
    got = model.many([(r["text"], FIVE) for r in ones])
    wrong = [(r["lang"], r["text"], FIVE[int(np.argmax(s))]) for r, s in zip(ones, got) if FIVE[int(np.argmax(s))] != r["label"]]
    out["oneliners"] = {"right": len(ones) - len(wrong), "of": len(ones), "wrong": wrong}
    out["heldout"] = heldout(model.many, a.data)
    out["heldout_work"] = heldout(model.many, a.data, "heldout-work")
    out["speed"] = speed(model, dev)
    out["size_mb"] = sum(os.path.getsize(os.path.join(a.folder, f)) for f in os.listdir(a.folder)) / 1e6
    if a.baselines:
        out["baselines"] = baselines(a.data, dev)
    if a.json:
        json.dump(out, open(a.json, "w"), ensure_ascii=False, indent=1)
    d = out["dev"]
    print("dev macro %.4f  min %.3f  ECE %.3f  review catches %.2f flags %.2f" % (d["macro"], min(d["languages"].values()), d["ece"], d["review_catch"], d["review_flag"]))
    print(" ".join("%s %.3f" % x for x in d["languages"].items()))
    print(" ".join("%s %.3f" % x for x in d["labels"].items()), d["confusion"])
    print("one-liners %d/%d" % (out["oneliners"]["right"], out["oneliners"]["of"]), wrong[:12])
    for name in ("heldout", "heldout_work"):
        print("%s, English names %.3f; names in another language %.3f" % (name, out[name]["english_names"], out[name]["cross_language"]))
        print({k: round(v, 2) for k, v in out[name]["by_name_language"]["en"]["sets"].items()})
    print(out["speed"], "%.1f MB" % out["size_mb"])
    for k, v in out.get("baselines", {}).items():
        print(k, {x: (round(y, 3) if isinstance(y, float) else {i: round(j, 3) for i, j in y.items() if isinstance(j, float)}) for x, y in v.items() if x in ("macro", "ece", "heldout", "heldout_work")})


if __name__ == "__main__":
    main()
