#!/usr/bin/env python3
"""How many times faster than the Hugging Face pipeline the engine is, on the same texts, machine and weights.

  compare_hf.py --torch DIR --fp32 DIR --int8 DIR --texts FILE.jsonl [--limit N] [--rounds N]
  (DIR --torch holds config.json, tokenizer.json and the PyTorch weights; the others hold model.onnx)

Needs Python with torch and transformers, and Go. Both sides run by turns in every round and the ratio is the median over
the rounds, because the speed of a shared machine drifts. One JSON line per figure:
  one at a time   the pipeline called text by text, as the prototype did
  batch 32        the pipeline with batch_size=32
  storm           10,000 texts of which 100 are distinct; the pipeline is measured on some of them and scaled
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import torch
import transformers

from make_goldens import LABELS, load

ROOT = pathlib.Path(__file__).parent.parent.parent


def build(folder):
    binary = os.path.join(folder, "bench.test")
    subprocess.run(["go", "test", "-c", "-o", binary, "./classifier/bench"], cwd=ROOT, check=True)
    return binary


def ours(binary, model, texts, case):
    """Seconds that the engine takes for the case; loading the model is outside."""
    run = [binary, "-test.run", "^$", "-test.bench", f"^Benchmark{case}$", "-test.benchtime", "1x", "-model", model, "-texts", texts]
    out = subprocess.run(run, cwd=ROOT / "classifier" / "bench", check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        if "engine_seconds" in line:
            fields = line.split()
            return float(fields[fields.index("engine_seconds") - 1])
    raise SystemExit(f"the benchmark printed no seconds:\n{out}")


def theirs(pipe, texts, batch):
    start = time.perf_counter()
    if batch == 1:
        for text in texts:
            pipe(text, LABELS)
    else:
        pipe(texts, LABELS, batch_size=batch)
    return time.perf_counter() - start


def main():
    ap = argparse.ArgumentParser()
    for name in ("torch", "fp32", "int8", "texts"):
        ap.add_argument("--" + name, required=True)
    ap.add_argument("--limit", type=int, default=64)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    rows = [json.loads(line) for line in open(a.texts, encoding="utf-8")]
    rows = rows[::max(1, len(rows) // a.limit)][:a.limit]
    texts = [r["text"] for r in rows]
    tokenizer, model = load(a.torch)
    pipe = transformers.pipeline("zero-shot-classification", model=model, tokenizer=tokenizer)
    pipe(texts[0], LABELS)
    with tempfile.TemporaryDirectory() as folder:
        binary = build(folder)
        sample = os.path.join(folder, "texts.jsonl")
        with open(sample, "w", encoding="utf-8") as f:
            for r in rows:
                f.write(json.dumps({"text": r["text"], "label": r.get("label", "Others")}) + "\n")
        seconds = {}
        note = lambda key, value: seconds.setdefault(key, []).append(value)
        for _ in range(a.rounds):
            one = theirs(pipe, texts, 1)
            note("one", one)
            note("32", theirs(pipe, texts, 32))
            for precision, folder_of in (("int8", a.int8), ("fp32", a.fp32)):
                note(precision, ours(binary, os.path.abspath(folder_of), sample, "Distinct"))
            note("storm", ours(binary, os.path.abspath(a.int8), sample, "Storm"))
            note("their storm", one / len(texts) * 10_000)
    ratio = lambda their, our: statistics.median(t / o for t, o in zip(seconds[their], seconds[our]))
    for name, their, our in (("int8 against one at a time", "one", "int8"), ("int8 against batch 32", "32", "int8"),
                             ("fp32 against one at a time", "one", "fp32"), ("fp32 against batch 32", "32", "fp32"),
                             ("int8 storm", "their storm", "storm")):
        print(json.dumps({"name": name, "value": round(ratio(their, our), 2), "unit": "times as fast", "params": {
            "texts": len(texts), "labels": len(LABELS), "threads": a.threads, "seconds_theirs": round(statistics.median(seconds[their]), 2),
            "seconds_ours": round(statistics.median(seconds[our]), 2), "transformers": transformers.__version__,
            "torch": torch.__version__}}), flush=True)


if __name__ == "__main__":
    main()
