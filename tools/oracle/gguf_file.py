"""GGUF v3 in Python: a reader and a writer for the tools that make test vectors.

Independent of src/gguf on purpose: what one writes the other must read (spec/gguf.md 1).
"""
import struct

import numpy as np

from . import blocks

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
SCALAR = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?",
          U64: "Q", I64: "q", F64: "d"}
ALIGNMENT = 32


def read(path):
    """-> (keys, tensors): values, and {name: (type id, dims, raw bytes)}."""
    data = open(path, "rb").read()
    at = 0

    def take(fmt):
        nonlocal at
        values = struct.unpack_from("<" + fmt, data, at)
        at += struct.calcsize("<" + fmt)
        return values if len(values) > 1 else values[0]

    def text():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n:at].decode("utf-8", "surrogateescape")

    def value(kind):
        if kind == STR:
            return text()
        if kind == ARR:
            elem, count = take("IQ")
            return [value(elem) for _ in range(count)]
        return take(SCALAR[kind])

    magic, version, n_tensors, n_keys = take("4sIQQ")
    assert magic == b"GGUF" and version in (2, 3), path
    keys = {}
    for _ in range(n_keys):
        key = text()
        keys[key] = value(take("I"))
    infos = []
    for _ in range(n_tensors):
        name = text()
        dims = [take("Q") for _ in range(take("I"))]
        infos.append((name, dims, *take("IQ")))
    align = keys.get("general.alignment", ALIGNMENT)
    start = -(-at // align) * align
    tensors = {}
    for name, dims, kind, offset in infos:
        size = blocks.row_bytes(kind, dims[0]) * int(np.prod(dims[1:], dtype=np.int64))
        tensors[name] = (kind, dims, data[start + offset:start + offset + size])
    return keys, tensors


def floats(tensor):
    """A tensor of read() as float32, shaped as numpy has it (last dimension contiguous)."""
    kind, dims, raw = tensor
    return blocks.decode(kind, raw).reshape(dims[::-1])


class Writer:
    def __init__(self):
        self.keys, self.infos, self.data = [], [], b""

    def key(self, name, kind, value, elem=None):
        out = self._text(name) + struct.pack("<I", kind)
        if kind == ARR:
            out += struct.pack("<IQ", elem, len(value))
            out += b"".join(self._scalar(elem, v) for v in value)
        else:
            out += self._scalar(kind, value)
        self.keys.append(out)

    def tensor(self, name, kind, array):
        """array: floats, shaped as numpy has it; kind F32, F16 or BF16."""
        self.raw_tensor(name, kind, array.shape, blocks.encode_plain(kind, array))

    def raw_tensor(self, name, kind, shape, raw):
        dims = shape[::-1]
        info = self._text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        self.infos.append(info + struct.pack("<IQ", kind, len(self.data)))
        self.data += raw + bytes(-len(raw) % ALIGNMENT)

    def save(self, path):
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.infos), len(self.keys))
        head += b"".join(self.keys) + b"".join(self.infos)
        with open(path, "wb") as f:
            f.write(head + bytes(-len(head) % ALIGNMENT) + self.data)

    @staticmethod
    def _text(s):
        raw = s.encode("utf-8")
        return struct.pack("<Q", len(raw)) + raw

    def _scalar(self, kind, value):
        return self._text(value) if kind == STR else struct.pack("<" + SCALAR[kind], value)
