"""Step 7: the ONNX files. Writes the encoder's graph op by op (opset 20), fp32 and int8.

int8: per-channel symmetric int8 weights; activations are uint8, scaled at run time per tensor (DynamicQuantizeLinear +
MatMulInteger, which ONNX Runtime fuses); the word table is int8 with one scale per row; the classifier head stays fp32.
The graph is the model's, with two exact savings: q, k and v are one product, and the last layer computes only <s>, since
nothing else is read. --temperature divides the entailment logits' spread (folded into the last weights).
"""
import argparse
import json
import os
import shutil

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from transformers import XLMRobertaForSequenceClassification

from examples import TEMPLATES


class Graph:
    def __init__(self, int8):
        self.nodes, self.inits, self.int8, self.n = [], [], int8, 0

    def const(self, value, name=None):
        self.n += 1
        name = name or f"c{self.n}"
        self.inits.append(nh.from_array(np.ascontiguousarray(value), name))
        return name

    def op(self, kind, *inputs, outputs=1, name=None, **attrs):
        self.n += 1
        outs = [name or f"t{self.n}" if outputs == 1 else f"t{self.n}_{i}" for i in range(outputs)]
        self.nodes.append(h.make_node(kind, list(inputs), outs, f"n{self.n}_{kind}", **attrs))
        return outs[0] if outputs == 1 else outs

    def quantised(self, x):
        return self.op("DynamicQuantizeLinear", x, outputs=3)

    def linear(self, x, w, b, name, q=None):
        """x @ w.T + b; q is x already quantised, when several products read it."""
        if not self.int8:
            return self.op("Add", self.op("MatMul", x, self.const(w.T, name)), self.const(b, name + ".bias"))
        scale = np.maximum(np.abs(w).max(1), 1e-8) / 127
        wq = np.clip(np.round(w / scale[:, None]), -127, 127).astype(np.int8)
        xq, xs, xz = q or self.quantised(x)
        y = self.op("MatMulInteger", xq, self.const(wq.T, name), xz)
        y = self.op("Cast", y, to=T.FLOAT)
        s = self.op("Mul", xs, self.const(scale.astype(np.float32), name + ".scale"))
        return self.op("Add", self.op("Mul", y, s), self.const(b, name + ".bias"))


