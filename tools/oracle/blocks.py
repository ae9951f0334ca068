"""Tensor types in numpy (spec/gguf.md 6): exact decode of the 17 types that Holdfast reads.

Independent of src/quant on purpose; all arithmetic in float32, left to right, as the format says.
"""
import numpy as np

F = np.float32
# id: (name, elements per block, bytes per block)
TYPES = {
    0: ("f32", 1, 4), 1: ("f16", 1, 2), 30: ("bf16", 1, 2),
    2: ("q4_0", 32, 18), 3: ("q4_1", 32, 20), 6: ("q5_0", 32, 22), 7: ("q5_1", 32, 24),
    8: ("q8_0", 32, 34), 10: ("q2_k", 256, 84), 11: ("q3_k", 256, 110), 12: ("q4_k", 256, 144),
    13: ("q5_k", 256, 176), 14: ("q6_k", 256, 210), 20: ("iq4_nl", 32, 18),
    23: ("iq4_xs", 256, 136), 39: ("mxfp4", 32, 17), 40: ("nvfp4", 64, 36),
}
IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], F)
FP4 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], F)


def row_bytes(kind, n):
    _, block, size = TYPES[kind]
    assert n % block == 0
    return n // block * size


def half(b, at):
    """f16 field at byte `at` of each block, as a float32 column."""
    return b[:, at:at + 2].copy().view(np.float16).astype(F)


def nibbles(qs):
    """Low nibbles, then high ones."""
    return np.concatenate([qs & 15, qs >> 4], axis=1).astype(F)


def fifth_bits(b, at):
    return np.unpackbits(b[:, at:at + 4], axis=1, bitorder="little").astype(F) * F(16)


def planes(q):
    """2-bit planes: element (half, plane, byte) of 64 bytes per block."""
    h = q.reshape(-1, 2, 1, 32) >> np.arange(0, 8, 2, dtype=np.uint8).reshape(1, 1, 4, 1)
    return (h & 3).reshape(-1, 256)


def k4_scales(s):
    """6-bit scales and mins of 8 sub-blocks out of 12 bytes."""
    low, high = s[:, 0:4] & 63, (s[:, 8:12] & 15) | (s[:, 0:4] >> 6) << 4
    low_m, high_m = s[:, 4:8] & 63, (s[:, 8:12] >> 4) | (s[:, 4:8] >> 6) << 4
    return np.concatenate([low, high], 1).astype(F), np.concatenate([low_m, high_m], 1).astype(F)


def k4_codes(qs):
    """32 low nibbles then 32 high ones of each 32 bytes."""
    q = qs.reshape(-1, 4, 32)
    return np.stack([q & 15, q >> 4], axis=2).reshape(-1, 256)


def spread(per_group, size):
    return np.repeat(per_group, size, axis=1)


def q3_scales(s):
    low = np.concatenate([s[:, :8] & 15, s[:, :8] >> 4], 1)
    high = np.concatenate([s[:, 8:12] >> (2 * i) & 3 for i in range(4)], 1)
    return (low | high << 4).astype(np.int32) - 32


def q6_codes(b):
    ql, qh = b[:, :128].reshape(-1, 2, 64), planes(b[:, 128:192])
    low = np.concatenate([ql & 15, ql >> 4], axis=2).reshape(-1, 256)
    return (low | qh << 4).astype(np.int32) - 32


