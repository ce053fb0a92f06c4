"""Makes the engine's golden values with the reference implementation (torch and transformers 4.57.1, float32, CPU).

usage: make.py [FAMILY...]        writes models/<family>-<n>/ beside this file

Each directory is a small random model in the hub's layout (weights rounded to float16 before anything is computed,
so that the file holds them exactly) and cases.json:
  logits       teacher-forced logits of encoder-decoders and decoders, or the states after each layer of encoders
  generations  ids and scores of greedy, beam search and sampling under the named settings; `gap` is the smallest
               difference between the reference's two best tokens on a greedy way. A sample whose gap is below 1e-3,
               or whose ids differ when the reference runs in float64, is left out: rounding could decide it.
Sampling draws with the engine's own noise (see `uniform`), over the reference's warped distribution.
"""
import copy, json, pathlib, random, shutil, sys, warnings

warnings.filterwarnings("ignore")
import torch
import transformers as tr

tr.logging.set_verbosity_error()
torch.set_grad_enabled(False)
torch.set_num_threads(1)
HERE = pathlib.Path(__file__).parent
MASK = (1 << 64) - 1


def seq2seq(r, **more):
    return dict(d_model=32, encoder_layers=r.choice([1, 2]), decoder_layers=r.choice([1, 2]),
                encoder_attention_heads=r.choice([2, 4]), decoder_attention_heads=r.choice([2, 4]), encoder_ffn_dim=48,
                decoder_ffn_dim=40, vocab_size=r.choice([97, 128]), max_position_embeddings=64,
                activation_function=r.choice(["gelu", "relu", "swish", "gelu_new"]), scale_embedding=r.choice([True, False]),
                dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, pad_token_id=1, bos_token_id=0, eos_token_id=2,
                decoder_start_token_id=2, **more)


def decoder(r, **more):
    return dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=r.choice([1, 2, 4]),
                intermediate_size=48, vocab_size=r.choice([97, 128]), max_position_embeddings=64, pad_token_id=0,
                bos_token_id=1, eos_token_id=2, attention_dropout=0.0, rms_norm_eps=1e-5, **more)


def encoder(r, **more):
    return dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=r.choice([2, 4]), intermediate_size=48, vocab_size=97,
                max_position_embeddings=66, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
                pad_token_id=1, **more)


def t5(r, **more):
    return dict(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=r.choice([97, 128]),
                relative_attention_num_buckets=r.choice([8, 32]), relative_attention_max_distance=r.choice([20, 128]),
                dropout_rate=0.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **more)


def rope(kind):
    return {"linear": {"rope_type": "linear", "factor": 2.0}, "dynamic": {"rope_type": "dynamic", "factor": 2.0},
            "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                       "original_max_position_embeddings": 32},
            "yarn": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}, None: None}[kind]


def longrope(pairs):
    return {"type": "longrope", "short_factor": [1.0 + 0.1 * i for i in range(pairs)], "long_factor": [1.5 + i for i in range(pairs)]}


