"""Step 1b: what kind of thing a text is about, from dictionaries.

WordNet 3.0 (package wordnet-base) gives a definition for each meaning and the broader terms above it: the definition is a
text, a broader term is a label that is true of it, any other term is one that is not. FreeDict (dict-freedict-eng-*)
gives names of the terms in other languages. Writes lexicon.json:
  glosses  [[text, [indices of the true terms, nearest first]], ...]
  terms    [{"en": [name], "de": [names], ...}, ...]
"""
import argparse
import collections
import glob
import gzip
import json
import os
import re
import subprocess

DICTS = {"ara": "ar", "deu": "de", "fra": "fr", "hin": "hi", "ita": "it", "jpn": "ja", "nld": "nl", "pol": "pl", "por": "pt",
         "rus": "ru", "spa": "es", "tur": "tr"}
# Terms that say nothing: nearly everything is one.
VAGUE = {"entity", "physical entity", "abstraction", "abstract entity", "object", "physical object", "whole", "unit", "thing",
         "matter", "attribute", "state", "act", "event", "group", "relation", "part", "piece", "organism", "living thing",
         "psychological feature", "cognition", "change", "causal agent", "cause", "process", "physical process", "collection",
         "instrumentality", "artifact", "artefact", "being", "quality", "property", "content", "kind", "category", "condition"}


def synsets(path):
    for line in open(path, encoding="utf-8"):
        if line.startswith("  "):
            continue
        head, _, gloss = line.partition(" | ")
        f = head.split()
        words = int(f[3], 16)
        lemmas = [f[4 + 2 * i].replace("_", " ").split("(")[0] for i in range(words)]
        at = 4 + 2 * words
        up = [f[at + 1 + 4 * i + 1] for i in range(int(f[at])) if f[at + 1 + 4 * i] in ("@", "@i") and f[at + 1 + 4 * i + 2] == f[2]]
        yield f[0], lemmas, up, gloss.strip()


def translations(folder):
    out = collections.defaultdict(dict)
    for path in sorted(glob.glob(os.path.join(folder, "**", "freedict-eng-*.dict.dz"), recursive=True)):
        lang = DICTS.get(re.search(r"eng-(\w+)\.dict", path).group(1))
        if not lang:
            continue
        head = None
        for line in gzip.open(path, "rt", encoding="utf-8", errors="ignore"):
            m = re.match(r"^([a-z][a-z -]{1,30}) /", line)
            if m:
                head = m.group(1)
            elif head and line.strip():
                text = re.sub(r"<[^<>]*>|\[[^\]]*\]|\([^)]*\)|^\s*\d+\.|\{[^}]*\}", " ", line)
                names = [re.sub(r"\s+", " ", re.sub(r"\b[IVX]+\.|\d+\.?", " ", t)).strip(" .;") for t in re.split("[,;]", text)]
                names = [n for n in names if 1 < len(n) <= 30 and len(n.split()) <= 3 and not re.search(r'["“:/]', n)][:2]
                if names and lang not in out[head]:
                    out[head][lang] = names
                head = None
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--debs", required=True)
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    root = os.path.join(a.out, "lexicon")
    for deb in sorted(glob.glob(a.debs + "/wordnet-base_*.deb") + glob.glob(a.debs + "/dict-freedict-eng-*.deb")):
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    named = translations(root)
    texts, below, terms = [], collections.Counter(), {}
    for kind in ("noun", "verb"):
        rows = {s[0]: s for s in synsets(os.path.join(root, "usr/share/wordnet", "data." + kind))}
        for sid, lemmas, up, gloss in rows.values():
            chain, level = [], [sid]
            while level and len(chain) < 12:
                level = [u for s in level for u in rows[s][2]][:3]
                chain += [kind + u for u in level]
            for c in dict.fromkeys(chain):
                below[c] += 1
            definition, _, example = gloss.partition('"')
            text = definition.strip(" ;") + (". " + example.split('"')[0] if len(example) > 15 else "")
            if len(text.split()) >= 5 and chain:
                texts.append((lemmas, text, list(dict.fromkeys(chain))))
        for sid, lemmas, _, _ in rows.values():
            terms[kind + sid] = lemmas[0]
    good, index = [], {}
    for c, n in sorted(below.items()):
        name = terms[c]
        if 12 <= n <= 4000 and name not in VAGUE and len(name.split()) <= 2 and name.replace(" ", "").isalpha() and name.islower():
            index[c] = len(good)
            good.append({"en": [name], **named.get(name, {})})
    glosses = []
    for lemmas, text, chain in texts:
        true = [index[c] for c in chain if c in index][:5]
        if true:
            glosses.append([(lemmas[0] + ": " if len(glosses) % 3 == 0 else "") + text[:240], true])
    json.dump({"glosses": glosses, "terms": good}, open(os.path.join(a.out, "lexicon.json"), "w", encoding="utf-8"), ensure_ascii=False)
    print(len(glosses), "glosses,", len(good), "terms,", sum(len(t) > 3 for t in good), "of them with names in other languages")


if __name__ == "__main__":
    main()
