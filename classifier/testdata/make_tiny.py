#!/usr/bin/env python3
"""Makes the tiny test model in tiny/: an XLM-RoBERTa classifier with random weights, and its golden scores.

Usage: python make_tiny.py TEXTS.jsonl   (rows with the field "text"; the development data of the project)
Needs: torch transformers tokenizers sentencepiece onnx

Writes tiny/{config,tokenizer,zeroshot}.json, tiny/model.onnx (fp32) and tiny/golden.json: the ids, logits and scores
that transformers itself gives, with the versions that gave them. Tokenizer and weights depend on the seed alone.
"""
import base64
import io
import json
import pathlib
import sys

import sentencepiece as spm
import tokenizers
import torch
import transformers
from sentencepiece import sentencepiece_model_pb2
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForSequenceClassification, pipeline

OUT = pathlib.Path(__file__).parent / "tiny"
PIECES, HIDDEN, LAYERS, HEADS, POSITIONS = 3000, 32, 2, 4, 130
TEXTS = [
    "The VPN drops every ten minutes since this morning.",
    "Ich kann mich nicht anmelden, das Passwort wird abgelehnt.",
    "数据库服务器磁盘已满，无法写入。",
    "تعذر تسجيل الدخول إلى البريد",
    "cafe\u0301 ①\u0301 ｱﾞ \u200d fi\ufb01",
    "x",
    "word " * 400,
]
LABELS = ["Network Issue", "Server Issue", "Software Issue", "Login Issue", "Others"]


def tokenizer_json(texts):
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=PIECES, model_type="unigram",
        normalization_rule_name="nmt_nfkc", character_coverage=0.98, num_threads=1, minloglevel=2,
        bos_id=0, pad_id=1, eos_id=2, unk_id=3, bos_piece="<s>", pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>")
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    vocab = [[p.piece, p.score] for p in proto.pieces] + [["<mask>", 0.0]]
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": len(vocab) - 1}
    token = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    sequence = lambda name: {"Sequence": {"id": name, "type_id": 0}}
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": i, "content": c, "single_word": False, "lstrip": c == "<mask>", "rstrip": False, "normalized": False,
             "special": True} for c, i in special.items()],
        "normalizer": {"type": "Precompiled",
                       "precompiled_charsmap": base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("<s>"), sequence("A"), token("</s>")],
            "pair": [token("<s>"), sequence("A"), token("</s>"), token("</s>"), sequence("B"), token("</s>")],
            "special_tokens": {c: {"id": c, "ids": [special[c]], "tokens": [c]} for c in ("<s>", "</s>")}},
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": False},
    }


def export(model, path):
    class Logits(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, input_ids, attention_mask):
            return self.inner(input_ids=input_ids, attention_mask=attention_mask).logits

    ids = torch.arange(5, 21).reshape(2, 8)
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(Logits(model).eval(), (ids, torch.ones_like(ids)), str(path), input_names=["input_ids", "attention_mask"],
                      output_names=["logits"], dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "batch"}},
                      opset_version=17, dynamo=False)


def golden(model, tokenizer):
    classify = pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")
    cases = []
    for multi in (False, True):
        for labels in (LABELS, LABELS[:1], LABELS[:2]):
            for text in TEXTS:
                result = classify(text, labels, hypothesis_template="This text is about {}.", multi_label=multi)
                cases.append({"text": text, "labels": labels, "multi_label": multi,
                              "scores": dict(zip(result["labels"], result["scores"]))})
    pairs = []
    for text in TEXTS:
        encoded = tokenizer(text, "This example is x.", truncation="only_first", return_tensors="pt")
        with torch.no_grad():
            logits = model(**{k: encoded[k] for k in ("input_ids", "attention_mask")}).logits[0].tolist()
        pairs.append({"text": text, "hypothesis": "This example is x.", "ids": encoded["input_ids"][0].tolist(), "logits": logits})
    versions = {m.__name__: m.__version__ for m in (torch, transformers, tokenizers)}
    return {"versions": versions, "template": "This text is about {}.", "cases": cases, "pairs": pairs}


def main():
    texts = [json.loads(line)["text"] for line in open(sys.argv[1], encoding="utf-8")]
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(20240607)
    parts = tokenizer_json(texts)
    (OUT / "tokenizer.json").write_text(json.dumps(parts, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    config = XLMRobertaConfig(
        vocab_size=len(parts["model"]["vocab"]), hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=2 * HIDDEN, max_position_embeddings=POSITIONS, type_vocab_size=1, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, id2label={0: "contradiction", 1: "neutral", 2: "entailment"},
        label2id={"contradiction": 0, "neutral": 1, "entailment": 2}, initializer_range=0.25, attn_implementation="eager")
    model = XLMRobertaForSequenceClassification(config).eval()
    config.to_json_file(OUT / "config.json", use_diff=False)
    (OUT / "zeroshot.json").write_text(json.dumps(
        {"hypothesis_template": "This text is about {}.", "hypotheses": {"Others": "This text is about something else."},
         "min_confidence": 0.4}, indent=1) + "\n")
    export(model, OUT / "model.onnx")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(OUT / "tokenizer.json"), bos_token="<s>", eos_token="</s>", sep_token="</s>", cls_token="<s>",
        unk_token="<unk>", pad_token="<pad>", mask_token="<mask>", model_max_length=POSITIONS - 2)
    (OUT / "golden.json").write_text(json.dumps(golden(model, tokenizer), ensure_ascii=False, indent=None) + "\n", encoding="utf-8")


main()
