"""Step 4: distillation into the smaller student, multilingual (Reimers & Gurevych 2020).

For each English sentence the student must put its mean-pooled vector, of the English text and of its translations, where the teacher
puts the English one; for texts without translations (the authored ones, label names, definitions) where the teacher puts the text
itself. The teacher's vectors lie in a narrow cone, so both sides lose the teacher's mean vector before cosine and similarities are
taken. The <s> vector is trained the same way with a smaller weight, because the classifier reads it later. Runs for --minutes, saves
checkpoints.

Two processes of one thread each learn from different sentences; every --average steps their weights are averaged (local
SGD, Stich 2019). On a machine that others use too that wastes less than two threads, which wait for each other at every
operation.
"""
import argparse
import json
import math
import os
import random
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import XLMRobertaForSequenceClassification

from e5 import E5
from examples import training_texts
from student import teacher as load_teacher
from vocabulary import teacher_tokenizer


SIZES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def filled(ids, rows, width):
    """Ids and mask of one shape; rows without a text see one padding token, so that no softmax is empty."""
    t = torch.full((rows, width), 1)
    m = torch.zeros_like(t)
    m[len(ids):, 0] = 1
    for i, x in enumerate(ids):
        t[i, :len(x)] = torch.tensor(x)
        m[i, :len(x)] = 1
    return t, m


