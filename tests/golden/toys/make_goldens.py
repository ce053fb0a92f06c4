"""What transformers generates with the toy models for twelve of the sample threads: toy-bart.json and toy-t5.json.
Needs torch and transformers.

usage: make_goldens.py [toy-bart toy-t5] [--models deploy/local/models] [--out tests/golden/toys]

The weights are the float16 ones of the files, the arithmetic float32. Each sample has the row in threads.csv, the input's
ids (after truncation, prefix included), and
  greedy  the ids with num_beams 1 and otherwise the model's own settings, and for each the gap between the two best scores
          (null where only one token was allowed);
  beam    the ids by the model's own settings, the sequence's score and the distance to the second best sequence;
  stable  whether the same ids come out in float64: where not, an implementation may differ, too.
Ids are without the start token, with the ending one.
"""
import argparse
import json
import math
import pathlib

import torch
import transformers

from check_quality import read_threads

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROWS = list(range(0, 60, 5))


def ids_of(sequence, eos):
    ids = sequence.tolist()[1:]
    return ids[:ids.index(eos) + 1] if eos in ids else ids


def gap(scores):
    best, second = scores.topk(2).values.tolist()
    return None if math.isinf(second) else round(best - second, 6)


def sample(model, double, tokenizer, prefix, row, thread):
    inputs = tokenizer(prefix + thread, truncation=True, return_tensors="pt")
    how = dict(return_dict_in_generate=True, output_scores=True, do_sample=False)
    greedy = model.generate(**inputs, num_beams=1, **how)
    beam = model.generate(**inputs, num_return_sequences=2, **how)
    eos = model.generation_config.eos_token_id
    greedy_ids, beam_ids = (ids_of(o.sequences[0], eos) for o in (greedy, beam))
    again = [ids_of(double.generate(**inputs, num_beams=1, do_sample=False)[0], eos) == greedy_ids,
             ids_of(double.generate(**inputs, do_sample=False)[0], eos) == beam_ids]
    scores = beam.sequences_scores.tolist()
    return {
        "row": row, "input_ids": inputs["input_ids"][0].tolist(),
        "greedy": {"ids": greedy_ids, "gaps": [gap(s[0]) for s in greedy.scores], "stable": again[0]},
        "beam": {"ids": beam_ids, "score": round(scores[0], 6), "score_gap": round(scores[0] - scores[1], 6), "stable": again[1],
                 "text": tokenizer.decode(beam_ids, skip_special_tokens=True)},
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=["toy-bart", "toy-t5"])
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / "deploy/local/models")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "tests/golden/toys")
    a = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    threads = read_threads()
    for name in a.names:
        directory = a.models / name
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
        model, double = (transformers.AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=t).eval() for t in (torch.float32, torch.float64))
        prefix = model.config.task_specific_params["summarization"].get("prefix", "")
        lines = [json.dumps(sample(model, double, tokenizer, prefix, row, threads[row][0]), ensure_ascii=False) for row in ROWS]
        head = json.dumps({"model": name, "transformers": transformers.__version__, "settings": model.generation_config.to_diff_dict()})
        (a.out / f"{name}.json").write_text(head[:-1] + ', "samples": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
