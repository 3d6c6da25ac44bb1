#!/usr/bin/env python3
"""Writes the conformance corpus: lines of text with the ids that Hugging Face's tokenizers gives them.

Usage: python make_conformance.py corpus TEXTS.jsonl...       writes corpus.gz (rows with the field "text")
       python make_conformance.py ids TOKENIZER.json OUT.gz  writes the ids of corpus.gz
Needs: pip install tokenizers regex

The reference is the tokenizer with its special pieces out of reach (their texts renamed, no added tokens), because
input must not be able to forge them; every line without such a text is also checked against the tokenizer as it is.

Formats, gzipped: a header line of JSON, then per text its length and its bytes (UTF-8), or the number of its ids and
the ids; all numbers are unsigned varints. Everything is drawn from one seed, so the files can be made again.
"""
import gzip
import io
import json
import pathlib
import random
import sys
import unicodedata

import regex
import tokenizers

SEED = 20240607
CORPUS = pathlib.Path(__file__).parent / "corpus.gz"
BLOCKS = {  # scripts and oddities by range
    "latin": [(0x41, 0x24F)], "greek": [(0x370, 0x3FF)], "cyrillic": [(0x400, 0x4FF)], "armenian": [(0x530, 0x58F)],
    "hebrew": [(0x590, 0x5F4)], "arabic": [(0x600, 0x6FF)], "syriac": [(0x700, 0x74F)], "devanagari": [(0x900, 0x97F)],
    "bengali": [(0x980, 0x9FE)], "gurmukhi": [(0xA01, 0xA76)], "gujarati": [(0xA81, 0xAFF)], "tamil": [(0xB82, 0xBFA)],
    "telugu": [(0xC00, 0xC7F)], "malayalam": [(0xD00, 0xD7F)], "sinhala": [(0xD81, 0xDF4)], "thai": [(0xE01, 0xE5B)],
    "lao": [(0xE81, 0xEDF)], "tibetan": [(0xF00, 0xFDA)], "myanmar": [(0x1000, 0x109F)], "georgian": [(0x10A0, 0x10FF)],
    "hangul jamo": [(0x1100, 0x11FF)], "ethiopic": [(0x1200, 0x137C)], "khmer": [(0x1780, 0x17F9)],
    "mongolian": [(0x1800, 0x18AA)], "kana": [(0x3041, 0x30FF)], "half and full width": [(0xFF01, 0xFFEE)],
    "han": [(0x4E00, 0x9FFF)], "hangul": [(0xAC00, 0xD7A3)], "symbols": [(0x2000, 0x2BFF)], "compatibility": [(0xF900, 0xFB4F)],
    "arabic forms": [(0xFB50, 0xFDFF), (0xFE70, 0xFEFC)], "emoji": [(0x1F300, 0x1FAFF)], "mathematical": [(0x1D400, 0x1D7FF)],
    "controls": [(0x0, 0x20), (0x7F, 0xA0), (0x2028, 0x202F), (0x2060, 0x206F), (0xFFF0, 0xFFFD)],
    "marks": [(0x300, 0x36F), (0x1AB0, 0x1ACE), (0x20D0, 0x20F0), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F)],
}
SPACES = [" ", " ", " ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2003", "\u200b", "\u2581", "\u1680", "\u0085"]
FIXED = [
    "", " ", "\u2581", "\u2581\u2581 \u2581", "a\u2581b", "<s>", "</s></s>", "x </s></s> y", "<pad>", "<unk>", "<mask>",
    " <mask> ", "<S>", "\uff1cs\uff1e", "<s", "s>", "\u2581<s>", "e\u0301", "\u00e9", "\u00a8\u0301", "\u2460\u0301", "\r\n", "\n\r\n",
    "\uff8a\uff9f", "\u304b\u3099", "\u200d", "a\u200db", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea\U0001f1eb",
    "\u0915\u094d\u0937", "\u0e33", "\u0e01\u0e33", "\u0600a", "\u00a9\u200d\u00a9", "\ufeffx", "\u00ad", "\ufffd\ufffd", "\x00", "a\x00b",
    "\u1100\u1161\u11a8", "\ufdfa", "\u3300", "x" * 5000, "\u00e9" * 3000, "e\u0301" * 3000, "\u0e01" * 3000, "\u0301" * 3000,
    "a" + "\u0301" * 3000, "\U0001f600" * 2000, "\u2581" * 2000, "ab" * 4000 + " c", "\ud7a3" * 2000,
]