def pad(ids):
    """Pads to one of a few shapes: oneDNN compiles a kernel for each shape that it meets, which costs more than padding."""
    return filled(ids, -(-len(ids) // 32) * 32, next(s for s in SIZES if s >= max(map(len, ids))))


def pool(h, m):
    m = m[..., None].float()
    return F.normalize((h.float() * m).sum(1) / m.sum(1), dim=-1)


def average(model, go):
    """Averages the weights of all processes; returns whether all want to go on."""
    flag = torch.tensor([float(go)])
    dist.all_reduce(flag, op=dist.ReduceOp.MIN)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                dist.all_reduce(p.data)
                p.data.div_(dist.get_world_size())
    return flag.item() > 0


def single_texts(a):
    """Texts that the teacher reads itself: authored texts, names of labels, definitions and names of terms in all languages."""
    authored, names = training_texts(a.data)
    texts = 2 * authored + names
    lexicon = json.load(open(a.lexicon, encoding="utf-8"))
    texts += [g[0] for g in lexicon["glosses"]][::3]
    texts += [random.choice(names) for t in lexicon["terms"] for names in t.values()]
    random.shuffle(texts)
    return texts


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--pairs", required=True)
    ap.add_argument("--vocab", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--lexicon", required=True)
    ap.add_argument("--e5", default=None)
    ap.add_argument("--init", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--minutes", type=float, default=25)
    ap.add_argument("--tokens", type=int, default=2500, help="padded student tokens per step and process")
    ap.add_argument("--lr", type=float, default=2e-4)
    ap.add_argument("--max-len", type=int, default=48)
    ap.add_argument("--procs", type=int, default=2)
    ap.add_argument("--average", type=int, default=20)
    a = ap.parse_args()
    a.rendezvous = f"file://{os.path.abspath(a.out)}-rendezvous-{os.getpid()}-{int(time.time())}"
    torch.multiprocessing.spawn(run, args=(a,), nprocs=a.procs)


def run(rank, a):
    dist.init_process_group("gloo", init_method=a.rendezvous, rank=rank, world_size=a.procs)
    random.seed(4 + 1000 * rank)
    torch.manual_seed(4)
    torch.set_num_threads(1)
    new = Tokenizer.from_file(os.path.join(a.vocab, "tokenizer.json"))
    new.enable_truncation(a.max_len)
    old = teacher_tokenizer(E5(a.e5).pieces)
    old.enable_truncation(a.max_len + 2)
    groups = {}
    for line in open(a.pairs, encoding="utf-8"):
        r = json.loads(line)
        if len(r["en"]) > 1.5 * 4 * a.max_len:
            continue
        # sentences count more than single words
        if len(r["en"].split()) < 3 and random.random() < 0.5:
            continue
        groups.setdefault(r["en"], []).append((r["lang"], r["text"]))
    keys = list(groups)
    random.shuffle(keys)
    alone = single_texts(a)
    print(len(keys), "English sentences,", len(alone), "texts without translations", flush=True)
    teacher = load_teacher(a.e5)
    model = XLMRobertaForSequenceClassification.from_pretrained(a.init, attn_implementation="eager").train()
    emb = model.roberta.embeddings.word_embeddings.weight
    body = [p for p in model.roberta.parameters() if p is not emb]
    opt = torch.optim.AdamW([{"params": [emb], "lr": 8 * a.lr}, {"params": body, "lr": a.lr}], betas=(0.9, 0.98),
                            weight_decay=0.01, fused=True)
    base = [g["lr"] for g in opt.param_groups]
    start, step, pos, saved, run, mean = time.time(), 0, 0, time.time(), [], None
    weight = {"hi": 3, "ar": 2, "vi": 2, "tr": 1.5, "ko": 1.5, "ja": 1.5, "zh": 1.5}

    def batches():
        nonlocal pos
        while True:
            chunk = keys[pos:pos + 3072]
            pos += 3072
            if pos >= len(keys):
                random.shuffle(keys)
                pos = 0
            chunk = chunk + random.sample(alone, 1536)
            e_old = old.encode_batch(["query: " + c for c in chunk])
            items = []
            flat, owner = [], []
            for k, en in enumerate(chunk):
                options = groups.get(en) if k < len(chunk) - 1536 else None
                if options is None:
                    flat.append(en), owner.append(k)
                    continue
                picks = random.choices(options, [weight.get(l, 1) for l, _ in options], k=min(3, len(options)))
                texts = {t for _, t in picks}
                if random.random() < 0.5:
                    texts.add(en)
                for t in sorted(texts):
                    flat.append(t), owner.append(k)
            enc = new.encode_batch(flat)
            per = {}
            for k, e in zip(owner, enc):
                per.setdefault(k, []).append(e.ids)
            buckets = {}
            for k, ids in per.items():
                buckets.setdefault(next(s for s in SIZES if s >= max(map(len, ids))), []).append(k)
            out = []
            for size, ks in buckets.items():
                cur, n = [], 0
                for k in ks:
                    if cur and size * (n + len(per[k])) > a.tokens:
                        out.append(cur)
                        cur, n = [], 0
                    cur.append(k)
                    n += len(per[k])
                out.append(cur)
            random.shuffle(out)
            for ks in out:
                yield [e_old[k].ids for k in ks], [i for k in ks for i in per[k]], [j for j, k in enumerate(ks) for _ in per[k]]

    for t_ids, s_ids, owner in batches():
        frac = (time.time() - start) / (60 * a.minutes)
        if step % a.average == 0 and not average(model, frac < 1):
            break
        scale = min(1, (step + 1) / 100) * max(0.02, 0.5 * (1 + math.cos(math.pi * min(frac, 1))))
        for g, b in zip(opt.param_groups, base):
            g["lr"] = b * scale
        ti, tm = pad(t_ids)
        si, sm = pad(s_ids)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                tv = pool(teacher(input_ids=ti, attention_mask=tm).last_hidden_state, tm)[:len(t_ids)]
            h = model.roberta(input_ids=si, attention_mask=sm).last_hidden_state
        sv, cls = pool(h, sm), F.normalize(h[:, 0].float(), dim=-1)
        own = torch.tensor(owner)
        mean = tv.mean(0) if mean is None else 0.99 * mean + 0.01 * tv.mean(0)
        sv, cls, tv = (F.normalize(v - mean, dim=-1) for v in (sv[:len(s_ids)], cls[:len(s_ids)], tv))
        target = tv[own]
        p = F.softmax(target @ tv.T / 0.05, -1)
        loss = 10 * (1 - (sv * target).sum(-1)).mean() - (p * F.log_softmax(sv @ tv.T / 0.05, -1)).sum(-1).mean() \
            + (p * p.clamp_min(1e-9).log()).sum(-1).mean() + 2 * (1 - (cls * target).sum(-1)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.roberta.parameters(), 5.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        run.append((sv * target).sum(-1).mean().item())
        step += 1
        if step % 100 == 0 and rank == 0:
            print(f"step {step} {time.time() - start:.0f}s cos {sum(run[-100:]) / 100:.4f} loss {loss.item():.3f} rows {len(s_ids)} len {si.shape[1]}", flush=True)
        if rank == 0 and time.time() - saved > 180:
            model.save_pretrained(a.out)
            saved = time.time()
    if rank == 0:
        model.save_pretrained(a.out)
        print("saved", a.out, "steps", step, flush=True)


if __name__ == "__main__":
    main()
