"""Golden ids, logits and zero-shot scores of Hugging Face transformers for a model folder that holds its weights.

  make_goldens.py FOLDER --texts FILE.jsonl [--limit N] > goldens.jsonl     (FILE has the field "text")
The first line names the versions. Scores are those of pipeline("zero-shot-classification") with its defaults.
"""
import argparse
import json

import tokenizers
import torch
import transformers
from transformers import PreTrainedTokenizerFast, XLMRobertaForSequenceClassification, pipeline

LABELS = ["Network Issue", "Server Issue", "Software Issue", "Login Issue", "Others"]


def load(folder):
    tok = PreTrainedTokenizerFast(tokenizer_file=folder + "/tokenizer.json", bos_token="<s>", eos_token="</s>", sep_token="</s>",
                                  cls_token="<s>", unk_token="<unk>", pad_token="<pad>", mask_token="<mask>")
    model = XLMRobertaForSequenceClassification.from_pretrained(folder).eval()
    tok.model_max_length = model.config.max_position_embeddings - 2
    tok.model_input_names = ["input_ids", "attention_mask"]
    return tok, model


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("folder")
    ap.add_argument("--texts", required=True)
    ap.add_argument("--limit", type=int, default=100)
    ap.add_argument("--template", default="This example is {}.")
    a = ap.parse_args()
    tok, model = load(a.folder)
    zero = pipeline("zero-shot-classification", model=model, tokenizer=tok)
    print(json.dumps({"transformers": transformers.__version__, "tokenizers": tokenizers.__version__, "torch": torch.__version__,
                      "labels": LABELS, "template": a.template}))
    rows = [json.loads(l)["text"] for l in open(a.texts, encoding="utf-8")]
    for text in rows[::max(1, len(rows) // a.limit)][:a.limit]:
        enc = tok([text] * len(LABELS), [a.template.format(l) for l in LABELS], truncation="only_first", padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(**enc).logits
        r = zero(text, LABELS, hypothesis_template=a.template)
        m = zero(text, LABELS, hypothesis_template=a.template, multi_label=True)
        print(json.dumps({"text": text, "ids": [[int(i) for i, k in zip(x, y) if k] for x, y in zip(enc["input_ids"], enc["attention_mask"])],
                          "logits": logits.tolist(), "scores": dict(zip(r["labels"], r["scores"])), "multi": dict(zip(m["labels"], m["scores"]))},
                         ensure_ascii=False))


if __name__ == "__main__":
    main()
