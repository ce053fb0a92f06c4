"""Writes worker/model/tokenizer/unicode_data.inc: what the reference tokenizers think of every code point.

The references do not agree on one Unicode version: `tokenizers` links Oniguruma for Split patterns, the `regex` crate
for words, its own normalisation tables and Rust's case mapping; transformers' slow classes use Python's `unicodedata`
and the `regex` package. Equal ids on any text need each one's own answer, so every answer is asked for, not assumed.

    python tests/golden/tokenizer/unicode_tables.py > worker/model/tokenizer/unicode_data.inc
"""
import unicodedata

import regex
from tokenizers import Regex, normalizers as N, pre_tokenizers as P

POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def onig(pattern):
    n = N.Replace(Regex(pattern), "")
    return {c for c in POINTS if n.normalize_str(chr(c)) == ""}


def python_regex(pattern):
    compiled = regex.compile(pattern)
    return {c for c in POINTS if compiled.match(chr(c))}


def category(*wanted):
    return {c for c in POINTS if unicodedata.category(chr(c)).startswith(wanted)}


def removed_by(normalizer):
    return {c for c in POINTS if normalizer.normalize_str("a" + chr(c) + "a") == "aa"}


def bert(**on):
    options = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return N.BertNormalizer(**{**options, **on})


def isolated_by(pre_tokenizer):
    return {c for c in POINTS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) == 3}


def word_of_rust():
    words = P.Whitespace()
    return {c for c in POINTS if [x[0] for x in words.pre_tokenize_str("a" + chr(c))] == ["a" + chr(c)]}


FLAGS = [
    onig(r"\p{L}"), onig(r"\p{N}"), onig(r"\w"), onig(r"\s"), word_of_rust(), isolated_by(P.Punctuation()),
    isolated_by(P.Digits()), removed_by(bert(strip_accents=True)), removed_by(N.StripAccents()),
    removed_by(bert(clean_text=True)), python_regex(r"\p{L}"), python_regex(r"\p{N}"), category("P"),
    category("Mn"), category("C"), {c for c in POINTS if chr(c).isspace()}, onig(r"\p{M}"), onig(r"\p{P}"),
    onig(r"\p{S}"), onig(r"\p{Lu}"), onig(r"\p{Lt}"), onig(r"\p{Ll}"), onig(r"\p{Lm}"), onig(r"\p{Lo}"),
    onig(r"\p{Nd}"), category("Cn") & (onig(r"\p{L}") | onig(r"\p{N}") | onig(r"\p{M}") | onig(r"\p{P}") | onig(r"\p{S}")),
]


def class_runs():
    runs, last = [], None
    for c in range(0x110000):
        flags = sum(1 << bit for bit, members in enumerate(FLAGS) if c in members)
        if flags != last:
            runs.append((c, flags))
            last = flags
    return runs


def combining_classes():
    """The class of each mark, found by which known marks it is sorted before and after."""
    nfd = N.NFD().normalize_str
    by_class = {240: "\u0345"}
    for c in POINTS:
        k, x = unicodedata.combining(chr(c)), chr(c)
        if k and nfd("\u0345" + x) == x + "\u0345":
            by_class.setdefault(k, x)
    known = sorted(by_class.items())
    result = {}
    for c in sorted(category("M") | category("Cn") & (onig(r"\p{M}"))):
        x = chr(c)
        if nfd(x) != x:
            continue
        below = [k for k, m in known if m != x and nfd(x + m) == m + x]
        above = [k for k, m in known if m != x and nfd(m + x) == x + m]
        if not below and not above:
            continue
        same = [k for k, _ in known if k not in below and k not in above]
        assert len(same) == 1, (hex(c), same)
        result[c] = same[0]
    runs = []
    for c, k in sorted(result.items()):
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == k:
            runs[-1][1] = c
        else:
            runs.append([c, c, k])
    return runs


def hangul(c):
    return 0xAC00 <= c <= 0xD7A3


def mappings(form, base=None):
    normal = form.normalize_str
    found = {}
    for c in POINTS:
        to = normal(chr(c))
        if to != chr(c) and not hangul(c) and not (base is not None and base.get(c) == to):
            found[c] = to
    return found


def pairs():
    nfc, nfd = N.NFC().normalize_str, N.NFD().normalize_str
    found = []
    for c in POINTS:
        d = unicodedata.decomposition(chr(c))
        if d and not d.startswith("<") and len(d.split()) == 2 and not hangul(c):
            a, b = (int(x, 16) for x in d.split())
            if nfc(nfd(chr(c))) == chr(c) != nfd(chr(c)):
                found.append((a, b, c))
    return sorted(found)


def lines(items, per_line):
    for i in range(0, len(items), per_line):
        print("    " + " ".join(items[i:i + per_line]))


def table(name, kind, items, per_line):
    print(f"static const {kind} {name}[] = {{")
    lines(items, per_line)
    print("};")


def main():
    print("/* Written by tests/golden/tokenizer/unicode_tables.py; do not edit. */")
    table("class_runs", "struct class_run", [f"{{0x{c:x},0x{f:x}}}," for c, f in class_runs()], 8)
    table("combining_runs", "struct combining_run", [f"{{0x{a:x},0x{b:x},{k}}}," for a, b, k in combining_classes()], 8)
    canonical = mappings(N.NFD())
    compatible = mappings(N.NFKD(), canonical)
    pool, entries = [], []
    for flag, found in ((0, canonical), (1, compatible)):
        for c, to in found.items():
            entries.append((c, flag, len(pool), len(to)))
            pool += [ord(x) for x in to]
    entries.sort()
    table("mapping_pool", "uint32_t", [f"0x{x:x}," for x in pool], 16)
    table("mappings", "struct mapping", [f"{{0x{c:x},{flag},{n},{at}}}," for c, flag, at, n in entries], 8)
    table("compositions", "struct composition", [f"{{0x{a:x},0x{b:x},0x{c:x}}}," for a, b, c in pairs()], 6)
    lower = N.Lowercase().normalize_str
    table("lower_pairs", "struct lower_pair",
          [f"{{0x{c:x},0x{ord(lower(chr(c))):x}}}," for c in POINTS if len(lower(chr(c))) == 1 and lower(chr(c)) != chr(c)], 8)


if __name__ == "__main__":
    main()
