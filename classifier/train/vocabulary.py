"""Step 2: the vocabulary. SentencePiece Unigram on all languages, written as an XLM-R style tokenizer.json.

Normalisation is nmt_nfkc_cf (NFKC and case folding in the charsmap itself): the teacher is uncased, and folding makes
scores independent of the writer's case. Ids: <s>=0 <pad>=1 </s>=2 <unk>=3, <mask> last.
"""
import argparse
import base64
import io
import json
import os
import random

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2


def tokenizer_json(proto):
    vocab = [[p.piece, p.score] for p in proto.pieces] + [["<mask>", 0.0]]
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": len(vocab) - 1}
    token = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    sequence = lambda name: {"Sequence": {"id": name, "type_id": 0}}
    space = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    charsmap = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": c, "single_word": False, "lstrip": c == "<mask>", "rstrip": False,
                          "normalized": False, "special": True} for c, i in special.items()],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("<s>"), sequence("A"), token("</s>")],
            "pair": [token("<s>"), sequence("A"), token("</s>"), token("</s>"), sequence("B"), token("</s>")],
            "special_tokens": {n: {"id": n, "ids": [special[n]], "tokens": [n]} for n in ("<s>", "</s>")}},
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": False}}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--pairs", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--size", type=int, default=40000)
    ap.add_argument("--per-language", type=int, default=22000)
    a = ap.parse_args()
    random.seed(2)
    by = {}
    for line in open(a.pairs, encoding="utf-8"):
        r = json.loads(line)
        by.setdefault(r["lang"], []).append(r["text"])
        if random.random() < 0.07:
            by.setdefault("en", []).append(r["en"])
    texts = []
    for lang in sorted(by):
        random.shuffle(by[lang])
        texts += by[lang][:a.per_language * (2 if lang == "en" else 1)]
    for line in open(os.path.join(a.data, "train.jsonl"), encoding="utf-8"):
        texts += [json.loads(line)["text"]] * 4
    random.shuffle(texts)
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=a.size - 1, model_type="unigram",
        normalization_rule_name="nmt_nfkc_cf", character_coverage=0.9996, num_threads=2, minloglevel=1,
        max_sentence_length=4000, seed_sentencepiece_size=400000, num_sub_iterations=2,
        bos_id=0, pad_id=1, eos_id=2, unk_id=3, bos_piece="<s>", pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>")
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    os.makedirs(a.out, exist_ok=True)
    with open(os.path.join(a.out, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(tokenizer_json(proto), f, ensure_ascii=False, separators=(",", ":"))
    print(len(proto.pieces) + 1, "pieces from", len(texts), "texts")


if __name__ == "__main__":
    main()
