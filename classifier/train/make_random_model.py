"""Random-weight XLM-R classifiers in the layout of a model folder: tiny ones for tests, base and large for benchmarks.

  make_random_model.py --out DIR --shape tiny|mini|base|large --tokenizer DIR
      [--vocab N] [--precision fp32|fp16|int8|qdq] [--external N] [--token-type-ids] [--classes entailment,neutral,contradiction]

int8 is dynamic (uint8 activations, per-channel int8 weights, no reduce_range); qdq is static, calibrated on random ids.
--vocab cuts the tokenizer to its first N pieces (most frequent first; the special tokens stay). --external spreads the
weights over N data files.
"""
import argparse
import json
import os
import tempfile

import numpy as np
import onnx
import torch
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

from export import build

SHAPES = {"tiny": (32, 2, 4, 130), "mini": (384, 6, 12, 514), "base": (768, 12, 12, 514), "large": (1024, 24, 16, 514)}


def cut(tokenizer, size):
    vocab = tokenizer["model"]["vocab"]
    body = [v for v in vocab[4:] if v[0] != "<mask>"]
    keep = {v[0] for v in sorted(body, key=lambda v: -v[1])[:size - 5]}
    tokenizer["model"]["vocab"] = vocab[:4] + [v for v in body if v[0] in keep] + [["<mask>", 0.0]]
    last = len(tokenizer["model"]["vocab"]) - 1
    for t in tokenizer["added_tokens"]:
        if t["content"] == "<mask>":
            t["id"] = last
    return tokenizer


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", required=True)
    ap.add_argument("--shape", choices=SHAPES, required=True)
    ap.add_argument("--tokenizer", required=True, help="folder with tokenizer.json")
    ap.add_argument("--vocab", type=int, default=0)
    ap.add_argument("--precision", choices=["fp32", "fp16", "int8", "qdq"], default="fp32")
    ap.add_argument("--external", type=int, default=0)
    ap.add_argument("--token-type-ids", action="store_true")
    ap.add_argument("--classes", default="entailment,neutral,contradiction")
    ap.add_argument("--seed", type=int, default=11)
    a = ap.parse_args()
    torch.manual_seed(a.seed)
    os.makedirs(a.out, exist_ok=True)
    tok = json.load(open(os.path.join(a.tokenizer, "tokenizer.json"), encoding="utf-8"))
    if a.vocab and a.vocab < len(tok["model"]["vocab"]):
        tok = cut(tok, a.vocab)
    json.dump(tok, open(os.path.join(a.out, "tokenizer.json"), "w", encoding="utf-8"), ensure_ascii=False, separators=(",", ":"))
    hidden, layers, heads, positions = SHAPES[a.shape]
    names = a.classes.split(",")
    cfg = XLMRobertaConfig(vocab_size=max(a.vocab, len(tok["model"]["vocab"])), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                           intermediate_size=4 * hidden, max_position_embeddings=positions, type_vocab_size=1, layer_norm_eps=1e-5,
                           id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})
    cfg.initializer_range = 0.3 if a.shape == "tiny" else 0.05
    model = XLMRobertaForSequenceClassification._from_config(cfg, attn_implementation="eager").eval()
    torch.nn.init.normal_(model.classifier.out_proj.weight, std=1.0)
    out = build(model, a.precision == "int8")
    if a.token_type_ids:
        out.graph.input.append(onnx.helper.make_tensor_value_info("token_type_ids", onnx.TensorProto.INT64, ["batch", "sequence"]))
    if a.precision == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16
        out = convert_float_to_float16(out, keep_io_types=True)
    path = os.path.join(a.out, "model.onnx")
    if a.precision == "qdq":
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
        rng = np.random.default_rng(a.seed)

        feeds = [{"input_ids": rng.integers(4, cfg.vocab_size - 1, (4, 40)), "attention_mask": np.ones((4, 40), np.int64)} for _ in range(8)]

        class Reader(CalibrationDataReader):
            def get_next(self):
                return feeds.pop() if feeds else None
        with tempfile.TemporaryDirectory() as t:
            onnx.save(out, t + "/m.onnx")
            quantize_static(t + "/m.onnx", path, Reader(), activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                            per_channel=True, reduce_range=False, op_types_to_quantize=["MatMul"])
    elif a.external:
        big = [t for t in out.graph.initializer if len(t.raw_data) >= 1024]
        sizes = [0] * a.external
        for t in sorted(big, key=lambda t: -len(t.raw_data)):
            k = sizes.index(min(sizes))
            name = "model.onnx_data" if k == 0 else f"Constant_{k}_attr__value"
            sizes[k] += len(t.raw_data)
            onnx.external_data_helper.set_external_data(t, location=name)
        for f in os.listdir(a.out):
            if f.startswith("model.onnx_data") or f.startswith("Constant_"):
                os.remove(os.path.join(a.out, f))
        onnx.save(out, path)
    else:
        onnx.save(out, path)
    cfg = model.config.to_dict()
    cfg["architectures"] = ["XLMRobertaForSequenceClassification"]
    json.dump(cfg, open(os.path.join(a.out, "config.json"), "w"), indent=2, sort_keys=True)
    if a.shape in ("tiny", "mini") and a.precision == "fp32":
        model.save_pretrained(a.out)
    print(a.out, round(sum(os.path.getsize(os.path.join(a.out, f)) for f in os.listdir(a.out)) / 1e6, 2), "MB")


if __name__ == "__main__":
    main()
