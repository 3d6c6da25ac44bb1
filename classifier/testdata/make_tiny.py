#!/usr/bin/env python3
"""Makes the tiny test model in tiny/: an XLM-RoBERTa classifier with random weights, and its golden scores.

Usage: python make_tiny.py TEXTS.jsonl   (rows with the field "text"; the development data of the project)
Needs: torch transformers tokenizers sentencepiece onnx onnxruntime

Writes tiny/{config,tokenizer,zeroshot}.json, tiny/model.onnx (fp32) and tiny/golden.json: the ids, logits and scores
that transformers itself gives, with the versions that gave them. Beside it the same weights in the other forms that
the engine runs: model_dynamic.onnx (int8, scales of the batch), model_static.onnx (int8, fixed scales), model_fp16.onnx
(with token_type_ids), model_int32.onnx (model_dynamic.onnx with 32-bit inputs) and external/model.onnx (int8, weights in two further files). Tokenizer and weights depend on the
seed alone.
"""
import base64
import io
import json
import pathlib
import sys

import onnx
import sentencepiece as spm
import tokenizers
import torch
import transformers
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16
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


def export(model, path, names=("input_ids", "attention_mask")):
    class Logits(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, *inputs):
            return self.inner(**dict(zip(names, inputs))).logits

    ids = torch.arange(5, 21).reshape(2, 8)
    examples = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    axes = {0: "batch", 1: "sequence"}
    # eval(): the exporter restores the wrapper's mode afterwards, and with it the model's dropout.
    torch.onnx.export(Logits(model).eval(), tuple(examples[n] for n in names), str(path), input_names=list(names),
                      output_names=["logits"], dynamic_axes={n: axes for n in names} | {"logits": {0: "batch"}},
                      opset_version=17, dynamo=False)


class Calibration(CalibrationDataReader):
    def __init__(self, tokenizer):
        self.rows = iter([tokenizer(t, "This text is about x.", truncation="only_first", return_tensors="np") for t in TEXTS])

    def get_next(self):
        row = next(self.rows, None)
        return row and {k: row[k] for k in ("input_ids", "attention_mask")}


def variants(model, tokenizer):
    fp32 = str(OUT / "model.onnx")
    quantize_dynamic(fp32, str(OUT / "model_dynamic.onnx"), weight_type=QuantType.QInt8, per_channel=True)
    quantize_static(fp32, str(OUT / "model_static.onnx"), Calibration(tokenizer), quant_format=QuantFormat.QDQ,
                    weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gather"])
    typed = OUT / "typed.onnx"
    export(model, typed, ("input_ids", "attention_mask", "token_type_ids"))
    onnx.save(convert_float_to_float16(onnx.load(typed)), OUT / "model_fp16.onnx")
    typed.unlink()
    narrow = onnx.load(OUT / "model_dynamic.onnx")
    for port in narrow.graph.input:
        narrow.graph.node.insert(0, onnx.helper.make_node("Cast", ["narrow_" + port.name], [port.name], to=onnx.TensorProto.INT64))
        port.name = "narrow_" + port.name
        port.type.tensor_type.elem_type = onnx.TensorProto.INT32
    for node in narrow.graph.node:  # the inputs keep their names, what was computed from them moves
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                swap = {"input_ids": "wide_ids", "attention_mask": "wide_mask", "narrow_input_ids": "input_ids",
                        "narrow_attention_mask": "attention_mask"}
                names[i] = swap.get(name, name)
    for port in narrow.graph.input:
        port.name = port.name.removeprefix("narrow_")
    onnx.save(narrow, OUT / "model_int32.onnx")
    apart = onnx.load(OUT / "model_dynamic.onnx")
    (OUT / "external").mkdir(exist_ok=True)
    for tensor in apart.graph.initializer:  # two files with names of their own, as hub exports have
        if len(tensor.raw_data) >= 1024:
            location = "Constant_7_attr__value" if "embeddings" in tensor.name else "model.onnx_data"
            onnx.external_data_helper.set_external_data(tensor, location)
    for location in ("Constant_7_attr__value", "model.onnx_data"):
        (OUT / "external" / location).unlink(missing_ok=True)
    onnx.save(apart, OUT / "external" / "model.onnx")
    for file in (OUT / "external").iterdir():
        file.chmod(0o644)


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
    variants(model, tokenizer)
    (OUT / "golden.json").write_text(json.dumps(golden(model, tokenizer), ensure_ascii=False, indent=None) + "\n", encoding="utf-8")


main()
