"""Weights to go on training from: the shipped int8 model.onnx back as fp32 in transformers' form.

The fp32 weights are not kept. int8 with a scale per row loses under 0.5 % of a row's range, which a few steps of training
make good. Undoes what export.py did: q, k and v are one product and q is scaled by 1/sqrt(head size); positions and the
token type are one table.
"""
import argparse
import json
import os

import numpy as np
import onnx
import torch
from onnx import numpy_helper as nh
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", required=True, help="folder with the int8 model.onnx and config.json")
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    graph = onnx.load(os.path.join(a.model, "model.onnx")).graph
    t = {i.name: nh.to_array(i) for i in graph.initializer}
    reads = {n.output[0]: n for n in graph.node}
    users = {}
    for n in graph.node:
        for name in n.input:
            users.setdefault(name, []).append(n)
    cfg = XLMRobertaConfig(**{k: v for k, v in json.load(open(os.path.join(a.model, "config.json"))).items()
                              if k not in ("architectures", "torch_dtype", "transformers_version", "model_type")})
    model = XLMRobertaForSequenceClassification(cfg)
    state = model.state_dict()

    def put(name, value):
        assert state[name].shape == tuple(value.shape), (name, value.shape)
        state[name] = torch.tensor(np.ascontiguousarray(value, dtype=np.float32))

    def linear(name):
        return (t[name].astype(np.float32) * t[name + ".scale"]).T, t[name + ".bias"]

    E = "roberta.embeddings."
    gather = next(n for n in graph.node if n.op_type == "Gather" and n.input[0] == "word_embeddings")
    mul = users[users[gather.output[0]][0].output[0]][0]  # Gather, Cast, Mul with the gathered scales
    put(E + "word_embeddings.weight", t["word_embeddings"].astype(np.float32) * t[reads[mul.input[1]].input[0]])
    norms = [n for n in graph.node if n.op_type == "LayerNormalization"]
    places = reads[reads[norms[0].input[0]].input[1]].input[0]
    put(E + "position_embeddings.weight", t[places])
    put(E + "token_type_embeddings.weight", np.zeros((1, cfg.hidden_size)))
    names = [E + "LayerNorm"]
    root = np.float32(1 / np.sqrt(cfg.hidden_size // cfg.num_attention_heads))
    for i in range(cfg.num_hidden_layers):
        L = f"roberta.encoder.layer.{i}."
        A = L + "attention.self."
        names += [L + "attention.output.LayerNorm", L + "output.LayerNorm"]
        if A + "qkv" in t:
            w, b = linear(A + "qkv")
            (wq, wk, wv), (bq, bk, bv) = np.split(w, 3), np.split(b, 3)
        else:
            (wk, wv), (bk, bv) = (np.split(x, 2) for x in linear(A + "kv"))
            wq, bq = linear(A + "query")
        for k, w, b in (("query", wq / root, bq / root), ("key", wk, bk), ("value", wv, bv)):
            put(A + k + ".weight", w), put(A + k + ".bias", b)
        for k in ("attention.output.dense", "intermediate", "output"):
            w, b = linear(L + k)
            k = k.removesuffix(".dense") + ".dense"
            put(L + k + ".weight", w), put(L + k + ".bias", b)
    for name, n in zip(names, norms):
        put(name + ".weight", t[n.input[1]]), put(name + ".bias", t[n.input[2]])
    for k, b in (("dense", "classifier.dense.bias"), ("out_proj", reads["logits"].input[1])):
        put(f"classifier.{k}.weight", t["classifier." + k].T), put(f"classifier.{k}.bias", t[b])
    model.load_state_dict(state)
    model.save_pretrained(a.out)
    print("saved", a.out)


if __name__ == "__main__":
    main()
