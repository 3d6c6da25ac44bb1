"""Step 1: parallel sentences from the message catalogues of translated free software.

Reads Debian packages (*.deb) and package-description translations (apt lists, Translation-xx), writes
  pairs.jsonl         {"lang", "en", "text", "src"}, deduplicated, at most --cap per language
  descriptions.jsonl  {"section", "tags", "text", "lang"} of packages, a topic-label source

Formats: gettext .mo, Chromium .pak (format 5), MediaWiki i18n JSON, apt Translation files (LZ4, through apt-helper).
"""
import argparse
import collections
import glob
import gzip
import json
import os
import random
import re
import struct
import subprocess

LANGS = "ar de en es fr hi it ja ko nl pl pt ru tr vi zh".split()
ALIAS = {"pt_br": "pt", "pt-br": "pt", "zh_cn": "zh", "zh-cn": "zh", "zh-hans": "zh", "zh_hans": "zh", "pt": "pt",
         "de_de": "de", "es_es": "es", "fr_fr": "fr", "it_it": "it", "nl_nl": "nl", "pl_pl": "pl", "ru_ru": "ru",
         "tr_tr": "tr", "ko_kr": "ko", "ja_jp": "ja", "hi_in": "hi", "vi_vn": "vi", "pt_pt": "pt", "es-419": None,
         "pt-pt": "pt"}
TAG = re.compile(r"<[^<>]{1,200}>|\[\[|\]\]|\{\{[^{}]*\}\}|'''?")
HOLD = re.compile(r"%(\d+\$)?[-+ 0#']*\d*(\.\d+)?(l|ll|z|j)?[a-zA-Z%]|%\([^)]*\)[sdf]|\$\{?[A-Za-z0-9_]+\}?|\{[^{}]{0,40}\}|%\d|\$\d")


def language(code):
    code = code.lower().split("@")[0].split(".")[0]
    if code in ALIAS:
        return ALIAS[code]
    return code if code in LANGS else None


def clean(text):
    text = TAG.sub(" ", text.replace("\\n", " ").replace("\u200b", ""))
    text = re.sub(r"(?<!\w)[_&~](?=\w)|(?<=\w)[_&~](?=\w{3})", "", text)
    text = re.sub(r"\s*\([_&~]?[A-Z]\)", "", text)
    text = re.sub(r"&(quot|lt|gt|nbsp|amp|apos|#\d+);", " ", text)
    text = HOLD.sub(" ", text)
    text = re.sub(r"\s+", " ", text).strip(" :;-*\t…")
    return text


def mo(data):
    magic, _, n, o, t = struct.unpack("<IIIII", data[:20])
    if magic != 0x950412de:
        return
    for i in range(n):
        l1, p1 = struct.unpack("<II", data[o + 8 * i:o + 8 * i + 8])
        l2, p2 = struct.unpack("<II", data[t + 8 * i:t + 8 * i + 8])
        a = data[p1:p1 + l1].split(b"\x04")[-1].split(b"\0")[0].decode("utf-8", "ignore")
        b = data[p2:p2 + l2].split(b"\0")[0].decode("utf-8", "ignore")
        if a and b:
            yield a, b


def pak(path):
    data = open(path, "rb").read()
    if struct.unpack("<I", data[:4])[0] != 5:
        return {}
    n, alias = struct.unpack("<HH", data[8:12])
    rows = [struct.unpack("<HI", data[12 + 6 * i:18 + 6 * i]) for i in range(n + 1)]
    return {rows[i][0]: data[rows[i][1]:rows[i + 1][1]].decode("utf-8", "ignore") for i in range(n)}


def catalogues(root):
    for path in glob.iglob(root + "/**/*.mo", recursive=True):
        m = re.search(r"/([A-Za-z_@-]{2,12})/LC_MESSAGES/", path) or re.search(r"(?:^|[-/])([a-z]{2}(?:_[A-Z]{2})?)\.mo$", path)
        lang = m and language(m.group(1))
        if lang and lang != "en":
            try:
                for a, b in mo(open(path, "rb").read()):
                    yield lang, a, b, os.path.basename(path)
            except (struct.error, OSError):
                pass
    paks = {os.path.basename(p)[:-4]: p for p in glob.glob(root + "/**/locales/*.pak", recursive=True)}
    if paks:
        en = pak(paks.get("en-GB") or paks["en-US"])
        for code, path in paks.items():
            lang = language(code)
            if lang and lang != "en":
                for k, b in pak(path).items():
                    if k in en and len(en[k]) < 600:
                        yield lang, en[k], b, "chromium"
    for path in glob.iglob(root + "/**/i18n/**/en.json", recursive=True):
        try:
            en = json.load(open(path, encoding="utf-8"))
        except ValueError:
            continue
        for code in LANGS + ["pt-br", "zh-hans", "zh-cn"]:
            other = os.path.join(os.path.dirname(path), code + ".json")
            lang = language(code)
            if lang == "en" or not os.path.exists(other):
                continue
            for k, b in json.load(open(other, encoding="utf-8")).items():
                if isinstance(b, str) and isinstance(en.get(k), str):
                    yield lang, en[k], b, "mediawiki"


