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

from distill import average, pad
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
            ids, m = pad([assemble(enc[i], h, 256) for i in part for h in hyp], 1)
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
    ap.add_argument("--tokens", type=int, default=3200, help="padded tokens per step and process")
    ap.add_argument("--lr", type=float, default=1.5e-4)
    ap.add_argument("--max-len", type=int, default=112)
    ap.add_argument("--seed", type=int, default=7)
    ap.add_argument("--share", type=float, default=0.3, help="share of examples with the five production labels")
    ap.add_argument("--frozen", type=int, default=3, help="layers that stay as they are, from the embeddings up")
    ap.add_argument("--procs", type=int, default=2, help="processes of one thread each, as in distill.py")
    ap.add_argument("--average", type=int, default=20)
    return ap.parse_args()


def run(rank, a):
    """One of a.procs data-parallel processes: on a shared machine they suffer less than threads, which wait per operation."""
    dist.init_process_group("gloo", init_method=f"file://{os.path.abspath(a.work)}/rendezvous-nli-{a.launch}", rank=rank, world_size=a.procs)
    random.seed(a.seed + 1000 * rank)
    torch.manual_seed(a.seed)
    torch.set_num_threads(1)
    main_rank = rank == 0
    tok = Tokenizer.from_file(os.path.join(a.vocab, "tokenizer.json"))
    model = XLMRobertaForSequenceClassification.from_pretrained(a.init, attn_implementation="eager").train()
    # what the languages have in common is in the word vectors and the lowest layers; training them here forgets some of it
    model.roberta.embeddings.requires_grad_(False)
    model.roberta.encoder.layer[:a.frozen].requires_grad_(False)
    opt = torch.optim.AdamW([{"params": list(model.roberta.encoder.layer[a.frozen:].parameters()), "lr": a.lr},
                             {"params": list(model.classifier.parameters()), "lr": 3 * a.lr}],
                            betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    base = [g["lr"] for g in opt.param_groups]
    start, step, seen, saved = time.time(), 0, 0, time.time()

    def schedule():
        frac = (time.time() - start) / (60 * a.minutes)
        scale = min(1, (step + 1) / 60) * max(0.01, 0.5 * (1 + math.cos(math.pi * min(frac, 1))))
        for g, b in zip(opt.param_groups, base):
            g["lr"] = b * scale
        return frac < 1

    def update(loss, go=True):
        """One step; every a.average steps the weights are averaged. Returns whether all processes want to go on."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        return (step + 1) % a.average != 0 or average(model, go)

    ex = Examples(a.data, work=a.work, seed=a.seed + 1000 * rank, judged=Judged(a.work), share=a.share)
    stream = iter(ex)
    stats = []

    def batches():
        """(width, sets) as soon as there are sets of candidates for all rows of a width."""
        waiting = {w: [] for w in WIDTHS}
        while True:
            items = [next(stream) for _ in range(256)]
            prem = tok.encode_batch([i[0] for i in items], add_special_tokens=False)
            for item, p in zip(items, prem):
                hyps = tok.encode_batch([item[3].format(n) for n in item[1]], add_special_tokens=False)
                limit = a.max_len if len(p.ids) < 200 or ex.rng.random() < 0.5 else WIDTHS[-1]
                ids = [assemble(p.ids, h.ids, limit) for h in hyps]
                width = next(w for w in WIDTHS if w >= max(map(len, ids)))
                part = waiting[width]
                if sum(len(e[0]) for e in part) + len(ids) > a.tokens // width:
                    yield width, part
                    part = waiting[width] = []
                part.append((ids, item[2], item[4]))

    def filled(width, ids):
        t = torch.full((a.tokens // width, width), 1)
        m = torch.zeros_like(t)
        m[len(ids):, 0] = 1
        for i, x in enumerate(ids):
            t[i, :len(x)] = torch.tensor(x)
            m[i, :len(x)] = 1
        return t, m

    start, checked = time.time(), time.time()
    for width, part in batches():
        go = schedule()
        ids, m = filled(width, [i for e in part for i in e[0]])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=ids, attention_mask=m).logits
        logits = logits.float()
        at, loss, right, sure = 0, 0.0, [], 0
        for pairs, target, hard in part:
            z = logits[at:at + len(pairs)]
            at += len(pairs)
            t = torch.tensor(target)
            if hard:
                t = t * 0.97 + 0.03 / len(t)
            loss = loss - (t * F.log_softmax(z[:, 0], 0)).sum()
            if hard:
                three = torch.zeros(len(t), 3)
                for k, v in enumerate(target):
                    three[k] = torch.tensor([0.95, 0.04, 0.01] if v else [0.02, 0.18, 0.80])
                w = torch.tensor([1.0 if v else 1.0 / (len(t) - 1) for v in target]) if len(t) > 1 else torch.ones(1)
                loss = loss - 0.2 * (w[:, None] * three * F.log_softmax(z, -1)).sum() / 2
                right.append(float(z[:, 0].argmax().item() == int(np.argmax(target))))
        loss = loss / len(part)
        more = update(loss, go)
        step, seen = step + 1, seen + len(part)
        stats.append((loss.item(), np.mean(right) if right else np.nan))
        if not more:
            break
        if not main_rank:
            continue
        if step % 25 == 0:
            s = np.nanmean(stats[-25:], 0)
            print(f"step {step} {time.time() - start:.0f}s seen {seen} loss {s[0]:.3f} right {s[1]:.3f}", flush=True)
        if step % a.average:
            continue  # between averages the processes' weights differ and are noisier
        if time.time() - saved > 150:
            model.save_pretrained(a.out)
            saved = time.time()
        if time.time() - checked > 420:
            acc, _ = dev_accuracy(model, tok, os.path.join(a.data, "dev.jsonl"), 213)
            checked = time.time()
            print(f"dev (a third) {acc:.4f}", flush=True)
    if main_rank:
        model.save_pretrained(a.out)
        torch.set_num_threads(2)
        print("dev", *dev_accuracy(model, tok, os.path.join(a.data, "dev.jsonl")), flush=True)


def main():
    a = arguments()
    a.launch = f"{os.getpid()}-{int(time.time())}"
    torch.multiprocessing.spawn(run, args=(a,), nprocs=a.procs)


if __name__ == "__main__":
    main()
