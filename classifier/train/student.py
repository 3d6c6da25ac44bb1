"""Step 3: the student before training: nine of multilingual-e5-small's twelve layers under the trimmed vocabulary.

Nine is what two cores can afford (README.md). Leaving out 3, 5 and 7 changes the vectors and the judgement of text and label names
less than most other choices do. Positions move by two rows (XLM-R counts from padding_idx + 1).
"""
import argparse
import os

import numpy as np
import torch
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaModel

from e5 import E5

LAYERS = [0, 1, 2, 4, 6, 8, 9, 10, 11]


def config(size, layers):
    return XLMRobertaConfig(
        vocab_size=size, hidden_size=384, num_hidden_layers=layers, num_attention_heads=12, intermediate_size=1536,
        max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-12, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, num_labels=3, id2label={0: "entailment", 1: "neutral", 2: "contradiction"},
        label2id={"entailment": 0, "neutral": 1, "contradiction": 2})


def fill(model, state, words):
    """Puts the teacher's weights into an XLM-R encoder whose word table is words."""
    mine = model.state_dict()
    for name, v in state.items():
        if name in mine and mine[name].shape == v.shape:
            mine[name] = torch.tensor(v)
    mine["embeddings.word_embeddings.weight"] = torch.tensor(words)
    mine["embeddings.position_embeddings.weight"][2:514] = torch.tensor(state["embeddings.position_embeddings.weight"])
    mine["embeddings.token_type_embeddings.weight"] = torch.tensor(state["embeddings.token_type_embeddings.weight"][:1])
    model.load_state_dict(mine)


def teacher(path=None):
    """All twelve layers with the whole vocabulary, for texts that start with "query: "."""
    e5 = E5(path)
    state = e5.state(range(e5.layers))
    cfg = config(e5.size, e5.layers)
    cfg._attn_implementation = "eager"
    model = XLMRobertaModel(cfg, add_pooling_layer=False)
    fill(model, state, state["embeddings.word_embeddings.weight"])
    return model.eval()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--e5", default=None)
    a = ap.parse_args()
    torch.manual_seed(3)
    e5 = E5(a.e5)
    state = e5.state(LAYERS)
    z = np.load(os.path.join(a.vocab, "sources.npz"))
    size = int(z["row"].max()) + 1
    words = np.zeros((size, e5.hidden), np.float32)
    np.add.at(words, z["row"], z["weight"][:, None] * state["embeddings.word_embeddings.weight"][z["id"]])
    model = XLMRobertaForSequenceClassification(config(size, len(LAYERS)))
    fill(model.roberta, state, words)
    model.save_pretrained(a.out)
    print("saved", a.out, size, "pieces")


if __name__ == "__main__":
    main()
