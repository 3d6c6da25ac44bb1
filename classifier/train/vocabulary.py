"""Step 2: the vocabulary: the pieces of multilingual-e5-small (XLM-R's), case-folded and cut to those that our texts use.

Normalisation is nmt_nfkc_cf (NFKC and case folding in the charsmap itself), so scores don't depend on the writer's case. Pieces
that fold to the same string become one: its probability is their sum, its word vector their mean weighted by probability
(sources.npz keeps ids and weights for student.py). Then the most used pieces stay, together with all characters seen: trimming a
vocabulary keeps the model's quality (Ushio et al. 2023). Ids: <s>=0 <pad>=1 </s>=2 <unk>=3, <mask> last.
"""
import argparse
import base64
import collections
import io
import json
import math
import os
import random

import numpy as np
import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, normalizers

from e5 import E5
from examples import training_texts

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def charsmap_of(rule):
    """SentencePiece's charsmap for a normalisation rule, taken from a model trained on nothing much."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter(["a b c d e f g"] * 20), model_writer=model, vocab_size=12, model_type="char",
                                   normalization_rule_name=rule, minloglevel=2, hard_vocab_limit=False)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    return proto.normalizer_spec.precompiled_charsmap


def tokenizer_json(vocab, charsmap):
    special = {**{s: i for i, s in enumerate(SPECIAL)}, "<mask>": len(vocab) - 1}
    token = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    sequence = lambda name: {"Sequence": {"id": name, "type_id": 0}}
    space = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": c, "single_word": False, "lstrip": c == "<mask>", "rstrip": False,
                          "normalized": False, "special": True} for c, i in special.items()],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("<s>"), sequence("A"), token("</s>")],
            "pair": [token("<s>"), sequence("A"), token("</s>"), token("</s>"), sequence("B"), token("</s>")],
            "special_tokens": {n: {"id": n, "ids": [special[n]], "tokens": [n]} for n in ("<s>", "</s>")}},
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": False}}


def teacher_tokenizer(pieces):
    """The teacher's own tokenizer: all pieces, case kept."""
    vocab = [[p, s] for p, s in pieces]
    return Tokenizer.from_str(json.dumps(tokenizer_json(vocab, charsmap_of("nmt_nfkc"))))


def sample(a):
    """Texts to count pieces in: parallel sentences, dictionary terms, and everything authored several times."""
    random.seed(2)
    by = collections.defaultdict(list)
    for line in open(os.path.join(a.work, "pairs.jsonl"), encoding="utf-8"):
        r = json.loads(line)
        by[r["lang"]].append(r["text"])
        if random.random() < 0.07:
            by["en"].append(r["en"])
    texts = []
    for lang in sorted(by):
        random.shuffle(by[lang])
        texts += by[lang][:a.per_language]
    lexicon = json.load(open(os.path.join(a.work, "lexicon.json"), encoding="utf-8"))
    texts += [g[0] for g in lexicon["glosses"]][:60000]
    texts += [n for t in lexicon["terms"] for names in t.values() for n in names]
    authored, names = training_texts(a.data)
    return texts + 6 * (authored + names)


def merge(pieces, fold):
    """Folded pieces by falling probability, [(text, score)], and for each text its members [(the teacher's id, score)]."""
    groups = collections.defaultdict(list)
    for i, (p, score) in enumerate(pieces):
        if i < len(SPECIAL) or p == "<mask>":
            continue
        start = "\u2581" if p.startswith("\u2581") else ""
        f = fold.normalize_str(p[len(start):])
        if " " not in f and (f or start):
            groups[start + f].append((i, score))
    merged = []
    for f, members in groups.items():
        top = max(s for _, s in members)
        merged.append((f, top + math.log(sum(math.exp(s - top) for _, s in members))))
    return sorted(merged, key=lambda x: -x[1]), groups


def count_pieces(tok, texts, size):
    count = np.zeros(size)
    for k in range(0, len(texts), 20000):
        for e in tok.encode_batch(texts[k:k + 20000], add_special_tokens=False):
            np.add.at(count, e.ids, 1)
    return count


def choose(full, count, size):
    """Indexes of the pieces to keep: up to 9,000 characters that were seen, then the most used."""
    # the corpus is technical: a little of XLM-R's own frequencies keeps ordinary words in
    rank = count + 0.05 * count.sum() * np.exp([s for _, s in full])
    own = range(len(SPECIAL), len(full) - 1)
    single = [i for i in own if len(full[i][0].replace("\u2581", "")) <= 1 and rank[i] >= 3]
    chosen = set(sorted(single, key=lambda i: -rank[i])[:9000])
    for i in np.argsort(-rank):
        if len(chosen) == size - len(SPECIAL) - 1:
            break
        if i in own:
            chosen.add(int(i))
    return sorted(chosen)


def sources(vocab, pieces, groups):
    """For each piece of vocab the teacher's ids and their weights, which sum to one: flat arrays row, id, weight."""
    ids = {p: i for i, (p, _) in enumerate(pieces)}
    row, member, weight = [], [], []
    for new, (p, _) in enumerate(vocab):
        members = groups.get(p) or [(ids[p], 0.0)]
        w = np.exp([s - max(t for _, t in members) for _, s in members])
        row += [new] * len(members)
        member += [i for i, _ in members]
        weight += list(w / w.sum())
    return {"row": row, "id": member, "weight": np.float32(weight)}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--work", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--e5", default=None)
    ap.add_argument("--size", type=int, default=40000)
    ap.add_argument("--per-language", type=int, default=40000)
    a = ap.parse_args()
    pieces = E5(a.e5).pieces
    charsmap = charsmap_of("nmt_nfkc_cf")
    merged, groups = merge(pieces, normalizers.Precompiled(charsmap))
    around = lambda inner: [[s, 0.0] for s in SPECIAL] + [list(p) for p in inner] + [["<mask>", 0.0]]
    full = around(merged)
    tok = Tokenizer.from_str(json.dumps(tokenizer_json(full, charsmap)))
    texts = sample(a)
    count = count_pieces(tok, texts, len(full))
    print(len(merged), "folded pieces;", len(texts), "texts,", int(count.sum()), "tokens,", int(count[3]), "unknown", flush=True)
    vocab = around(full[i] for i in choose(full, count, a.size))
    os.makedirs(a.out, exist_ok=True)
    with open(os.path.join(a.out, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(tokenizer_json(vocab, charsmap), f, ensure_ascii=False, separators=(",", ":"))
    np.savez(os.path.join(a.out, "sources.npz"), **sources(vocab, pieces, groups))
    new = Tokenizer.from_file(os.path.join(a.out, "tokenizer.json"))
    before, after = (int(count_pieces(t, texts[::50], len(full)).sum()) for t in (tok, new))
    print(len(vocab), "pieces; a part of the texts in", after, "tokens, with all pieces", before)


if __name__ == "__main__":
    main()
