"""Writes the small seed corpora of this folder's fuzzers: python3 tests/fuzz/tokenizer/make_seeds.py"""
import json
import pathlib

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent.parent / "golden" / "tokenizer"


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def message(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def piece(text, score, kind):
    import struct
    return message(1, message(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind]))


def models():
    pieces = b"".join(piece(t, s, k) for t, s, k in [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3), ("<tool>", 0, 4), ("\u2581", -2, 1),
                                                     ("l", -3, 1), ("o", -3, 1), ("ll", -2.5, 1), ("\u2581W", -2, 5), ("<0xE6>", 0, 6)])
    yield "unigram", pieces + message(2, b"\x18\x01")
    yield "bpe", pieces + message(2, b"\x18\x02\x98\x02\x01") + message(3, b"\x18\x00\x20\x00")


def main():
    for name in ("tokenizer_json", "sentencepiece", "chat_template"):
        (HERE / "corpus" / name).mkdir(parents=True, exist_ok=True)
    for path in (GOLDEN / "chat").glob("*.jinja"):
        (HERE / "corpus" / "chat_template" / path.name).write_text(path.read_text())
    for name, blob in models():
        (HERE / "corpus" / "sentencepiece" / name).write_bytes(blob)
    for name in ("bbpe-llama3", "bbpe-qwen2", "bpe-fallback", "unigram-nmt", "unigram-accents", "wordpiece-uncased"):
        j = json.loads((GOLDEN / "data" / f"{name}.json").read_text())
        model = j["model"]
        if isinstance(model["vocab"], list):
            model["vocab"] = model["vocab"][:60]
        else:
            model["vocab"] = {k: v for k, v in model["vocab"].items() if v < 300}
        if "merges" in model:
            model["merges"] = [m for m in model["merges"] if all(x in model["vocab"] for x in (m[0], m[1], m[0] + m[1]))]
        (HERE / "corpus" / "tokenizer_json" / f"{name}.json").write_text(json.dumps(j, ensure_ascii=False))


if __name__ == "__main__":
    main()
