"""Step 6: training as an NLI cross-encoder on pairs of text and hypothesis.

Listwise softmax over the entailment logits of a candidate set, as the zero-shot pipeline uses them, plus the three-class loss for
sets with a certain answer.
"""
import argparse
import json
import math
import os
import random
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import XLMRobertaForSequenceClassification

from distill import average, filled, pad
from examples import FIVE, TEMPLATES, Examples
from judged import Judged


# One shape for each width, always full: oneDNN compiles its kernels once, and little is padding.
WIDTHS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256, 384)


def assemble(premise, hypothesis, limit):
    return [0] + premise[:limit - len(hypothesis) - 4] + [2, 2] + hypothesis + [2]


def dev_accuracy(model, tok, path, limit=None):
    rows = [json.loads(l) for l in open(path, encoding="utf-8")]
    if limit:
        rows = rows[::len(rows) // limit]
    hyp = [tok.encode(TEMPLATES[0].format(l), add_special_tokens=False).ids for l in FIVE]
    enc = [tok.encode(r["text"], add_special_tokens=False).ids for r in rows]
    order = sorted(range(len(rows)), key=lambda i: len(enc[i]))
    hit = {}
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for k in range(0, len(order), 16):
            part = order[k:k + 16]
            ids, m = pad([assemble(enc[i], h, 256) for i in part for h in hyp])
            out = model(input_ids=ids, attention_mask=m).logits.float()[:len(part) * 5, 0].view(-1, 5).argmax(1)
            for i, o in zip(part, out.tolist()):
                hit.setdefault(rows[i]["lang"], []).append(FIVE[o] == rows[i]["label"])
    model.train()
    acc = {l: sum(v) / len(v) for l, v in sorted(hit.items())}
    return sum(acc.values()) / len(acc), acc


def arguments():
    ap = argparse.ArgumentParser()
    ap.add_argument("--work", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--vocab", required=True)
    ap.add_argument("--init", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--minutes", type=float, default=20)
    ap.add_argument("--tokens", type=int, default=3200, help="per step and process, padding included; at least seven rows of the widest shape")
    ap.add_argument("--lr", type=float, default=1.5e-4)
    ap.add_argument("--max-len", type=int, default=112)
    ap.add_argument("--seed", type=int, default=7)
    ap.add_argument("--share", type=float, default=0.3, help="share of examples with the five production labels")
    ap.add_argument("--frozen", type=int, default=3, help="layers that stay as they are, from the embeddings up")
    ap.add_argument("--procs", type=int, default=2, help="processes of one thread each, as in distill.py")
    ap.add_argument("--average", type=int, default=20)
    return ap.parse_args()


def batches(examples, tok, a):
    """(width, sets of candidates) as soon as there are sets for all rows of a width; a set is (pairs' ids, targets, certain)."""
    stream = iter(examples)
    waiting = {w: [] for w in WIDTHS}
    while True:
        items = [next(stream) for _ in range(256)]
        premises = tok.encode_batch([text for text, *_ in items], add_special_tokens=False)
        for (_, names, target, template, certain), p in zip(items, premises):
            hypotheses = tok.encode_batch([template.format(n) for n in names], add_special_tokens=False)
            limit = a.max_len if len(p.ids) < 200 or examples.rng.random() < 0.5 else WIDTHS[-1]
            ids = [assemble(p.ids, h.ids, limit) for h in hypotheses]
            width = next(w for w in WIDTHS if w >= max(map(len, ids)))
            part = waiting[width]
            if sum(len(e[0]) for e in part) + len(ids) > a.tokens // width:
                yield width, part
                part = waiting[width] = []
            part.append((ids, target, certain))


def loss_of(logits, part):
    """Mean loss of the sets, and the share of the certain ones whose answer is right (NaN without any)."""
    at, loss, right = 0, 0.0, []
    for pairs, target, certain in part:
        z, t = logits[at:at + len(pairs)], torch.tensor(target)
        at += len(pairs)
        if certain:
            t = t * 0.97 + 0.03 / len(t)
        loss = loss - (t * F.log_softmax(z[:, 0], 0)).sum()
        if certain:
            three = torch.tensor([[0.95, 0.04, 0.01] if v else [0.02, 0.18, 0.80] for v in target])
            weight = torch.tensor([1.0 if v else 1.0 / (len(t) - 1) for v in target]) if len(t) > 1 else torch.ones(1)
            loss = loss - 0.2 * (weight[:, None] * three * F.log_softmax(z, -1)).sum() / 2
            right.append(float(z[:, 0].argmax().item() == int(np.argmax(target))))
    return loss / len(part), np.mean(right) if right else np.nan


class Progress:
    """What the first process does beside training: prints, saves, looks at a third of dev."""

    def __init__(self, model, tok, a):
        self.model, self.tok, self.a = model, tok, a
        self.step, self.seen, self.stats = 0, 0, []
        self.start = self.saved = self.checked = time.time()

    def fraction(self):
        return (time.time() - self.start) / (60 * self.a.minutes)

    def count(self, sets, loss, right):
        self.step, self.seen = self.step + 1, self.seen + sets
        self.stats.append((loss, right))

    def report(self):
        if self.step % 25 == 0:
            loss, right = np.nanmean(self.stats[-25:], 0)
            print(f"step {self.step} {time.time() - self.start:.0f}s seen {self.seen} loss {loss:.3f} right {right:.3f}", flush=True)
        if self.step % self.a.average:
            return  # between averages the processes' weights differ and are noisier
        if time.time() - self.saved > 150:
            self.model.save_pretrained(self.a.out)
            self.saved = time.time()
        if time.time() - self.checked > 420:
            accuracy, _ = dev_accuracy(self.model, self.tok, os.path.join(self.a.data, "dev.jsonl"), 213)
            self.checked = time.time()
            print(f"dev (a third) {accuracy:.4f}", flush=True)

    def finish(self):
        self.model.save_pretrained(self.a.out)
        torch.set_num_threads(2)
        print("dev", *dev_accuracy(self.model, self.tok, os.path.join(self.a.data, "dev.jsonl")), flush=True)


def prepared(a):
    """The model, and the optimizer of what is trained of it."""
    model = XLMRobertaForSequenceClassification.from_pretrained(a.init, attn_implementation="eager").train()
    # what the languages have in common is in the word vectors and the lowest layers; training them here forgets some of it
    model.roberta.embeddings.requires_grad_(False)
    model.roberta.encoder.layer[:a.frozen].requires_grad_(False)
    groups = [{"params": list(model.roberta.encoder.layer[a.frozen:].parameters()), "lr": a.lr},
              {"params": list(model.classifier.parameters()), "lr": 3 * a.lr}]
    opt = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    for g in opt.param_groups:
        g["full"] = g["lr"]
    return model, opt


def run(rank, a):
    """One of a.procs data-parallel processes: on a shared machine they suffer less than threads, which wait per operation."""
    dist.init_process_group("gloo", init_method=f"file://{os.path.abspath(a.work)}/rendezvous-nli-{a.launch}", rank=rank, world_size=a.procs)
    random.seed(a.seed + 1000 * rank)
    torch.manual_seed(a.seed)
    torch.set_num_threads(1)
    tok = Tokenizer.from_file(os.path.join(a.vocab, "tokenizer.json"))
    model, opt = prepared(a)
    examples = Examples(a.data, work=a.work, seed=a.seed + 1000 * rank, judged=Judged(a.work), share=a.share)
    progress = Progress(model, tok, a)
    for width, part in batches(examples, tok, a):
        done = min(progress.fraction(), 1)
        scale = min(1, (progress.step + 1) / 60) * max(0.01, 0.5 * (1 + math.cos(math.pi * done)))
        for g in opt.param_groups:
            g["lr"] = g["full"] * scale
        ids, m = filled([i for e in part for i in e[0]], a.tokens // width, width)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=ids, attention_mask=m).logits
        loss, right = loss_of(logits.float(), part)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        progress.count(len(part), loss.item(), right)
        if progress.step % a.average == 0 and not average(model, done < 1):
            break
        if rank == 0:
            progress.report()
    if rank == 0:
        progress.finish()


def main():
    a = arguments()
    a.launch = f"{os.getpid()}-{int(time.time())}"
    torch.multiprocessing.spawn(run, args=(a,), nprocs=a.procs)


if __name__ == "__main__":
    main()
