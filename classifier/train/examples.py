"""Training examples for step 6: a text, a set of candidate labels and how likely each is.

Sources: the five production labels and the 58 topics of train.jsonl (names in 16 languages: topic-names.tsv), authored
label sets (*-labels.jsonl with *-texts.jsonl; heldout-* is never read), dictionary definitions with broader terms
(lexicon.py), package descriptions with their sections, and texts of all kinds under labels of all kinds with the teacher's
answers (judged.py).
"""
import collections
import glob
import json
import os
import random
import re

LANGS = "ar de en es fr hi it ja ko nl pl pt ru tr vi zh".split()
# Japanese and Korean share the fewest pieces with other languages and were the weakest: they come twice as often;
# so does English three times, the language of most writers.
OFTEN = LANGS + ["en", "en", "ja", "ko"]
FIVE = ["Network Issue", "Server Issue", "Software Issue", "Login Issue", "Others"]
# The first is the one that ships: the bare name belongs to no language and costs no tokens. The second is the pipeline's own.
TEMPLATES = ["{}", "This example is {}.", "This text is about {}.", "The topic is {}.", "{}.", "This is a case of {}.",
             "Category: {}", "Das Thema ist {}.", "Ce texte parle de {}.", "Este texto trata de {}.", "Тема: {}.",
             "主题：{}", "これは{}についてです。", "Konu: {}", "الموضوع: {}"]
SECTIONS = {
    "admin": "system administration", "cli-mono": "", "comm": "communication", "database": "databases", "debug": "",
    "devel": "software development", "doc": "documentation", "editors": "text editors", "education": "education",
    "electronics": "electronics", "embedded": "embedded systems", "fonts": "fonts and typography", "games": "games",
    "graphics": "graphics and images", "hamradio": "amateur radio", "httpd": "web servers", "interpreters": "script interpreters",
    "mail": "e-mail", "math": "mathematics", "net": "networking", "news": "news", "otherosfs": "other operating systems",
    "science": "science", "shells": "command shells", "sound": "music and sound", "tex": "typesetting",
    "translations": "translations", "video": "video", "vcs": "version control", "web": "web browsing",
    "field::biology": "biology", "field::physics": "physics", "field::chemistry": "chemistry", "field::astronomy": "astronomy",
    "field::medicine": "medicine", "field::finance": "finance", "field::geography": "maps and geography",
    "field::linguistics": "languages and linguistics", "field::statistics": "statistics", "field::mathematics": "mathematics",
    "field::electronics": "electronics", "use::gameplaying": "games", "game::puzzle": "puzzle games", "game::strategy": "strategy games",
    "game::sport": "sports games", "game::card": "card games", "security::firewall": "firewalls", "security::antivirus": "viruses and malware",
    "security::authentication": "authentication", "security::cryptography": "encryption", "use::chatting": "chat and messaging",
    "use::monitor": "monitoring", "use::printing": "printing", "use::scanning": "scanners", "use::timekeeping": "time and calendars",
    "admin::backup": "backups", "admin::virtualization": "virtualisation", "works-with::mail": "e-mail", "works-with::audio": "audio",
    "works-with::image:raster": "photos", "works-with::spreadsheet": "spreadsheets", "works-with::dictionary": "dictionaries",
    "works-with::pim": "contacts and appointments", "office::finance": "accounting", "hardware::camera": "cameras",
    "hardware::power": "power and batteries", "hardware::gps": "satellite navigation", "hardware::modem": "modems"}
HELLO = {"en": ["Hello team,", "Hi,", "Dear support,"], "de": ["Hallo zusammen,", "Guten Tag,"], "fr": ["Bonjour,"], "es": ["Buenos días,", "Hola,"],
         "it": ["Buongiorno,"], "pt": ["Olá,", "Bom dia,"], "nl": ["Hallo,", "Beste collega's,"], "pl": ["Dzień dobry,"], "ru": ["Здравствуйте,"],
         "tr": ["Merhaba,"], "ar": ["السلام عليكم،"], "hi": ["नमस्ते,"], "vi": ["Xin chào,"], "zh": ["您好，"], "ja": ["お世話になっております。"], "ko": ["안녕하세요,"]}
