"""Trains one of the two toy models (BART or T5 family) to summarise mailing-list threads, and writes it in the hub's
file layout. Needs torch, transformers, tokenizers and sentencepiece, and Debian's wordnet-base.

usage: train.py --family bart|t5 --out DIR [--minutes 60] [--threads 1] [--seed 1] [--rate 1e-3] [--start DIR]

The tokenizer is trained first, on generated threads; then the model, on other generated threads, short ones first.
The schedule follows the clock, so that it ends with a small learning rate whatever the machine's speed. Every few
minutes the model so far is written to DIR.

A model this small, trained for an hour on one core, would not find out how to copy by itself. So its first weights
already hold a copying circuit: encoder layers 0 and 1 add the previous token's embedding (turned by a random rotation
Q) to every position, and the cross-attention of the last decoder layer looks for positions whose previous token is
the one just written, and brings that position's embedding to the output. Everything is trained from there.
"""
import argparse
import json
import math
import pathlib
import random
import time

import sentencepiece
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

from thread_generator import Generator

VOCABULARY = 6144
INPUT_MAX = 512
LABEL_MAX = 96
WORD_DIMS, HEAD = 128, 32  # the first 128 dimensions hold the word, the others position and scratch
PREFIX = "summarize: "


# Tokenizers

def corpus(seed, count):
    generator = Generator(seed)
    for _ in range(count):
        thread = generator.thread(generator.r.random())
        yield thread.text
        yield thread.summary(len(thread.text)) or ""


def bart_tokenizer(directory, seed):
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(corpus(seed, 6000), vocab_size=VOCABULARY - 1, min_frequency=2, show_progress=False,
                            special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    bpe.save_model(str(directory))
    vocabulary = json.loads((directory / "vocab.json").read_text())
    vocabulary["<mask>"] = VOCABULARY - 1
    (directory / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    return open_bart_tokenizer(directory)


def open_bart_tokenizer(directory):
    return transformers.BartTokenizerFast(str(directory / "vocab.json"), str(directory / "merges.txt"), model_max_length=INPUT_MAX)


def t5_tokenizer(directory, seed):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in corpus(seed, 4000) for line in text.split("\n") if line),
        model_prefix=str(directory / "spiece"), vocab_size=VOCABULARY - 100, model_type="unigram", character_coverage=0.9999,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, required_chars="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~äöüÄÖÜßéèáóčšžíłńęåøñçãõ–—“”’…", num_threads=1, minloglevel=2)
    (directory / "spiece.vocab").unlink()
    return open_t5_tokenizer(directory)


def open_t5_tokenizer(directory):  # without add_prefix_space tokenizer.json would split the first word otherwise than spiece.model
    return transformers.T5TokenizerFast(str(directory / "spiece.model"), extra_ids=100, model_max_length=INPUT_MAX, add_prefix_space=True)


# Models

SEARCH = dict(num_beams=4, no_repeat_ngram_size=3, early_stopping=True, min_length=16, max_length=LABEL_MAX)


def bart_model():
    config = transformers.BartConfig(
        vocab_size=VOCABULARY, d_model=192, encoder_layers=3, decoder_layers=2, encoder_attention_heads=6, decoder_attention_heads=6,
        encoder_ffn_dim=576, decoder_ffn_dim=576, max_position_embeddings=INPUT_MAX, dropout=0.0, attention_dropout=0.0,
        activation_dropout=0.0, init_std=0.02, forced_bos_token_id=0, forced_eos_token_id=2, decoder_start_token_id=2,
        task_specific_params={"summarization": dict(SEARCH, length_penalty=2.0)})
    return transformers.BartForConditionalGeneration(config), dict(
        SEARCH, length_penalty=2.0, forced_bos_token_id=0, forced_eos_token_id=2, decoder_start_token_id=2, bos_token_id=0,
        pad_token_id=1, eos_token_id=2)