def build(family, n, r):
    if family == "bart":
        return tr.BartForConditionalGeneration(tr.BartConfig(**seq2seq(r, forced_eos_token_id=[2, None, 2][n], forced_bos_token_id=[None, None, 0][n])))
    if family == "t5":
        return tr.T5ForConditionalGeneration(tr.T5Config(**t5(r, feed_forward_proj=["relu", "gated-gelu", "gated-silu"][n], tie_word_embeddings=n != 1)))
    if family == "mt5":
        return tr.MT5ForConditionalGeneration(tr.MT5Config(**t5(r, feed_forward_proj=["gated-gelu", "gated-silu", "relu"][n], tie_word_embeddings=n == 2)))
    if family == "mbart":
        return tr.MBartForConditionalGeneration(tr.MBartConfig(**seq2seq(r, forced_bos_token_id=[None, 5, None][n])))
    if family == "pegasus":
        c = seq2seq(r); c.update(pad_token_id=0, eos_token_id=1, decoder_start_token_id=0); c.pop("bos_token_id")
        return tr.PegasusForConditionalGeneration(tr.PegasusConfig(**c))
    if family == "marian":
        c = seq2seq(r); v = c["vocab_size"]; c.update(pad_token_id=v - 1, eos_token_id=0, decoder_start_token_id=v - 1); c.pop("bos_token_id")
        return tr.MarianMTModel(tr.MarianConfig(**c, share_encoder_decoder_embeddings=True))
    if family == "m2m_100":
        return tr.M2M100ForConditionalGeneration(tr.M2M100Config(**seq2seq(r)))
    if family == "led":
        c = seq2seq(r); c.pop("max_position_embeddings")
        return tr.LEDForConditionalGeneration(tr.LEDConfig(**c, max_encoder_position_embeddings=64, max_decoder_position_embeddings=48, attention_window=[[8, 4, 16][n]] * c["encoder_layers"]))
    if family == "llama":
        return tr.LlamaForCausalLM(tr.LlamaConfig(**decoder(r), rope_scaling=rope([None, "llama3", "yarn"][n]), tie_word_embeddings=n == 0, attention_bias=n == 1, mlp_bias=n == 1, head_dim=[8, 16, 8][n]))
    if family == "mistral":
        return tr.MistralForCausalLM(tr.MistralConfig(**decoder(r), sliding_window=[8, None, 20][n], head_dim=[8, 16, 8][n], tie_word_embeddings=n == 2))
    if family == "qwen2":
        return tr.Qwen2ForCausalLM(tr.Qwen2Config(**decoder(r), use_sliding_window=n == 1, sliding_window=8, max_window_layers=1, tie_word_embeddings=n == 2, rope_scaling=rope([None, None, "linear"][n])))
    if family == "qwen3":
        return tr.Qwen3ForCausalLM(tr.Qwen3Config(**decoder(r), head_dim=[16, 8, 16][n], attention_bias=n == 1, tie_word_embeddings=n == 2, rope_scaling=rope([None, "dynamic", "yarn"][n])))
    if family == "gemma2":
        return tr.Gemma2ForCausalLM(tr.Gemma2Config(**decoder(r), head_dim=[8, 16, 8][n], sliding_window=[8, 8, 40][n], query_pre_attn_scalar=[16, 8, 32][n], attn_logit_softcapping=[50.0, 5.0, None][n], final_logit_softcapping=[30.0, 4.0, None][n], attn_implementation="eager"))
    if family == "gemma3_text":
        return tr.Gemma3ForCausalLM(tr.Gemma3TextConfig(**decoder(r), head_dim=[8, 16, 8][n], sliding_window=8, sliding_window_pattern=2, query_pre_attn_scalar=[16, 8, 16][n], rope_scaling=rope([None, "linear", None][n]), rope_theta=[1e6, 1e4, 1e5][n], attn_implementation="eager"))
    if family == "phi3":
        return tr.Phi3ForCausalLM(tr.Phi3Config(**decoder(r), sliding_window=[16, None, 8][n], rope_scaling=[None, longrope(4), longrope(4)][n], original_max_position_embeddings=[64, 16, 48][n], resid_pdrop=0.0, embd_pdrop=0.0))
    if family == "gpt2":
        return tr.GPT2LMHeadModel(tr.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=97, n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=1, eos_token_id=2))
    if family == "opt":
        return tr.OPTForCausalLM(tr.OPTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=[4, 2, 4][n], ffn_dim=48, vocab_size=97, max_position_embeddings=64,
                                              word_embed_proj_dim=[32, 24, 32][n], do_layer_norm_before=n != 1, activation_function=["relu", "relu", "gelu"][n], enable_bias=n != 2,
                                              dropout=0.0, attention_dropout=0.0, pad_token_id=1, bos_token_id=2, eos_token_id=2))
    if family == "bert":
        return tr.BertModel(tr.BertConfig(**encoder(r, hidden_act=["gelu", "relu", "gelu_new"][n])))
    if family == "roberta":
        return tr.RobertaModel(tr.RobertaConfig(**encoder(r, hidden_act=["gelu", "silu", "gelu"][n])))
    if family == "xlm-roberta":
        return tr.XLMRobertaModel(tr.XLMRobertaConfig(**encoder(r, hidden_act="gelu")))
    if family == "deberta-v2":
        return tr.DebertaV2Model(tr.DebertaV2Config(**encoder(r, hidden_act="gelu"), relative_attention=True, position_buckets=[16, 8, -1][n], max_relative_positions=[-1, -1, 20][n], pos_att_type=[["p2c", "c2p"], ["c2p"], ["p2c", "c2p"]][n], share_att_key=n != 2, norm_rel_ebd=["layer_norm", "none", "layer_norm"][n], position_biased_input=n == 2, conv_kernel_size=[3, 0, 0][n]))
    raise SystemExit(f"unknown family {family}")


SEQ2SEQ = ["bart", "t5", "mt5", "mbart", "pegasus", "marian", "m2m_100", "led"]
DECODERS = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "gpt2", "opt"]
ENCODERS = ["bert", "roberta", "xlm-roberta", "deberta-v2"]
CONFIGURATIONS = {"phi3": (0, 2), "gpt2": (0,)}  # others: 0 to 2


