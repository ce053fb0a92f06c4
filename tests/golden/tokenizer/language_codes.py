"""Writes worker/model/tokenizer/languages.inc: the languages of multilingual models, in the order of their embeddings.

usage: python tests/golden/tokenizer/language_codes.py > worker/model/tokenizer/languages.inc      (with transformers 4.57.1)
"""
import textwrap

from transformers.models.m2m_100 import tokenization_m2m_100 as m2m100
from transformers.models.mbart50 import tokenization_mbart50 as mbart50
from transformers.models.nllb import tokenization_nllb as nllb

LISTS = {
    "mbart": mbart50.FAIRSEQ_LANGUAGE_CODES,
    "nllb": nllb.FAIRSEQ_LANGUAGE_CODES,
    "m2m100": m2m100.FAIRSEQ_LANGUAGE_CODES["m2m100"],
    "wmt21": m2m100.FAIRSEQ_LANGUAGE_CODES["wmt21"],
}

print("/* Language codes in the order of the models' embeddings; mBART-50's first 25 are mBART's. */")
for name, codes in LISTS.items():
    print(f"static const char {name}_languages[] =")
    for line in textwrap.wrap(" ".join(codes), 95):
        print(f'    "{line} "')
    print("    ;")