def t5_model():
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=160, d_kv=HEAD, d_ff=512, num_layers=3, num_decoder_layers=2, num_heads=8, dropout_rate=0.0,
        decoder_start_token_id=0, n_positions=INPUT_MAX,
        task_specific_params={"summarization": dict(SEARCH, length_penalty=2.0, prefix=PREFIX)})
    return transformers.T5ForConditionalGeneration(config), dict(
        SEARCH, length_penalty=2.0, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)


@torch.no_grad()
def word_vectors(tokenizer, generator):
    """Random vectors of length 1 for the vocabulary; the forms of a word ("Cache", " cache", "cache") lie close together, and
    what makes the forms differ is the same for all words."""
    def unit():
        return torch.randn(WORD_DIMS, generator=generator) / WORD_DIMS ** 0.5

    words, forms = {}, {}
    vectors = torch.zeros(VOCABULARY, WORD_DIMS)
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        bare = token.lstrip("\u0120\u2581")  # the space marks of byte-level BPE and SentencePiece
        form = (bare != token, bare[:1].isupper())
        for table, key in ((words, bare.lower()), (forms, form)):
            if key not in table:
                table[key] = unit()
        vectors[index] = 0.85 * words[bare.lower()] + 0.25 * forms[form] + 0.45 * unit()
    return vectors


def rotation(size, generator):
    q, _ = torch.linalg.qr(torch.randn(size, size, generator=generator))
    return q


@torch.no_grad()
def words_through(linear, matrix, rows, gain=1.0):
    """Sets the block of a projection between word dimensions and heads 0..3 (the same 128 numbers on both sides)."""
    if rows:
        linear.weight[:WORD_DIMS] = 0
    else:
        linear.weight[:, :WORD_DIMS] = 0
    linear.weight[:WORD_DIMS, :WORD_DIMS] = gain * matrix


@torch.no_grad()
def start_bart(model, tokenizer, g):
    d = model.config.d_model
    q, eye = rotation(WORD_DIMS, g), torch.eye(WORD_DIMS)
    words = model.model.shared.weight
    words.zero_()
    words[:, :WORD_DIMS] = word_vectors(tokenizer, g)
    # Positions: 16 waves in dimensions 128..159; turning every wave by one step turns position i into i - 1.
    waves = torch.cat([torch.rand(13, generator=g) * 2.9 + 0.1, torch.tensor([0.06, 0.02, 0.006])])
    for side in (model.model.encoder, model.model.decoder):
        table = side.embed_positions.weight
        angle = torch.arange(table.shape[0])[:, None] * waves
        table.zero_()
        table[:, WORD_DIMS:WORD_DIMS + 32:2] = 0.25 * torch.cos(angle)
        table[:, WORD_DIMS + 1:WORD_DIMS + 32:2] = 0.25 * torch.sin(angle)
    back = torch.zeros(32, 32)
    for i, w in enumerate(waves.tolist()):
        back[2 * i:2 * i + 2, 2 * i:2 * i + 2] = torch.tensor([[math.cos(w), math.sin(w)], [-math.sin(w), math.cos(w)]])
    shifting = [model.model.encoder.layers[0].self_attn, model.model.encoder.layers[1].self_attn, model.model.decoder.layers[0].self_attn]
    for attention in shifting:
        attention.q_proj.weight[:WORD_DIMS] = 0
        attention.k_proj.weight[:WORD_DIMS] = 0
        for head in range(4):
            rows, columns = slice(HEAD * head, HEAD * head + 32), slice(WORD_DIMS, WORD_DIMS + 32)
            attention.q_proj.weight[rows, columns] = 1.2 * back
            attention.k_proj.weight[rows, columns] = torch.eye(32)
        words_through(attention.v_proj, eye, rows=True)
        words_through(attention.out_proj, q, rows=False)
    copy = model.model.decoder.layers[-1].encoder_attn
    words_through(copy.q_proj, eye, rows=True, gain=2.0)
    words_through(copy.k_proj, q.T, rows=True, gain=2.0)
    words_through(copy.v_proj, eye, rows=True)
    words_through(copy.out_proj, eye, rows=False, gain=4.0)
    assert d >= WORD_DIMS + 32