def build(model, int8):
    cfg = model.config
    p = {k: v.detach().float().numpy() for k, v in model.state_dict().items()}
    g = Graph(int8)
    heads, size = cfg.num_attention_heads, cfg.hidden_size // cfg.num_attention_heads
    norm = lambda x, k: g.op("LayerNormalization", x, g.const(p[k + ".weight"]), g.const(p[k + ".bias"]), axis=-1, epsilon=cfg.layer_norm_eps)
    E = "roberta.embeddings."
    real = g.op("Cast", g.op("Not", g.op("Equal", "input_ids", g.const(np.int64(cfg.pad_token_id)))), to=T.INT64)
    pos = g.op("Add", g.op("Mul", g.op("CumSum", real, g.const(np.int64(1))), real), g.const(np.int64(cfg.pad_token_id)))
    words = p[E + "word_embeddings.weight"]
    if int8:
        scale = np.maximum(np.abs(words).max(1, keepdims=True), 1e-8) / 127
        table = g.const(np.clip(np.round(words / scale), -127, 127).astype(np.int8), "word_embeddings")
        x = g.op("Mul", g.op("Cast", g.op("Gather", table, "input_ids"), to=T.FLOAT), g.op("Gather", g.const(scale.astype(np.float32)), "input_ids"))
    else:
        x = g.op("Gather", g.const(words, "word_embeddings"), "input_ids")
    places = p[E + "position_embeddings.weight"] + p[E + "token_type_embeddings.weight"][0]
    x = norm(g.op("Add", x, g.op("Gather", g.const(places), pos)), E + "LayerNorm")
    mask = g.op("Unsqueeze", g.op("Cast", "attention_mask", to=T.FLOAT), g.const(np.array([1, 2], np.int64)))
    mask = g.op("Mul", g.op("Sub", g.const(np.float32(1)), mask), g.const(np.float32(-1e9)))
    split_shape = g.const(np.array([0, 0, heads, size], np.int64))
    join_shape = g.const(np.array([0, 0, cfg.hidden_size], np.int64))
    root = np.float32(1 / np.sqrt(size))
    for i in range(cfg.num_hidden_layers):
        L = f"roberta.encoder.layer.{i}."
        A = L + "attention.self."
        last = i == cfg.num_hidden_layers - 1
        wq, wk, wv = (p[A + k + ".weight"] for k in ("query", "key", "value"))
        bq, bk, bv = (p[A + k + ".bias"] for k in ("query", "key", "value"))
        wq, bq = wq * root, bq * root
        if last:
            k, v = g.op("Split", g.linear(x, np.concatenate([wk, wv]), np.concatenate([bk, bv]), A + "kv"), outputs=2, axis=-1, num_outputs=2)
            x = g.op("Slice", x, g.const(np.array([0], np.int64)), g.const(np.array([1], np.int64)), g.const(np.array([1], np.int64)))
            q = g.linear(x, wq, bq, A + "query")
        else:
            q, k, v = g.op("Split", g.linear(x, np.concatenate([wq, wk, wv]), np.concatenate([bq, bk, bv]), A + "qkv"), outputs=3, axis=-1, num_outputs=3)
        q = g.op("Transpose", g.op("Reshape", q, split_shape), perm=[0, 2, 1, 3])
        k = g.op("Transpose", g.op("Reshape", k, split_shape), perm=[0, 2, 3, 1])
        v = g.op("Transpose", g.op("Reshape", v, split_shape), perm=[0, 2, 1, 3])
        att = g.op("Softmax", g.op("Add", g.op("MatMul", q, k), mask), axis=-1)
        y = g.op("Reshape", g.op("Transpose", g.op("MatMul", att, v), perm=[0, 2, 1, 3]), join_shape)
        O = L + "attention.output."
        x = norm(g.op("Add", g.linear(y, p[O + "dense.weight"], p[O + "dense.bias"], O + "dense"), x), O + "LayerNorm")
        y = g.op("Gelu", g.linear(x, p[L + "intermediate.dense.weight"], p[L + "intermediate.dense.bias"], L + "intermediate"))
        x = norm(g.op("Add", g.linear(y, p[L + "output.dense.weight"], p[L + "output.dense.bias"], L + "output"), x), L + "output.LayerNorm")
    x = g.op("Squeeze", x, g.const(np.array([1], np.int64)))
    g.int8 = False
    x = g.op("Tanh", g.linear(x, p["classifier.dense.weight"], p["classifier.dense.bias"], "classifier.dense"))
    x = g.op("MatMul", x, g.const(p["classifier.out_proj.weight"].T, "classifier.out_proj"))
    g.op("Add", x, g.const(p["classifier.out_proj.bias"]), name="logits")
    ids = lambda name: h.make_tensor_value_info(name, T.INT64, ["batch", "sequence"])
    graph = h.make_graph(g.nodes, "xlm-roberta", [ids("input_ids"), ids("attention_mask")],
                         [h.make_tensor_value_info("logits", T.FLOAT, ["batch", cfg.num_labels])], g.inits)
    out = h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=9, producer_name="incidentd")
    onnx.checker.check_model(out)
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", required=True)
    ap.add_argument("--vocab", required=True)
    ap.add_argument("--out", required=True, help="the int8 folder; fp32 goes to OUT-fp32")
    ap.add_argument("--temperature", type=float, default=1.0)
    ap.add_argument("--min-confidence", type=float, default=0.6)
    a = ap.parse_args()
    model = XLMRobertaForSequenceClassification.from_pretrained(a.model, attn_implementation="eager").eval()
    model.classifier.out_proj.weight.data /= a.temperature
    model.classifier.out_proj.bias.data /= a.temperature
    for folder, int8 in ((a.out, True), (a.out + "-fp32", False)):
        os.makedirs(folder, exist_ok=True)
        onnx.save(build(model, int8), os.path.join(folder, "model.onnx"))
        shutil.copy(os.path.join(a.vocab, "tokenizer.json"), folder)
        cfg = model.config.to_dict()
        cfg.update(architectures=["XLMRobertaForSequenceClassification"], torch_dtype="float32",
                   tokenizer_class="XLMRobertaTokenizerFast", model_max_length=512)
        for k in ("_name_or_path", "dtype", "transformers_version"):
            cfg.pop(k, None)
        json.dump(cfg, open(os.path.join(folder, "config.json"), "w"), indent=2, sort_keys=True)
        json.dump({"hypothesis_template": TEMPLATES[0], "min_confidence": a.min_confidence},
                  open(os.path.join(folder, "zeroshot.json"), "w"), indent=2)
        print(folder, round(sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder)) / 1e6, 1), "MB")
    model.save_pretrained(a.out + "-fp32")


if __name__ == "__main__":
    main()