def randomise(model, generator):
    """Every parameter matters and logits differ clearly; values fit float16 exactly."""
    fixed = {id(q) for module in model.modules() if "Sinusoidal" in type(module).__name__ for q in module.parameters()}
    for name, p in model.named_parameters():
        if id(p) in fixed:
            if model.config.model_type == "pegasus":  # whose file holds them
                p.copy_(p.half().float())
            continue
        table = any(word in name for word in ("embed", "shared", "wte", "wpe"))
        if p.dim() >= 2:
            p.copy_(torch.randn(p.shape, generator=generator) * (0.6 if table else 1.2 / p.shape[-1] ** 0.5))
        elif "norm" in name.lower() or "ln_" in name:
            centre = 0.0 if "gemma" in model.config.model_type or not name.endswith("weight") else 1.0
            p.copy_(centre + 0.1 * torch.randn(p.shape, generator=generator))
        else:
            p.copy_(0.1 * torch.randn(p.shape, generator=generator))
        p.copy_(p.half().float())
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.copy_((0.3 * torch.randn(model.final_logits_bias.shape, generator=generator)).half().float())
    model.tie_weights()


def extra(family, ids):
    return {"global_attention_mask": torch.zeros_like(ids).index_fill(1, torch.tensor([0]), 1)} if family == "led" else {}


def common_end(model, family, r):
    """An end token that this model likes, so that sequences end at different lengths."""
    c = model.config
    ids = torch.tensor([[r.randrange(4, c.vocab_size - 1) for _ in range(10)] for _ in range(16)])
    model.generation_config = tr.GenerationConfig(pad_token_id=c.pad_token_id, bos_token_id=c.bos_token_id, decoder_start_token_id=getattr(c, "decoder_start_token_id", None), eos_token_id=None)
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=10, no_repeat_ngram_size=2, **extra(family, ids))
    made = out[:, (1 if family in SEQ2SEQ else ids.shape[1]) + 2:].flatten().tolist()
    c.eos_token_id = max((made.count(t), t) for t in range(4, c.vocab_size - 1))[1]
    if getattr(c, "forced_eos_token_id", None) is not None:
        c.forced_eos_token_id = c.eos_token_id


# ---- the engine's noise: SplitMix64 finaliser over (seed, ids), then (step, chain) ----
def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def uniform(seed, ids, step, chain):
    key = mix(seed)
    for t in ids:
        key = mix(key ^ t)
    return ((mix(mix(mix(key) ^ step) ^ chain) >> 11) + 0.5) * 2.0 ** -53


def sample(model, family, ids, settings):
    """transformers' warpers over the model's distribution, drawn with the engine's noise."""
    from transformers.generation import logits_process as lp
    t = torch.tensor([ids])
    start = [model.config.decoder_start_token_id] if family in SEQ2SEQ else list(ids)
    warpers = tr.LogitsProcessorList([lp.TemperatureLogitsWarper(settings["temperature"]), lp.TopKLogitsWarper(settings["top_k"]), lp.TopPLogitsWarper(settings["top_p"])])
    if "typical_p" in settings:
        warpers.append(lp.TypicalLogitsWarper(settings["typical_p"]))
    made, margin = [], 1.0
    for step in range(settings["max_new_tokens"]):
        seq = torch.tensor([start + made])
        logits = model(input_ids=t, decoder_input_ids=seq, **extra(family, t)).logits[:, -1] if family in SEQ2SEQ else model(input_ids=seq).logits[:, -1]
        last = len(start) + len(made) + 1 == len(start) + settings["max_new_tokens"]
        forced = getattr(model.generation_config, "forced_eos_token_id", None) if last else getattr(model.generation_config, "forced_bos_token_id", None) if seq.shape[1] == 1 else None
        if forced is not None:
            logits = torch.full_like(logits, float("-inf")).index_fill(1, torch.tensor([forced]), 0.0)
        p = warpers(seq, logits).softmax(-1)[0].double()
        order = sorted((i for i in range(len(p)) if p[i] > 0), key=lambda i: (-p[i].item(), i))
        u, total = uniform(settings["seed"], ids, step, 0), 0.0
        for i in order:
            total += p[i].item()
            margin = min(margin, abs(total - u))
            if u < total:
                break
        made.append(i)
        if i == model.config.pad_token_id:
            margin = 0.0  # M2M-100 numbers positions after a pad differently when it reads a sequence at once
        if i == model.config.eos_token_id:
            break
    return made, margin


