"""Trains small vocabularies of every kind, tokenizes 1000 nasty strings with the reference classes, and keeps both.

    python tests/golden/tokenizer/tokenizer_goldens.py

Writes data/ (the files of all kinds, shared where kinds share them) and goldens.json beside this file: for each kind
which files make its directory, its tokenizer_config.json, the ids of every string, and what the first ids decode to.
"""
import json
import pathlib
import random
import shutil
import tempfile
import warnings

warnings.filterwarnings("ignore")
import sentencepiece as spm
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
DATA = HERE / "data"
DECODED = 120
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
WORDS = ("the of to review release build crash thread mailing list patch don't it's we'll I'D naïve façade Größe straße résumé "
         "привет мир 東京 日本語 こんにちは 한국어 مرحبا שלום नमस्ते สวัสดี Ελλάδα ΟΔΟΣ ﬁ ﬀ Å e\u0301 I\u0307 ı ẞ １２３ ½ ² ™ … — ‘q’ “d” "
         "http://a.org/?b=c&d=1 f_b() x==y; C++ 3.14159 1,000 2024-11-24T10:00Z u@e.org 👍 👩‍👩‍👧 🏳️‍🌈 🇫🇷 🤷🏽‍♀️").split()
ODD = ["\u00a0", "\u2003", "\u200b", "\u200d", "\ufeff", "\u0000", "\u0007", "\u001b", "\u0085", "\u2028", "\u3000", "\ue000",
       "\U000e0001", "\U0010ffff", "\u0378", "\u180e", "\t", "\r\n", "\n", "\n\n\n", "   ", " ", "\u0300\u0301\u0316", "\u1100\u1161\u11a8",
       "<s>", "</s>", "<pad>", "<mask>", "[SEP]", "[MASK]", "<extra_id_0>", "<extra_id_1", ">>fr<<", "en_XX", "__en__", "▁", "##", "Ġ", "'ſ", "<unk>", "<0x41>",
       "\u1c89", "\ua7cb", "\U00016d40", "\U000323af", "\u0897"]


def nasty(r):
    out = []
    for _ in range(r.choice([0, 1, 1, 2, 3, 5, 8, 12])):
        k = r.random()
        w = (r.choice(WORDS) if k < .6 else r.choice(ODD) if k < .85 else
             "".join(chr(r.choice([r.randrange(32, 127), r.randrange(160, 0x2fff), r.randrange(0x3000, 0xd7ff), r.randrange(0x1f300, 0x1faff)]))
                     for _ in range(r.randrange(1, 4))))
        out += [r.choice([str, str.upper, str.title, str])(w), r.choice([" ", " ", " ", "", "", "  ", "\n", ", ", ". "])]
    return "".join(out)


def corpus(r):
    return [" ".join(r.choice(WORDS) for _ in range(r.randrange(3, 25))) for _ in range(1200)]


def save_fast(tokenizer, name, **special):
    with tempfile.TemporaryDirectory() as t:
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(t)
        shutil.copy(pathlib.Path(t) / "tokenizer.json", DATA / f"{name}.json")
        config = json.loads((pathlib.Path(t) / "tokenizer_config.json").read_text())
        config.pop("model_max_length")  # 10 ** 30, which few JSON readers take for a number
        return {"files": {"tokenizer.json": f"{name}.json"}, "config": config}


def byte_bpe(c, name, pattern=None, nfc=False):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = (pre_tokenizers.ByteLevel(add_prefix_space=False) if not pattern else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))
    if nfc:
        t.normalizer = normalizers.NFC()
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(c, trainers.BpeTrainer(vocab_size=500, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
                                                 initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0)) if not pattern else processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    return t, save_fast(t, name, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token=AddedToken("<mask>", lstrip=True))


