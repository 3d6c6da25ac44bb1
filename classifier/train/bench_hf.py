"""The Hugging Face pipeline's speed on this machine, as JSON lines: what the engine is compared with.

  bench_hf.py FOLDER --texts FILE.jsonl [--limit N]     (FOLDER holds the fp32 weights)
Cases: one text at a time; batch_size 32; the same with PyTorch's dynamic int8; a storm of 10,000 texts of which 100 are
distinct (measured on --storm of them, and scaled).
"""
import argparse
import json
import time

import torch
import transformers

from make_goldens import LABELS, load


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("--texts", required=True)
    ap.add_argument("--limit", type=int, default=128)
    ap.add_argument("--storm", type=int, default=500)
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    rows = [json.loads(l)["text"] for l in open(a.texts, encoding="utf-8")]
    rows = rows[::max(1, len(rows) // a.limit)][:a.limit]
    tok, model = load(a.folder)
    int8 = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    storm = [rows[i % min(100, len(rows))] for i in range(a.storm)]
    for precision, m in (("fp32", model), ("int8", int8)):
        zero = transformers.pipeline("zero-shot-classification", model=m, tokenizer=tok)
        zero(rows[0], LABELS)
        for case, texts, batch in (("one at a time", rows, 1), ("batch_size 32", rows, 32), ("storm, one at a time", storm, 1)):
            start = time.time()
            if batch == 1:
                for t in texts:
                    zero(t, LABELS)
            else:
                zero(texts, LABELS, batch_size=batch)
            took = time.time() - start
            row = {"case": case, "precision": precision, "texts": len(texts), "labels": len(LABELS), "seconds": round(took, 3),
                   "incidents_per_s": round(len(texts) / took, 2), "threads": a.threads, "transformers": transformers.__version__, "torch": torch.__version__}
            if "storm" in case:
                row["seconds_for_10000"] = round(took * 10000 / len(texts), 1)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
