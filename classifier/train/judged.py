"""Step 5: what the teacher thinks of texts of all kinds under labels of all kinds, as soft answers for nli.py.

Texts: authored incidents and texts of other domains (their own labels are for examples.py, here they stand under other sets), catalogue
sentences, package descriptions, definitions. Labels: names of the authored sets, catalogue phrases, terms. The teacher reads
a label's English name; the student may see it in any language, so it learns the teacher's English judgement for all of them.
"""
import argparse
import collections
import json
import os
import random

import numpy as np
import torch
from tokenizers import Tokenizer

from distill import pad, pool
from e5 import E5
from examples import LANGS, authored, rows
from student import teacher as load_teacher
from vocabulary import teacher_tokenizer

NEAREST = 160  # labels kept for each text


def labels(data, lexicon, phrases):
    """[(names by language, set or None)]"""
    out = [(d["names"], s) for s, ls in authored(data).items() for d in ls.values()]
    out += [(t, None) for t in lexicon["terms"] if len(t) > 2]
    return out + [({lang: [t] for lang, t in p.items()}, None) for p in phrases]


def texts(data, work, lexicon, sentences, rng):
    """[(what the teacher reads, {language: text}, the set whose labels are the text's own or None)]

    Long ones: sentences and paragraphs."""
    out = [(t, {lang: t}, s) for s, ls in authored(data).items() for d in ls.values() for lang, t in d["texts"]]
    out += [(r["text"], {r["lang"]: r["text"]}, None) for name in ("train", "incidents") for r in rows(os.path.join(data, name + ".jsonl"))]
    out += [(s["en"], s, None) for s in sentences]
    by = collections.defaultdict(list)
    for r in rows(os.path.join(work, "descriptions.jsonl")):
        if r["lang"] in LANGS:
            by[r["lang"]].append(r["text"][:rng.randint(60, 220)])
    out += [(t, {lang: t}, None) for lang in sorted(by) for t in rng.sample(by[lang], min(500, len(by[lang])))]
    return out + [(g[0], {"en": g[0]}, None) for g in rng.sample(lexicon["glosses"], 4000)]


def short_texts(labels, lines):
    """The same of names and one-line phrases: several times as many sets of candidates for the same work."""
    out = [(n, {"en": n}, s) for names, s in labels for n in names["en"][1:]]
    for names, s in labels:
        out.append((names["en"][0], {lang: v[0] for lang, v in names.items()}, s))
    return out + [(p["en"], p, None) for p in lines]


def catalogue(path, rng, sentences=10000, phrases=4000, lines=12000):
    by = {}
    for line in open(path, encoding="utf-8"):
        r = json.loads(line)
        by.setdefault(r["en"], {"en": r["en"]})[r["lang"]] = r["text"]
    short = sorted(e for e, v in by.items() if len(e.split()) <= 3 and len(e) >= 5 and len(v) >= 7 and e.replace(" ", "").isalpha())
    long_ = sorted(e for e, v in by.items() if 6 <= len(e.split()) <= 40 and len(v) >= 4)
    line = sorted(e for e, v in by.items() if 2 <= len(e.split()) <= 6 and len(e) >= 8 and len(v) >= 4)
    return tuple([by[e] for e in rng.sample(kind, n)] for kind, n in ((long_, sentences), (short, phrases), (line, lines)))


class Teacher:
    """The teacher with its tokenizer, for mean vectors of unit length."""

    def __init__(self, e5=None, limit=512):
        self.model, self.tok = load_teacher(e5), teacher_tokenizer(E5(e5).pieces)
        self.tok.enable_truncation(limit)

    def vectors(self, texts):
        enc = [e.ids for e in self.tok.encode_batch(["query: " + t for t in texts])]
        v = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(enc[i]))
        with torch.no_grad():
            for k in range(0, len(order), 128):
                part = order[k:k + 128]
                ids, m = pad([enc[i] for i in part])
                v[part] = pool(self.model(input_ids=ids, attention_mask=m).last_hidden_state, m)[:len(part)].numpy()
        return v


class Judged:
    """Reads what main wrote."""

    def __init__(self, work, heat=0.06):
        d = json.load(open(os.path.join(work, "judged.json"), encoding="utf-8"))
        z = np.load(os.path.join(work, "judged.npz"))
        self.texts, self.labels, self.heat = d["texts"], d["labels"], heat
        self.tv, self.lv, self.near, self.long = z["tv"], z["lv"], z["near"], d["long"]
        self.sets = collections.defaultdict(list)
        for i, (_, s) in enumerate(self.labels):
            if s:
                self.sets[s].append(i)
        self.sets = {s: v for s, v in self.sets.items() if len(v) >= 3}
        self.names = sorted(self.sets)

    def candidates(self, i, own, g):
        near = self.near[i]
        if g.random() < 0.55:  # labels that belong together, mostly of a set that is near to the text
            sets = [s for s in (self.labels[j][1] for j in near[:60]) if s in self.sets and s != own]
            name = g.choice(sets) if sets and g.random() < 0.85 else g.choice(self.names)
            if name != own:
                return g.sample(self.sets[name], min(len(self.sets[name]), g.randint(3, 6)))
        picks = [int(near[g.randint(0, 3)])] + [int(near[g.randint(8, NEAREST - 1)]) for _ in range(g.randint(1, 2))]
        picks += [g.randrange(len(self.labels)) for _ in range(g.randint(1, 2))]
        return [j for j in set(picks) if (own is None or self.labels[j][1] != own) and self.labels[j][0]["en"][0] != self.texts[i][0]]

    def example(self, ex):
        g = ex.rng
        picks = []
        while len(picks) < 2:
            i = g.randrange(self.long) if g.random() < 0.55 else g.randrange(self.long, len(self.texts))
            _, by, own = self.texts[i]
            picks = self.candidates(i, own, g)
        g.shuffle(picks)
        s = self.lv[picks].astype(np.float32) @ self.tv[i].astype(np.float32)
        e = np.exp((s - s.max()) / self.heat)
        lang = g.choice(sorted(by))
        side = ex.set_language(lang)
        return ex.noise(by[lang], lang), [ex.pick(self.labels[j][0], side) for j in picks], list(e / e.sum()), ex.template(), False


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--work", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--e5", default=None)
    a = ap.parse_args()
    rng = random.Random(6)
    lexicon = json.load(open(os.path.join(a.work, "lexicon.json"), encoding="utf-8"))
    sentences, phrases, lines = catalogue(os.path.join(a.work, "pairs.jsonl"), rng)
    ls, ts = labels(a.data, lexicon, phrases), texts(a.data, a.work, lexicon, sentences, rng)
    long = len(ts)
    ts += short_texts(ls, lines)
    print(long, "long texts,", len(ts) - long, "short ones,", len(ls), "labels", flush=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        v = Teacher(a.e5, 64).vectors([n["en"][0] for n, _ in ls] + [t[0] for t in ts])
    v -= v.mean(0)  # the vectors lie in a narrow cone
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    lv, tv = v[:len(ls)], v[len(ls):]
    near = np.concatenate([np.argsort(-(tv[k:k + 1000] @ lv.T), axis=1)[:, :NEAREST] for k in range(0, len(tv), 1000)]).astype(np.int32)
    np.savez(os.path.join(a.work, "judged.npz"), tv=tv.astype(np.float16), lv=lv.astype(np.float16), near=near)
    json.dump({"texts": ts, "long": long, "labels": ls}, open(os.path.join(a.work, "judged.json"), "w", encoding="utf-8"), ensure_ascii=False)


if __name__ == "__main__":
    main()