def stanzas(path):
    out = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", path], capture_output=True, check=True).stdout.decode("utf-8", "ignore")
    for block in out.split("\n\n"):
        row, key = {}, None
        for line in block.split("\n"):
            if line[:1] == " " and key:
                row[key] += "\n" + line[1:]
            elif ":" in line:
                key, value = line.split(":", 1)
                row[key] = value.strip()
        yield row


def description(value):
    lines = value.split("\n")
    text = [lines[0]]
    for line in lines[1:]:
        if line.strip() == ".":
            break
        text.append(line.strip())
    return lines[0], " ".join(text[1:])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--debs", required=True)
    ap.add_argument("--lists", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--cap", type=int, default=70000)
    a = ap.parse_args()
    random.seed(1)
    root = os.path.join(a.out, "unpacked")
    for deb in sorted(glob.glob(a.debs + "/*.deb")):
        target = os.path.join(root, os.path.basename(deb).split("_")[0])
        if not os.path.isdir(target):
            os.makedirs(target)
            tar = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
            subprocess.run(["tar", "-x", "-C", target, "--wildcards", "*.mo", "*.pak", "*/i18n/*.json"], stdin=tar.stdout,
                           stderr=subprocess.DEVNULL)
            tar.wait()
    found, seen = collections.defaultdict(list), set()

    def add(lang, en, text, src):
        en, text = clean(en), clean(text)
        if not (3 <= len(en) <= 320 and 1 <= len(text) <= 400) or en == text or sum(c.isalpha() for c in en) < 0.6 * len(en):
            return
        if lang in ("ar", "hi", "ja", "ko", "ru", "zh") and sum(ord(c) > 0x370 for c in text) < 0.3 * len(text):
            return
        key = (lang, en.lower())
        if key not in seen:
            seen.add(key)
            found[lang].append({"lang": lang, "en": en, "text": text, "src": src})

    for deb in sorted(os.listdir(root)):
        for row in catalogues(os.path.join(root, deb)):
            add(*row)
    en_desc, tags = {}, {}
    lists = sorted(glob.glob(a.lists + "/*_bookworm_main_*"))
    for path in lists:
        if "Packages" in path:
            for row in stanzas(path):
                if "Description-md5" in row:
                    tags[row["Description-md5"]] = (row.get("Section", ""), row.get("Tag", "").replace("\n", " "))
    rows = []
    for path in sorted(lists, key=lambda p: "Translation-en" not in p):
        m = re.search(r"Translation-([A-Za-z]{2})", path)
        if not m:
            continue
        lang = m.group(1)
        for row in stanzas(path):
            value = next((v for k, v in row.items() if k.startswith("Description-") and k != "Description-md5"), None)
            md5 = row.get("Description-md5")
            if not value or not md5:
                continue
            short, long = description(value)
            if lang == "en":
                en_desc[md5] = (short, long)
            elif md5 in en_desc:
                add(lang, en_desc[md5][0], short, "description")
                if len(long) > 20:
                    add(lang, en_desc[md5][1][:320], long[:360], "description")
            if md5 in tags and (lang != "en" or random.random() < 0.5) and not short.startswith("transitional"):
                rows.append({"lang": lang, "section": tags[md5][0], "tags": tags[md5][1], "text": clean(short + ". " + long)[:500]})
    with open(a.out + "/pairs.jsonl", "w", encoding="utf-8") as f:
        for lang in sorted(found):
            items = found[lang]
            random.shuffle(items)
            # short interface words teach little: keep all sentences first, then fill up with short ones
            items.sort(key=lambda r: (len(r["en"].split()) < 3, r["src"] == "description" and random.random() < 0.5))
            print(lang, len(items), sum(len(r["en"].split()) >= 3 for r in items), flush=True)
            long_, short_ = [r for r in items if len(r["en"].split()) >= 3], [r for r in items if len(r["en"].split()) < 3]
            for r in long_[:a.cap] + short_[:a.cap // 4]:
                f.write(json.dumps(r, ensure_ascii=False) + "\n")
    random.shuffle(rows)
    count = collections.Counter()
    with open(a.out + "/descriptions.jsonl", "w", encoding="utf-8") as f:
        for r in rows:
            count[r["lang"]] += 1
            if count[r["lang"]] <= 20000:
                f.write(json.dumps(r, ensure_ascii=False) + "\n")
    print(count)


if __name__ == "__main__":
    main()