BYE = {"en": ["Thanks", "Kind regards", "Please help."], "de": ["Danke", "Mit freundlichen Grüßen"], "fr": ["Merci d'avance"], "es": ["Gracias", "Un saludo"],
       "it": ["Grazie"], "pt": ["Obrigado"], "nl": ["Bedankt"], "pl": ["Pozdrawiam"], "ru": ["Спасибо"], "tr": ["Teşekkürler"], "ar": ["شكرا"],
       "hi": ["धन्यवाद"], "vi": ["Cảm ơn"], "zh": ["谢谢"], "ja": ["よろしくお願いします。"], "ko": ["감사합니다"]}


def rows(path):
    return [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]


def training_texts(data):
    """All texts and all names of labels that training may read: never those of dev, held-out sets and one-liners."""
    texts, names = [], []
    for path in sorted(glob.glob(os.path.join(data, "*.jsonl"))):
        if os.path.basename(path).startswith(("dev", "heldout", "oneliners")):
            continue
        for r in rows(path):
            if "text" in r:
                texts.append(r["text"])
            else:
                names += [n for each in r["names"].values() for n in each]
    return texts, names


def topic_names(data):
    lines = [l.rstrip("\n").split("\t") for l in open(os.path.join(data, "topic-names.tsv"), encoding="utf-8")]
    head = lines[0][1:]
    return {l[0]: {lang: v.split("|") for lang, v in zip(head, l[1:]) if v} for l in lines[1:]}


def authored(data):
    """Authored label sets and texts: {set: {label: {"names": {lang: [...]}, "texts": [(lang, text)]}}}."""
    sets = collections.defaultdict(dict)
    index = {}
    for path in sorted(glob.glob(os.path.join(data, "*-labels.jsonl"))):
        if os.path.basename(path).startswith("heldout"):
            continue
        for r in rows(path):
            index[r["label"]] = sets[r["set"]][r["label"]] = {"names": r["names"], "texts": []}
    for path in sorted(glob.glob(os.path.join(data, "*-texts.jsonl"))):
        if os.path.basename(path).startswith("heldout"):
            continue
        for r in rows(path):
            if r["label"] in index:
                index[r["label"]]["texts"].append((r["lang"], r["text"]))
    return sets


