#!/usr/bin/env python3
"""Makes the inputs of the examples: `python3 make_inputs.py` writes NAME/input.safetensors for each example that has one.

Every input stands for something that the kernel meets in practice. Text is this repository's LICENSE-APACHE; sound and tides are computed. Only
Python's standard library is used, and the files come out the same each time. Each function's comment says what the arrays are.
"""
import json
import math
import pathlib
import random
import struct

HERE = pathlib.Path(__file__).resolve().parent
TEXT = (HERE.parent / "LICENSE-APACHE").read_bytes()
FORMATS = {"F16": "e", "F32": "f", "I64": "q", "U32": "I"}


def write(example, **tensors):
    """Writes arrays, each given as (type, shape, elements in row-major order), as safetensors."""
    header, data = {}, b""
    for name, (dtype, shape, elements) in tensors.items():
        assert math.prod(shape) == len(elements), (example, name, shape, len(elements))
        packed = struct.pack(f"<{len(elements)}{FORMATS[dtype]}", *elements)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = HERE / example / "input.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    print(f"{path.relative_to(HERE)}: {path.stat().st_size} bytes")


def flat(rows):
    return [v for row in rows for v in row]


def round_to_half(v):
    """The number as a half-precision float holds it: what later steps compute with."""
    return struct.unpack("<e", struct.pack("<e", v))[0]


def tides():
    """Hourly water level in metres over 30 days, of the two largest tidal constituents: the moon's (period 12.4206 h) and the sun's (12 h)."""
    hours = range(720)
    moon = [0.9 * math.cos(2 * math.pi * h / 12.4206012) for h in hours]
    sun = [0.42 * math.cos(2 * math.pi * h / 12.0) for h in hours]
    write("vector_add", x=("F32", [720], moon), y=("F32", [720], sun))


def bigram_counts():
    """How often each character of the text follows each other one, over the characters that occur."""
    alphabet = sorted(set(TEXT))
    place = {c: i for i, c in enumerate(alphabet)}
    counts = [[0] * len(alphabet) for _ in alphabet]
    for a, b in zip(TEXT, TEXT[1:]):
        counts[place[a]][place[b]] += 1
    return alphabet, place, counts


def bigrams():
    """Logits of a character model: x[a, b] = log of how often b follows a. -inf where it never does."""
    alphabet, _, counts = bigram_counts()
    logits = [[math.log(n) if n else -math.inf for n in row] for row in counts]
    write("softmax", x=("F32", [len(alphabet)] * 2, flat(logits)))


def next_characters():
    """The same model (with 1/8 added to each count) asked at 160 places of the text for the character that follows. Line ends are not counted."""
    alphabet, place, counts = bigram_counts()
    start = TEXT.index(b'"License" shall mean')
    spots = range(start, start + 160)
    logits = [[math.log(n + 0.125) for n in counts[place[TEXT[s]]]] for s in spots]
    target = [-100 if TEXT[s + 1] == ord("\n") else place[TEXT[s + 1]] for s in spots]
    write("cross_entropy", x=("F32", [160, len(alphabet)], flat(logits)), target=("I64", [160], target))


def letters():
    """A row for each line of the text: how often it has each letter. w weighs letters by their rarity, b is their share of the whole text."""
    count = lambda line: [line.lower().count(bytes([c])) for c in b"abcdefghijklmnopqrstuvwxyz"]
    lines = [count(line) for line in TEXT.split(b"\n")[:-1]]
    total = [sum(column) for column in zip(*lines)]
    rare = [math.log(len(lines) / sum(n > 0 for n in column)) for column in zip(*lines)]
    share = [n / sum(total) for n in total]
    write("layer_norm", x=("F32", [len(lines), 26], flat(lines)), w=("F32", [26], rare), b=("F32", [26], share))


def pluck(period, length, rng):
    """A plucked string (Karplus, Strong, "Digital synthesis of plucked-string and drum timbres", 1983)."""
    string = [rng.uniform(-1, 1) for _ in range(period)]
    for n in range(length):
        yield string[n % period]
        string[n % period] = 0.498 * (string[n % period] + string[(n + 1) % period])


def sound(frames, size, seed):
    """Four strings plucked one after the other and fading out, cut into frames."""
    rng = random.Random(seed)
    wave = [0.0] * (frames * size)
    for i, period in enumerate((61, 48, 40, 30)):
        begin = i * len(wave) // 5
        for n, v in enumerate(pluck(period, len(wave) - begin, rng)):
            wave[begin + n] += 0.3 * v
    return [[round_to_half(v) for v in wave[f * size : (f + 1) * size]] for f in range(frames)]


def loudness():
    """Sound in frames of 160 samples (20 ms at 8 kHz) that get quieter; w is the window that frames are weighed with (Hann)."""
    window = [0.5 - 0.5 * math.cos(2 * math.pi * (n + 0.5) / 160) for n in range(160)]
    write("rms_norm", x=("F16", [96, 160], flat(sound(96, 160, 1))), w=("F16", [160], window))


def spectrum():
    """The first layer of a network that listens: frames of sound, the cosines of a discrete cosine transform as weights, a threshold as bias.
    Dropout is fed with what this layer gives."""
    size, out = 160, 64
    x = sound(96, size, 2)
    w = [[round_to_half(math.sqrt(2 / size) * math.cos(math.pi / size * (n + 0.5) * (f + 1))) for n in range(size)] for f in range(out)]
    bias = [round_to_half(-0.05 + 0.001 * f) for f in range(out)]
    write("matmul", x=("F16", [96, size], flat(x)), w=("F16", [out, size], flat(w)), bias=("F16", [out], bias))
    gelu = lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2)))
    y = [[gelu(sum(a * b for a, b in zip(row, weights)) + c) for weights, c in zip(w, bias)] for row in x]
    write("dropout", x=("F16", [96 * out], flat(y)))


def induction():
    """Attention that looks up what followed earlier: a query holds the code of the present character (head 0) or of the last two (head 1), a key
    that of the characters before its own, a value the character itself. The scale of the codes makes matches stand out."""
    length, dim = 144, 32
    rng = random.Random(3)
    code = [[rng.choice((-1.0, 1.0)) for _ in range(dim)] for _ in range(256)]
    start = TEXT.index(b"(a) You must give any other")
    text = TEXT[start - 2 : start + length]
    one = lambda t: code[text[t]]
    two = lambda t: [(a + b) / 2 for a, b in zip(code[text[t]], code[text[t - 1]][::-1])]
    q = [one(t + 2) for t in range(length)] + [two(t + 2) for t in range(length)]
    k = [one(t + 1) for t in range(length)] + [two(t + 1) for t in range(length)]
    v = [one(t + 2) for t in range(length)] * 2
    shape = [1, 2, length, dim]
    write("attention", q=("F16", shape, flat(q)), k=("F16", shape, flat(k)), v=("F16", shape, flat(v)))


def words():
    """Lengths of the text's words, each with the white space behind it (the first also with the white space before it)."""
    starts = [i for i in range(1, len(TEXT)) if not TEXT[i : i + 1].isspace() and TEXT[i - 1 : i].isspace()][1:]
    ends = starts + [len(TEXT)]
    write("prefix_sum", x=("U32", [len(ends)], [b - a for a, b in zip([0] + starts, ends)]))


if __name__ == "__main__":
    for make in (tides, bigrams, next_characters, letters, loudness, spectrum, induction, words):
        make()