def bpe_fallback(c):
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.train_from_iterator([x.replace(" ", " ▁")[:200] for x in c], trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)], show_progress=False, max_token_length=12))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    j = json.loads(t.to_str())
    j["added_tokens"] = [x for x in j["added_tokens"] if not x["content"].startswith("<0x")]
    t = Tokenizer.from_str(json.dumps(j))
    t.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return save_fast(t, "bpe-fallback", bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def unigram(c, name, normalizer, scheme):
    t = Tokenizer(models.Unigram())
    t.normalizer, t.pre_tokenizer, t.decoder = normalizer, pre_tokenizers.Metaspace(prepend_scheme=scheme), decoders.Metaspace(prepend_scheme=scheme)
    t.train_from_iterator(c, trainers.UnigramTrainer(vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    t.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return save_fast(t, name, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def wordpiece(c, low):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=low)
    t.pre_tokenizer, t.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    t.train_from_iterator(c, trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    t.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    if low:
        words = sorted(t.get_vocab().items(), key=lambda x: x[1])
        (DATA / "vocab.txt").write_text("".join(w + "\n" for w, _ in words))
    return save_fast(t, "wordpiece-" + ("uncased" if low else "cased"), pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")


def train_spm(c, name, **options):
    with tempfile.TemporaryDirectory() as t:
        t = pathlib.Path(t)
        (t / "c.txt").write_text("\n".join(c))
        spm.SentencePieceTrainer.train(input=str(t / "c.txt"), model_prefix=str(t / "m"), hard_vocab_limit=False, minloglevel=2, **options)
        shutil.copy(t / "m.model", DATA / f"{name}.model")
        return [x.split("\t")[0] for x in (t / "m.vocab").read_text().splitlines()]


def originals(c, bart):
    kinds = {}

    def add(name, cls, files, **config):
        kinds[name] = {"files": files, "config": {"tokenizer_class": cls, **config}}

    with tempfile.TemporaryDirectory() as t:
        bart.model.save(t)
        for f in ("vocab.json", "merges.txt"):
            shutil.copy(pathlib.Path(t) / f, DATA / f)
    files = {"vocab.json": "vocab.json", "merges.txt": "merges.txt"}
    add("bart-files", "BartTokenizer", files)
    add("roberta-files-spaced", "RobertaTokenizer", files, add_prefix_space=True)
    add("bert-files", "BertTokenizer", {"vocab.txt": "vocab.txt"})
    add("bert-files-cased", "BertTokenizer", {"vocab.txt": "vocab.txt"}, do_lower_case=False)
    pieces = train_spm(c, "unigram", vocab_size=400, character_coverage=.9995, unk_id=0, bos_id=1, eos_id=2)
    train_spm(c, "t5", vocab_size=400, character_coverage=.9995, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name="nfkc_cf")
    train_spm(c, "bpe", vocab_size=700, model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
              user_defined_symbols=["<tool>"], unk_id=0, bos_id=1, eos_id=2)
    train_spm(c, "deberta", vocab_size=400, unk_id=3, unk_piece="[UNK]", pad_id=0, pad_piece="[PAD]", bos_id=1, bos_piece="[CLS]", eos_id=2,
              eos_piece="[SEP]", normalization_rule_name="nmt_nfkc_cf")
    add("t5-legacy", "T5Tokenizer", {"spiece.model": "t5.model"}, extra_ids=100, legacy=True)
    add("t5-modern", "T5Tokenizer", {"spiece.model": "t5.model"}, extra_ids=10, legacy=False)
    add("llama-legacy", "LlamaTokenizer", {"tokenizer.model": "bpe.model"}, legacy=True)
    add("llama-modern", "LlamaTokenizer", {"tokenizer.model": "bpe.model"}, legacy=False, add_eos_token=True)
    bpe = {"sentencepiece.bpe.model": "unigram.model"}
    add("xlm-roberta", "XLMRobertaTokenizer", bpe)
    add("mbart", "MBartTokenizer", bpe, src_lang="fr_XX", tgt_lang="de_DE")
    add("mbart50", "MBart50Tokenizer", bpe, src_lang="fr_XX", tgt_lang="de_DE")
    add("nllb", "NllbTokenizer", bpe, src_lang="fra_Latn", tgt_lang="deu_Latn")
    add("nllb-legacy", "NllbTokenizer", bpe, legacy_behaviour=True)
    add("pegasus", "PegasusTokenizer", {"spiece.model": "t5.model"})
    named = ["<s>", "<pad>", "</s>", "<unk>"] + pieces[3:]
    (DATA / "m2m.json").write_text(json.dumps({w: i for i, w in enumerate(named)}, ensure_ascii=False))
    add("m2m100", "M2M100Tokenizer", {**bpe, "vocab.json": "m2m.json"}, src_lang="fr")
    (DATA / "marian.json").write_text(json.dumps({w: i for i, w in enumerate(["</s>", "<unk>", ">>fr<<", ">>de<<"] + pieces[3:] + ["<pad>"])}, ensure_ascii=False))
    add("marian", "MarianTokenizer", {"source.spm": "unigram.model", "target.spm": "unigram.model", "vocab.json": "marian.json"})
    add("deberta-v2", "DebertaV2Tokenizer", {"spm.model": "deberta.model"})
    return kinds


def open_reference(kind):
    with tempfile.TemporaryDirectory() as t:
        t = pathlib.Path(t)
        for name, source in kind["files"].items():
            shutil.copy(DATA / source, t / name)
        (t / "tokenizer_config.json").write_text(json.dumps(kind["config"]))
        cls = kind["config"]["tokenizer_class"]
        return (transformers.AutoTokenizer if cls == "PreTrainedTokenizerFast" else getattr(transformers, cls)).from_pretrained(t)


def main():
    r = random.Random(7)
    DATA.mkdir(exist_ok=True)
    c = corpus(r)
    texts = ["", " ", "a", "\n", "  a  b ", ">>fr<< a", "'S I'LL 'ſ"] + [nasty(r) for _ in range(993)]
    bart, kind = byte_bpe(c, "bbpe-gpt2")
    kinds = {"bbpe-gpt2": kind, "bbpe-llama3": byte_bpe(c, "bbpe-llama3", LLAMA3)[1], "bbpe-qwen2": byte_bpe(c, "bbpe-qwen2", QWEN2, True)[1],
             "bpe-fallback": bpe_fallback(c),
             "unigram-nmt": unigram(c, "unigram-nmt", normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]), "first"),
             "unigram-accents": unigram(c, "unigram-accents", normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]), "always"),
             "wordpiece-cased": wordpiece(c, False), "wordpiece-uncased": wordpiece(c, True), **originals(c, bart)}
    for name, kind in kinds.items():
        tok = open_reference(kind)
        kind["ids"] = [tok(x)["input_ids"] for x in texts]
        kind["decoded"], kind["decoded_plain"] = [], []
        for ids in kind["ids"][:DECODED]:
            kind["decoded"].append(tok.decode(ids) if ids else "")
            kind["decoded_plain"].append(tok.decode(ids, skip_special_tokens=True) if ids else "")
        print(name, sum(map(len, kind["ids"])))
    with open(HERE / "goldens.json", "w") as f:
        f.write('{"texts":' + json.dumps(texts, separators=(",", ":")) + ',"kinds":{\n')
        f.write(",\n".join(json.dumps(n) + ":" + json.dumps(k, separators=(",", ":")) for n, k in kinds.items()) + "\n}}\n")


if __name__ == "__main__":
    main()