@torch.no_grad()
def start_t5(model, tokenizer, g):
    q, eye = rotation(WORD_DIMS, g), torch.eye(WORD_DIMS)
    words = model.shared.weight
    words.zero_()
    words[:, :WORD_DIMS] = WORD_DIMS ** 0.5 * word_vectors(tokenizer, g)
    encoder, decoder = model.encoder.block, model.decoder.block
    for name, weight in model.named_parameters():  # what is still random must not drown the circuit
        if name.endswith((".o.weight", ".wo.weight")):
            weight *= 0.2
    for block in (encoder[0], decoder[0]):
        bias = block.layer[0].SelfAttention.relative_attention_bias.weight
        bias.copy_(0.1 * torch.randn(bias.shape, generator=g))
        bias[1, :4] = 8.0  # one position back, exactly
    for attention in (encoder[0].layer[0].SelfAttention, encoder[1].layer[0].SelfAttention, decoder[0].layer[0].SelfAttention):
        attention.q.weight[:WORD_DIMS] *= 0.1
        words_through(attention.v, eye, rows=True)
        words_through(attention.o, q, rows=False)
    copy = decoder[-1].layer[1].EncDecAttention
    words_through(copy.q, eye, rows=True, gain=1.1)
    words_through(copy.k, q.T, rows=True, gain=1.1)
    words_through(copy.v, eye, rows=True)
    words_through(copy.o, eye, rows=False, gain=6.0)


# Data

