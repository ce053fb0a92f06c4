"""Writes expected.json: what transformers makes of a translation's input, for every family that has tokens for languages.

usage: python tests/golden/translation/make.py      (with transformers 4.57.1; the tokenizers' files are those of ../tokenizer/data)
"""
import json
import pathlib
import shutil
import tempfile

import transformers

HERE = pathlib.Path(__file__).parent
DATA = HERE.parent / "tokenizer/data"
BPE = {"sentencepiece.bpe.model": "unigram.model"}
KINDS = {
    "mbart": ("MBartTokenizer", "mbart", BPE, {}, ("de_DE", "fr_XX")),
    "mbart50": ("MBart50Tokenizer", "mbart", BPE, {}, ("de_DE", "fr_XX")),
    "nllb": ("NllbTokenizer", "m2m_100", BPE, {}, ("deu_Latn", "fra_Latn")),
    "nllb-legacy": ("NllbTokenizer", "m2m_100", BPE, {"legacy_behaviour": True}, ("deu_Latn", "fra_Latn")),
    "m2m100": ("M2M100Tokenizer", "m2m_100", {**BPE, "vocab.json": "m2m.json"}, {}, ("de", "fr")),
}
TEXTS = ["the quick brown fox", "hello", ""]

expected = {}
for name, (cls, model_type, files, config, (source, target)) in KINDS.items():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for file, origin in files.items():
            shutil.copy(DATA / origin, folder / file)
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": cls, **config}))
        tokenizer = getattr(transformers, cls).from_pretrained(folder)
        inputs = [tokenizer._build_translation_inputs(t, return_tensors=None, src_lang=source, tgt_lang=target) for t in TEXTS]
    expected[name] = {"files": files, "config": {"tokenizer_class": cls, **config}, "model_type": model_type,
                      "forced_bos_token_id": inputs[0]["forced_bos_token_id"], "ids": [i["input_ids"] for i in inputs]}
(HERE / "expected.json").write_text(json.dumps({"texts": TEXTS, "kinds": expected}, indent=1) + "\n")