def assigned(ranges):
    chars = [chr(c) for lo, hi in ranges for c in range(lo, hi + 1) if regex.match(r"\p{Assigned}", chr(c))]
    return [c for c in chars if not 0xD800 <= ord(c) <= 0xDFFF]


def corpus(paths):
    rnd = random.Random(SEED)
    texts = [json.loads(line)["text"] for path in paths for line in open(path, encoding="utf-8")]
    yield from FIXED
    yield from texts
    for form in ("NFD", "NFC", "NFKD"):
        for text in rnd.sample(texts, 1500):
            yield unicodedata.normalize(form, text)
    pools = {name: assigned(ranges) for name, ranges in BLOCKS.items()}
    everything = [c for pool in pools.values() for c in pool]
    for name, pool in pools.items():
        for _ in range(150):  # words of one script
            yield "".join(rnd.choice(SPACES) if rnd.random() < 0.12 else rnd.choice(pool) for _ in range(rnd.randint(1, 40)))
        for _ in range(60):  # with marks and joiners
            extra = pools["marks"] + ["\u200d", "\u200c", "\ufe0f"]
            yield "".join(rnd.choice(pool) + (rnd.choice(extra) if rnd.random() < 0.5 else "") for _ in range(rnd.randint(1, 20)))
    for _ in range(2000):
        yield "".join(rnd.choice(everything) for _ in range(rnd.randint(1, 30)))
    for _ in range(2000):
        yield rnd.randbytes(rnd.randint(1, 60)).decode("utf-8", "replace")
    for _ in range(1000):  # cuts of real texts glued together
        a, b = rnd.choice(texts), rnd.choice(texts)
        yield a[rnd.randrange(len(a)):] + rnd.choice(SPACES + ["</s>", "<s>"]) + b[:rnd.randrange(len(b))]
    for _ in range(60):
        yield "".join(rnd.choice(everything) for _ in range(rnd.randint(200, 600)))
    # Every code point of the BMP that is not Han or Hangul, behind a character that normalises: does it join?
    for c in range(0x20, 0xFFFE):
        if not (0x3400 <= c < 0xF900) and regex.match(r"\p{Assigned}", chr(c)) and rnd.random() < 0.2:
            yield "\u00aa" + chr(c) + "b" + chr(c)


def neutral(path):
    parts = json.load(open(path, encoding="utf-8"))
    special = {t["content"] for t in parts["added_tokens"] if t["special"]}
    parts["added_tokens"] = []
    for piece in parts["model"]["vocab"]:
        if piece[0] in special:
            piece[0] = "\0\0reserved" + piece[0]
    return tokenizers.Tokenizer.from_str(json.dumps(parts)), special


def varint(out, n):
    while n >= 0x80:
        out.write(bytes([n & 0x7F | 0x80]))
        n >>= 7
    out.write(bytes([n]))


def write(path, header, body):
    with gzip.GzipFile(path, "wb", 9, mtime=0) as f:
        f.write(json.dumps(header).encode() + b"\n" + body.getvalue())
    print(path, header)


def write_corpus(paths):
    body, count = io.BytesIO(), 0
    for text in corpus(paths):
        data = text.encode("utf-8")
        varint(body, len(data))
        body.write(data)
        count += 1
    write(CORPUS, {"lines": count, "seed": SEED}, body)


def read_corpus():
    data = gzip.open(CORPUS).read()
    pos = data.index(b"\n") + 1
    while pos < len(data):
        size, shift = 0, 0
        while True:
            byte = data[pos]
            pos += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield data[pos:pos + size].decode("utf-8")
        pos += size


def write_ids(tokenizer_path, out_path):
    reference, special = neutral(tokenizer_path)
    plain = tokenizers.Tokenizer.from_file(tokenizer_path)
    body, count = io.BytesIO(), 0
    for text in read_corpus():
        ids = reference.encode(text, add_special_tokens=False).ids
        normal = reference.normalizer.normalize_str(text)
        if not any(s in text or s in normal for s in special):
            assert ids == plain.encode(text, add_special_tokens=False).ids, text
        varint(body, len(ids))
        for i in ids:
            varint(body, i)
        count += 1
    write(out_path, {"tokenizers": tokenizers.__version__, "lines": count}, body)


if sys.argv[1] == "corpus":
    write_corpus(sys.argv[2:])
else:
    write_ids(*sys.argv[2:])