class Examples:
    """An endless supply of batches of (input ids, label ids), each batch of one length class."""

    def __init__(self, family, tokenizer, seed, tokens_per_batch):
        self.family, self.tokenizer, self.tokens_per_batch = family, tokenizer, tokens_per_batch
        self.generator = Generator(seed)
        self.ready = []

    def one(self, size, limit):
        while True:
            thread = self.generator.thread(size)
            text = (PREFIX if self.family == "t5" else "") + thread.text
            skipped = len(text) - len(thread.text)
            encoding = self.tokenizer(text, truncation=True, max_length=limit, return_offsets_mapping=True)
            visible = encoding["offset_mapping"][-2][1] - skipped  # the last one is </s>
            summary = thread.summary(visible)
            if summary is None:
                continue
            labels = self.tokenizer(summary)["input_ids"]
            if len(labels) <= LABEL_MAX:
                return encoding["input_ids"], labels

    def batch(self, low, high, limit):
        if not self.ready:
            rows = [self.one(self.generator.r.uniform(low, high), limit) for _ in range(384)]
            rows.sort(key=lambda row: len(row[0]))
            while rows:
                count = max(4, self.tokens_per_batch // len(rows[-1][0]))
                self.ready.append(rows[-count:])
                del rows[-count:]
            self.generator.r.shuffle(self.ready)
        return self.ready.pop()


def padded(rows, pad):
    width = max(len(row) for row in rows)
    return torch.tensor([row + [pad] * (width - len(row)) for row in rows])


# Training

def export(model, tokenizer, settings, directory):
    half = type(model)(model.config)
    half.load_state_dict(model.state_dict())
    half.half()
    half.generation_config = transformers.GenerationConfig(**settings)
    half.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    if isinstance(tokenizer, transformers.T5TokenizerFast):  # tokenizer.json says it already; the option would have it made anew
        path = directory / "tokenizer_config.json"
        options = json.loads(path.read_text())
        options.pop("add_prefix_space", None)
        path.write_text(json.dumps(options, indent=2, ensure_ascii=False) + "\n")


@torch.no_grad()
def accuracy(model, batches, pad):
    model.eval()
    right = total = 0
    for inputs, labels in batches:
        logits = model(input_ids=inputs, attention_mask=(inputs != pad).long(), labels=labels).logits
        mask = labels != -100
        right += ((logits.argmax(-1) == labels) & mask).sum().item()
        total += mask.sum().item()
    model.train()
    return right / total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--family", choices=["bart", "t5"], required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--start", type=pathlib.Path, help="go on from a model that this script wrote, with its tokenizer")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--tokens", type=int, default=2048, help="input tokens a batch")
    a = parser.parse_args()

    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    a.out.mkdir(parents=True, exist_ok=True)
    if a.start:
        tokenizer = (open_bart_tokenizer if a.family == "bart" else open_t5_tokenizer)(a.start)
    else:
        tokenizer = (bart_tokenizer if a.family == "bart" else t5_tokenizer)(a.out, a.seed * 1000 + 1)
    model, settings = (bart_model if a.family == "bart" else t5_model)()
    if a.start:
        model.load_state_dict(type(model).from_pretrained(a.start, dtype=torch.float32).state_dict())
    else:
        (start_bart if a.family == "bart" else start_t5)(model, tokenizer, torch.Generator().manual_seed(a.seed))
    model.train()
    pad = tokenizer.pad_token_id
    print(f"{a.family}: {sum(p.numel() for p in model.parameters())} parameters", flush=True)

    def tensors(rows):
        labels = padded([row[1] for row in rows], -100)
        return padded([row[0] for row in rows], pad), labels

    held_out = Examples(a.family, tokenizer, a.seed * 1000 + 2, a.tokens)
    checks = [tensors([held_out.one(size, INPUT_MAX) for _ in range(10)]) for size in (0.0, 0.5, 1.0)]
    examples = Examples(a.family, tokenizer, a.seed * 1000 + 3, a.tokens)
    optimizer = torch.optim.AdamW(model.parameters(), lr=a.rate, betas=(0.9, 0.98), weight_decay=0.01)

    started = time.monotonic()
    last_report, last_export, step, losses, seen = started, started, 0, [], 0
    while (done := (time.monotonic() - started) / (60 * a.minutes)) < 1:
        low, high, limit = (0.0, 0.15, 224) if done < 0.12 else (0.0, 0.7, 384) if done < 0.4 else (0.1, 1.0, INPUT_MAX)
        inputs, labels = tensors(examples.batch(low, high, limit))
        for group in optimizer.param_groups:
            group["lr"] = a.rate * min(1, (step + 1) / 80) * (1 if done < 0.4 else max(0.02, 0.5 + 0.5 * math.cos(math.pi * (done - 0.4) / 0.6)))
        if a.family == "bart":  # short threads at any position, so that every position is learned
            room = INPUT_MAX - inputs.shape[1]
            model.model.encoder.embed_positions.offset = 2 + (random.randrange(room + 1) if step % 3 == 0 else 0)
        loss = model(input_ids=inputs, attention_mask=(inputs != pad).long(), labels=labels).loss
        if a.family == "bart":
            model.model.encoder.embed_positions.offset = 2
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seen += inputs.shape[0]
        step += 1
        now = time.monotonic()
        if now - last_report > 120 or step in (1, 20):
            scores = " ".join(f"{accuracy(model, [c], pad):.3f}" for c in checks)
            print(f"{(now - started) / 60:.1f} min, step {step}, {seen} threads, loss {sum(losses) / len(losses):.3f}, "
                  f"next-token accuracy (short, middle, long) {scores}", flush=True)
            last_report, losses = now, []
        if now - last_export > 300:
            export(model, tokenizer, settings, a.out)
            last_export = now
    export(model, tokenizer, settings, a.out)
    print(f"done: {step} steps, {seen} threads, {a.minutes} minutes", flush=True)


if __name__ == "__main__":
    main()
