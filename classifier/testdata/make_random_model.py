#!/usr/bin/env python3
"""Makes XLM-RoBERTa classifiers with random weights, to know the speed of a shape without its trained weights.

Usage: python make_random_model.py OUT SHAPE [TOKENIZER.json]     SHAPE: 6x384, 12x384, base or large
Needs: torch transformers onnx onnxruntime

Writes OUT/fp32 and OUT/int8 (dynamic, per channel): config.json, tokenizer.json, model.onnx (weights of more than
2 GB lie beside it); and OUT/torch for transformers. The vocabulary is TOKENIZER.json's, by default the test model's.
"""
import json
import pathlib
import shutil
import sys

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

SHAPES = {"6x384": (6, 384, 12), "12x384": (12, 384, 12), "base": (12, 768, 12), "large": (24, 1024, 16)}


class Logits(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, attention_mask):
        return self.inner(input_ids=input_ids, attention_mask=attention_mask).logits


def main():
    out, shape = pathlib.Path(sys.argv[1]), sys.argv[2]
    here = pathlib.Path(__file__).parent
    tokenizer = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else here / "tiny" / "tokenizer.json"
    layers, hidden, heads = SHAPES[shape]
    vocabulary = len(json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"])
    torch.manual_seed(1)
    config = XLMRobertaConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * hidden, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, id2label={0: "contradiction", 1: "neutral", 2: "entailment"},
        label2id={"contradiction": 0, "neutral": 1, "entailment": 2}, attn_implementation="eager")
    model = XLMRobertaForSequenceClassification(config).eval()
    for kind in ("fp32", "int8", "torch"):
        (out / kind).mkdir(parents=True, exist_ok=True)
        config.to_json_file(out / kind / "config.json", use_diff=False)
        shutil.copy(tokenizer, out / kind / "tokenizer.json")
    model.save_pretrained(out / "torch")
    ids = torch.arange(5, 21).reshape(2, 8)
    axes = {0: "batch", 1: "sequence"}
    plain = out / "fp32" / "model.onnx"
    torch.onnx.export(Logits(model).eval(), (ids, torch.ones_like(ids)), str(plain), input_names=["input_ids", "attention_mask"],
                      output_names=["logits"], dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "batch"}},
                      opset_version=17, dynamo=False)
    size = sum(p.numel() for p in model.parameters()) * 4
    if size > 1_500_000_000:  # the exporter may have scattered the weights over many files: gather them in one
        loaded = onnx.load(str(plain))
        for file in (out / "fp32").iterdir():
            if file.suffix != ".json":
                file.unlink()
        onnx.save(loaded, str(plain), save_as_external_data=True, location="model.onnx_data")
    quantize_dynamic(str(plain), str(out / "int8" / "model.onnx"), weight_type=QuantType.QInt8, per_channel=True,
                     use_external_data_format=size / 4 > 1_500_000_000)


main()