def plans(n):
    return [("greedy", dict(num_beams=1, max_new_tokens=12)),
            ("beam", dict(num_beams=4, max_new_tokens=12, length_penalty=[2.0, 1.0, 0.5][n], early_stopping=[True, False, "never"][n], no_repeat_ngram_size=[3, 0, 2][n], num_return_sequences=2)),
            ("limits", dict(num_beams=[1, 3, 2][n], min_new_tokens=5, max_new_tokens=9, repetition_penalty=1.3))]


def generated(model, family, ids, settings):
    t = torch.tensor([ids])
    out = model.generate(t, attention_mask=torch.ones_like(t), do_sample=False, return_dict_in_generate=True, output_scores=True, **settings, **extra(family, t))
    prompt = 1 if family in SEQ2SEQ else len(ids)
    sequences = []
    for row in out.sequences.tolist():
        made = row[prompt:]
        if model.config.eos_token_id in made:
            made = made[: made.index(model.config.eos_token_id) + 1]
        sequences.append(made)
    scores = out.sequences_scores.tolist() if settings["num_beams"] > 1 else None
    gap = min((s[0].topk(2).values[0] - s[0].topk(2).values[1]).item() for s in out.scores) if settings["num_beams"] == 1 else None
    return sequences, scores, gap


def rounded(tensor):
    return [[float(f"{x:.7g}") for x in row] for row in tensor.tolist()]


def cases(model, family, n, r):
    c, exact = model.config, copy.deepcopy(model).double()
    end = [c.eos_token_id] if family in SEQ2SEQ else []
    rows = [[r.randrange(4, c.vocab_size - 1) for _ in range(k)] + end for k in (17, 5, 33, 1, 9, 24)]
    result = {"family": family, "logits": [], "generations": []}
    for ids in rows[:3]:
        t = torch.tensor([ids])
        if family in ENCODERS:
            states = model(input_ids=t, output_hidden_states=True).hidden_states
            result["logits"].append({"ids": ids, "states": [rounded(s[0]) for s in states]})
            continue
        case = {"ids": ids}
        if family in SEQ2SEQ:
            case["decoder_ids"] = [c.decoder_start_token_id] + [r.randrange(4, c.vocab_size - 1) for _ in range(4)]
            values = model(input_ids=t, decoder_input_ids=torch.tensor([case["decoder_ids"]]), **extra(family, t)).logits[0]
        else:
            values = model(input_ids=t).logits[0]
        case["values"] = rounded(values[-5:])
        result["logits"].append(case)
    if family in ENCODERS:
        return result
    for name, settings in plans(n):
        outputs = []
        for ids in rows:
            sequences, scores, gap = generated(model, family, ids, settings)
            if sequences == generated(exact, family, ids, settings)[0] and (gap is None or gap >= 1e-3):
                outputs.append({"input": ids, "ids": sequences, "scores": scores, "gap": gap})
        result["generations"].append({"name": name, "settings": settings, "outputs": outputs})
    settings = dict(do_sample=True, num_beams=1, max_new_tokens=10, temperature=0.8, top_k=20, top_p=0.9, seed=7)
    if n == 1:
        settings["typical_p"] = 0.8
    outputs = []
    for ids in rows:
        made, margin = sample(model, family, ids, settings)
        if margin >= 1e-4:
            outputs.append({"input": ids, "ids": [made], "scores": None, "gap": margin})
    result["generations"].append({"name": "sample", "settings": settings, "outputs": outputs})
    return result


def make(family, n):
    r = random.Random(f"{family}-{n}")
    torch.manual_seed(r.randrange(2**31))
    model = build(family, n, r).eval()
    randomise(model, torch.Generator().manual_seed(r.randrange(2**31)))
    if family not in ENCODERS:
        common_end(model, family, r)
        model.generation_config = tr.GenerationConfig.from_model_config(model.config)
    d = HERE / "models" / f"{family}-{n}"
    shutil.rmtree(d, ignore_errors=True)
    d.mkdir(parents=True)
    values = cases(model, family, n, r)
    copy.deepcopy(model).half().save_pretrained(d)
    config = json.loads((d / "config.json").read_text())
    (d / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (d / "cases.json").write_text(json.dumps(values, separators=(",", ":")) + "\n")
    kept = [f"{g['name']} {len(g['outputs'])}" for g in values["generations"]]
    print(family, n, ", ".join(kept), sum(f.stat().st_size for f in d.iterdir()) // 1024, "KiB", flush=True)


def main():
    for family in sys.argv[1:] or SEQ2SEQ + DECODERS + ENCODERS:
        for n in CONFIGURATIONS.get(family, (0, 1, 2)):
            make(family, n)


if __name__ == "__main__":
    main()