def iq4_xs_scales(b):
    high = b[:, 2:4].copy().view(np.uint16).astype(np.int32)
    low = np.stack([b[:, 4 + i // 2] >> (4 * (i % 2)) & 15 for i in range(8)], 1).astype(np.int32)
    return (low | (high >> (2 * np.arange(8)) & 3) << 4) - 32


def e8m0(e):
    return np.exp2(e.astype(np.float64) - 128).astype(F)


def ue4m3(d):
    exp, man = (d >> 3 & 15).astype(int), (d & 7).astype(float)
    u = np.where(exp == 0, man * 2.0**-9, (1 + man / 8) * 2.0**(exp - 7))
    return np.where((d == 0) | (d == 0x7F), 0, 0.5 * u).astype(F)


def k45(b, qs_at, fifth):
    sc, m = k4_scales(b[:, 4:16])
    q = k4_codes(b[:, qs_at:]).astype(F)
    if fifth:
        bits = np.unpackbits(b[:, 16:48].reshape(-1, 32, 1), axis=2, bitorder="little")
        q += bits.transpose(0, 2, 1).reshape(-1, 256).astype(F) * F(16)
    return spread(half(b, 0) * sc, 32) * q - spread(half(b, 2) * m, 32)


def q3_k(b):
    bits = np.unpackbits(b[:, :32].reshape(-1, 32, 1), axis=2, bitorder="little")
    high = bits.transpose(0, 2, 1).reshape(-1, 256).astype(np.int32)
    q = planes(b[:, 32:96]).astype(np.int32) - 4 * (1 - high)
    return spread(half(b, 108) * q3_scales(b[:, 96:108]).astype(F), 16) * q.astype(F)


def nvfp4(b):
    q = b[:, 4:].reshape(-1, 4, 8)
    codes = FP4[np.concatenate([q & 15, q >> 4], axis=2)].reshape(-1, 64)
    return spread(ue4m3(b[:, :4]), 16) * codes


DECODE = {
    2: lambda b: (nibbles(b[:, 2:]) - F(8)) * half(b, 0),
    3: lambda b: nibbles(b[:, 4:]) * half(b, 0) + half(b, 2),
    6: lambda b: (nibbles(b[:, 6:]) + fifth_bits(b, 2) - F(16)) * half(b, 0),
    7: lambda b: (nibbles(b[:, 8:]) + fifth_bits(b, 4)) * half(b, 0) + half(b, 2),
    8: lambda b: b[:, 2:].view(np.int8).astype(F) * half(b, 0),
    10: lambda b: spread(half(b, 80) * (b[:, :16] & 15).astype(F), 16) * planes(b[:, 16:80]).astype(F)
    - spread(half(b, 82) * (b[:, :16] >> 4).astype(F), 16),
    11: q3_k,
    12: lambda b: k45(b, 16, False),
    13: lambda b: k45(b, 48, True),
    14: lambda b: spread(half(b, 208) * b[:, 192:208].view(np.int8).astype(F), 16)
    * q6_codes(b).astype(F),
    20: lambda b: half(b, 0) * IQ4[nibbles(b[:, 2:]).astype(int)],
    23: lambda b: spread(half(b, 0) * iq4_xs_scales(b).astype(F), 32)
    * IQ4[np.concatenate([b[:, 8:].reshape(-1, 8, 16) & 15, b[:, 8:].reshape(-1, 8, 16) >> 4], 2)
          .reshape(-1, 256)],
    39: lambda b: e8m0(b[:, :1]) * FP4[nibbles(b[:, 1:]).astype(int)],
    40: nvfp4,
}


def decode(kind, raw):
    """Raw blocks -> float32, flat."""
    if kind == 0:
        return np.frombuffer(raw, F)
    if kind == 1:
        return np.frombuffer(raw, np.float16).astype(F)
    if kind == 30:
        return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(F)
    b = np.frombuffer(raw, np.uint8).reshape(-1, TYPES[kind][2])
    return np.ascontiguousarray(DECODE[kind](b)).reshape(-1)


def encode_plain(kind, array):
    x = np.ascontiguousarray(array, F)
    if kind == 0:
        return x.tobytes()
    if kind == 1:
        return x.astype(np.float16).tobytes()
    assert kind == 30
    u = x.view(np.uint32)
    return ((u + 0x7FFF + (u >> 16 & 1)) >> 16).astype(np.uint16).tobytes()