class Examples:
    def __init__(self, data, work=None, seed=5, judged=None, share=0.3):
        self.share = share
        self.rng = random.Random(seed)
        self.names = topic_names(data)
        self.train = rows(os.path.join(data, "train.jsonl"))
        self.vague = rows(os.path.join(data, "vague.jsonl"))
        self.more = rows(os.path.join(data, "incidents.jsonl"))  # like train.jsonl, without topics
        self.by_label = collections.defaultdict(lambda: collections.defaultdict(list))
        for r in self.train + self.more:
            self.by_label[r["label"]][r["lang"]].append(r)
        self.topics = collections.defaultdict(set)
        for r in self.train:
            self.topics[r["label"]].add(r["topic"])
        self.topics = {k: sorted(v) for k, v in self.topics.items()}
        self.sets = {k: v for k, v in authored(data).items() if len(v) >= 3}
        self.authored = [(s, l, lang, t) for s, ls in self.sets.items() for l, d in ls.items() for lang, t in d["texts"]]
        self.desc, self.glosses, self.terms, self.judged = [], [], [], judged
        if work:
            lexicon = json.load(open(os.path.join(work, "lexicon.json"), encoding="utf-8"))
            self.glosses, self.terms = lexicon["glosses"], lexicon["terms"]
            for r in rows(os.path.join(work, "descriptions.jsonl")):
                keys = [k for k in re.findall(r"[a-z]+::[a-z:]+", r["tags"]) if k in SECTIONS]
                name = SECTIONS.get(keys[-1] if keys else r["section"].split("/")[-1])
                if name:
                    self.desc.append((name, r["text"], r["lang"]))
            per = collections.defaultdict(list)
            for d in self.desc:
                per[d[0]].append(d)
            self.desc = per
        print(len(self.train), "and", len(self.more), "texts,", len(self.glosses), "definitions,", len(self.authored), "authored in", len(self.sets), "sets,", len(self.desc), "sections", flush=True)

    # names
    def name_of(self, names, lang):
        g = self.rng
        pick = g.choices(["en", lang, g.choice(LANGS)], [0.35, 0.20, 0.45])[0]
        return g.choice(names.get(pick) or names["en"]), pick

    def set_language(self, lang):
        return self.rng.choices(["en", lang, self.rng.choice(LANGS)], [0.35, 0.20, 0.45])[0]

    def pick(self, names, lang):
        return self.rng.choice(names.get(lang) or names["en"])

    # texts
    def noise(self, text, lang):
        g = self.rng
        x = g.random()
        if x < 0.45:
            return text
        if x < 0.52:
            text = text.rstrip(".!?。")
        elif x < 0.57:
            text = text.upper() if g.random() < 0.4 else text.lower()
        elif x < 0.65 and len(text) > 12:
            t = list(text)
            for _ in range(g.randint(1, 3)):
                i = g.randrange(1, len(t) - 1)
                k = g.random()
                if k < 0.4:
                    t[i], t[i - 1] = t[i - 1], t[i]
                elif k < 0.7:
                    del t[i]
                else:
                    t.insert(i, t[i])
            text = "".join(t)
        elif x < 0.75:
            words = text.split()
            if len(words) > 8:
                n = g.randint(5, len(words))
                text = " ".join(words[:n])
        elif x < 0.85:
            text = g.choice(HELLO[lang]) + " " + text + (" " + g.choice(BYE[lang]) if g.random() < 0.7 else "")
        elif x < 0.90:
            text = g.choice(["[TICKET-%d] " % g.randint(100, 99999), "Fwd: ", "RE: ", "URGENT: ", "2024-0%d-1%d 0%d:15:42 ERROR " % (g.randint(1, 9), g.randint(0, 9), g.randint(0, 9)), "#%d " % g.randint(1, 9999)]) + text
        elif x < 0.94 and lang != "en":
            text = text + " " + g.choice(["Please check asap.", "Any update?", "ticket prio 2", "see attachment"])
        return text

    def fill(self, text, label, lang):
        """A long text: more texts of the same label around it."""
        g = self.rng
        more = [g.choice(self.by_label[label][lang])["text"] for _ in range(g.randint(1, 8))]
        parts = [g.choice(HELLO[lang]), text] + more + [g.choice(BYE[lang])]
        return " ".join(parts)

    # sources
    def five(self):
        g = self.rng
        label = g.choice(FIVE)
        lang = g.choice(OFTEN)
        vague = label == "Others" and g.random() < 0.15
        r = g.choice(self.vague if vague else self.by_label[label][lang])
        lang = r["lang"]
        text = self.fill(r["text"], label, lang) if g.random() < 0.04 else self.noise(r["text"], lang)
        exact = g.random() < 0.6
        template = g.choices(TEMPLATES[:2], [3, 1])[0] if exact else self.template()
        labels = list(FIVE)
        if g.random() < 0.6:
            n = g.randint(2, 4)
            others = [l for l in FIVE if l != label]
            keep = g.sample(others, n - 1)
            labels = [l for l in FIVE if l == label or l in keep]
            if label != "Others" and "Others" in labels and len(labels) > 2 and g.random() < 0.15:
                labels.remove(label)
                label = "Others"
        sl = self.set_language(lang)
        names = [l if exact else self.pick(self.names[l], sl) for l in labels]
        return text, names, [float(l == label) for l in labels], template, True

    def topic(self):
        g = self.rng
        r = g.choice(self.train)
        lang = r["lang"]
        same = [t for t in self.topics[r["label"]] if t != r["topic"]]
        far = [t for l, ts in self.topics.items() if l != r["label"] for t in ts]
        n = g.randint(1, 4)
        wrong = g.sample(same if g.random() < 0.35 else far, n)
        if g.random() < 0.25:
            wrong[0] = g.choice([l for l in FIVE[:4] if l != r["label"]])
        sl = self.set_language(lang)
        labels = [r["topic"]] + wrong
        target = [1.0] + [0.0] * n
        if g.random() < 0.15:
            labels.append("Others")
            target.append(0.0)
            if g.random() < 0.4:
                labels, target = labels[1:], [0.0] * n + [1.0]
        order = g.sample(range(len(labels)), len(labels))
        return (self.noise(r["text"], lang), [self.pick(self.names[labels[i]], sl) for i in order], [target[i] for i in order],
                self.template(), True)

    def template(self):
        x = self.rng.random()
        return TEMPLATES[0] if x < 0.5 else TEMPLATES[1] if x < 0.7 else self.rng.choice(TEMPLATES)

    def written(self):
        g = self.rng
        s, label, lang, text = g.choice(self.authored)
        pool = [l for l in self.sets[s] if l != label]
        names = {l: d["names"] for l, d in self.sets[s].items()}
        if g.random() < 0.35:
            other = self.sets[g.choice(list(self.sets))]
            more = [l for l in other if l != label]
            names.update({l: other[l]["names"] for l in more})
            pool = more if len(more) > 3 else pool + more
        wrong = g.sample(pool, min(len(pool), g.randint(1, 5)))
        sl = self.set_language(lang)
        labels = [label] + wrong
        target = [1.0] + [0.0] * len(wrong)
        out = [self.pick(names[l], sl) for l in labels]
        if g.random() < 0.15:  # another name of the label instead of a text
            lang = g.choice(sorted(names[label]))
            text = self.pick(names[label], lang)
        if g.random() < 0.15:
            out.append(self.pick(self.names["Others"], sl))
            target.append(0.0)
            if g.random() < 0.4:
                out, target = out[1:], [0.0] * len(wrong) + [1.0]
        order = g.sample(range(len(out)), len(out))
        return self.noise(text, lang), [out[i] for i in order], [target[i] for i in order], self.template(), True

    def section(self):
        g = self.rng
        names = list(self.desc)
        name = g.choice(names)
        _, text, _ = g.choice(self.desc[name])
        wrong = g.sample([n for n in names if n != name], g.randint(2, 4))
        cut = text if g.random() < 0.5 else text[:g.randint(40, 200)]
        return cut, [name] + wrong, [0.9] + [0.1 / len(wrong)] * len(wrong), self.template(), False

    def gloss(self):
        g = self.rng
        text, true = g.choice(self.glosses)
        # the nearest broader term mostly; no other broader term may stand among the wrong ones
        label = true[min(int(g.expovariate(1.2)), len(true) - 1)]
        wrong = [i for i in g.sample(range(len(self.terms)), g.randint(2, 5)) if i not in true]
        picks = [label] + wrong
        sl = self.set_language("en")
        order = g.sample(range(len(picks)), len(picks))
        return (self.noise(text, "en"), [self.pick(self.terms[picks[i]], sl) for i in order], [float(i == 0) for i in order],
                self.template(), True)

    def __iter__(self):
        g = self.rng
        others = [(self.topic, 8), (self.written, 40 if self.authored else 0), (self.gloss, 12 if self.glosses else 0),
                  (self.section, 2 if self.desc else 0)]
        if self.judged:
            others.append((lambda: self.judged.example(self), 150))
        sources, weights = zip(*others)
        while True:
            yield self.five() if g.random() < self.share else g.choices(sources, weights)[0]()
