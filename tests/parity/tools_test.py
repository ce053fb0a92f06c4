"""The worker's offline tools as a user runs them. Usage: tools_test.py WORKER (ctest passes it)."""
import csv
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

WORKER = ""
MODELS = pathlib.Path(__file__).resolve().parents[1] / "golden" / "engine" / "models"


def run(*args, stdin=""):
    done = subprocess.run([WORKER, *map(str, args)], input=stdin, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def lines(*objects):
    return "".join((o if isinstance(o, str) else json.dumps(o)) + "\n" for o in objects)


def model(name):
    return ["--model", f"file://{MODELS / name}"]


class Usage(unittest.TestCase):
    def test_every_tool_explains_itself(self):
        for tool in ("tokenize", "logits", "generate", "score", "bench", "inspect"):
            status, out, _ = run(tool, "--help")
            self.assertEqual(status, 0, tool)
            self.assertIn(f"usage: lumigrid-worker {tool}", out)

    def test_wrong_usage_is_status_2_and_one_line(self):
        for args in (["polish"], ["generate"], ["generate", "--nonsense"], ["bench", "--shape", "bart-gigantic"],
                     ["inspect"], ["score", "--metrics", "rogue"], ["generate", *model("bart-0"), "--set", "beams=3"],
                     ["generate", *model("bart-0"), "--set", "num_beams=0"], ["generate", *model("bart-0"), "--dtype", "f8"]):
            status, out, err = run(*args)
            self.assertEqual((status, out), (2, ""), args)
            self.assertEqual(err.count("\n"), 1, err)

    def test_a_missing_model_is_status_3(self):
        self.assertEqual(run("inspect", "file:///nowhere/at/all")[0], 3)
        self.assertEqual(run("generate", "--model", "file:///nowhere/at/all")[0], 3)

    def test_a_missing_input_is_status_3(self):
        self.assertEqual(run("generate", *model("bart-0"), "--input", "/nowhere.jsonl")[0], 3)

    def test_a_truncated_model_is_one_clear_line(self):
        with tempfile.TemporaryDirectory() as d:
            for f in (MODELS / "bart-0").iterdir():
                data = f.read_bytes()
                (pathlib.Path(d) / f.name).write_bytes(data[: len(data) // 2] if f.suffix == ".safetensors" else data)
            status, _, err = run("generate", "--model", f"file://{d}", stdin=lines({"id": "a", "ids": [5, 6]}))
            self.assertEqual(status, 1)
            self.assertEqual(err.count("\n"), 1)
            self.assertIn("model.safetensors", err)

    def test_an_unknown_architecture_lists_the_known(self):
        with tempfile.TemporaryDirectory() as d:
            for f in (MODELS / "bart-0").iterdir():
                (pathlib.Path(d) / f.name).write_bytes(f.read_bytes())
            config = json.loads((MODELS / "bart-0" / "config.json").read_text())
            config["model_type"] = "perceiver"
            (pathlib.Path(d) / "config.json").write_text(json.dumps(config))
            status, _, err = run("generate", "--model", f"file://{d}", stdin=lines({"id": "a", "ids": [5]}))
            self.assertEqual(status, 1)
            self.assertIn("perceiver", err)
            self.assertIn("bart", err)


class Generate(unittest.TestCase):
    def setUp(self):
        self.cases = json.loads((MODELS / "bart-0" / "cases.json").read_text())

    def test_ids_in_ids_out(self):
        plan = next(p for p in self.cases["generations"] if p["name"] == "beam")
        sets = [x for k, v in plan["settings"].items() for x in ("--set", f"{k}={json.dumps(v)}")]
        asked = [{"id": i, "ids": o["input"]} for i, o in enumerate(plan["outputs"])]
        status, out, err = run("generate", *model("bart-0"), *sets, "--batch", 3, stdin=lines(*asked))
        self.assertEqual((status, err), (0, ""))
        got = {o["id"]: o for o in map(json.loads, out.splitlines())}
        self.assertEqual(len(got), len(asked))
        for i, want in enumerate(plan["outputs"]):
            self.assertEqual(got[i]["ids"], want["ids"][0])
            self.assertEqual(got[i]["more"][0]["ids"], want["ids"][1])
            self.assertEqual(got[i]["prompt_tokens"], len(want["input"]))
            self.assertAlmostEqual(got[i]["score"], want["scores"][0], places=3)
            self.assertGreaterEqual(got[i]["seconds"], 0)

    def test_the_same_seed_gives_the_same_ids(self):
        args = ["generate", *model("llama-0"), "--set", "do_sample=true", "--set", "max_new_tokens=12"]
        asked = lines(*({"id": str(i), "ids": [5, 6, 7 + i]} for i in range(5)))
        ids = lambda out: {o["id"]: o["ids"] for o in map(json.loads, out.splitlines())}
        first, again = run(*args, "--seed", 1, stdin=asked)[1], run(*args, "--seed", 1, "--batch", 1, stdin=asked)[1]
        other = run(*args, "--seed", 2, stdin=asked)[1]
        self.assertEqual(ids(first), ids(again))
        self.assertNotEqual(ids(first), ids(other))

    def test_a_bad_line_is_named(self):
        good = {"id": "a", "ids": [5, 6]}
        for bad, why in (("{", "JSON"), ("[1]", "object"), ({"ids": [5]}, '"id"'), ({"id": "b"}, '"text"'),
                         ({"id": "b", "ids": "5"}, "token ids"), ({"id": "b", "ids": [5, -1]}, "token ids"),
                         ({"id": "b", "ids": [100000]}, "vocabulary"), ({"id": "b", "text": "hello"}, "tokenizer")):
            with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
                f.write(lines(good, "", bad))
                f.flush()
                status, _, err = run("generate", *model("bart-0"), "--input", f.name)
            self.assertEqual(status, 1, bad)
            self.assertIn(f"{f.name}:3: ", err)
            self.assertIn(why, err)
            self.assertEqual(err.count("\n"), 1)

    def test_no_input_is_no_output(self):
        self.assertEqual(run("generate", *model("bart-0")), (0, "", ""))


class Logits(unittest.TestCase):
    def read(self, name, *objects):
        with tempfile.TemporaryDirectory() as d:
            out = pathlib.Path(d) / "out.safetensors"
            status, _, err = run("logits", *model(name), "--output", out, stdin=lines(*objects))
            self.assertEqual((status, err), (0, ""))
            data = out.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        header, body, tensors = json.loads(data[8 : 8 + size]), data[8 + size :], {}
        for key, t in header.items():
            first, last = t["data_offsets"]
            tensors[key] = (t["shape"], struct.unpack(f"<{(last - first) // 4}f", body[first:last]))
        return tensors

    def test_logits_of_a_decoder(self):
        case = json.loads((MODELS / "llama-1" / "cases.json").read_text())["logits"][0]
        shape, values = self.read("llama-1", {"id": "x", "ids": case["ids"]})["x"]
        want = [v for row in case["values"] for v in row]
        self.assertEqual(shape, [len(case["ids"]), len(case["values"][0])])
        spread = max(want) - min(want)
        self.assertLess(max(abs(a - b) for a, b in zip(want, values[-len(want) :])), 2e-4 * spread)

    def test_states_of_an_encoder(self):
        tensors = self.read("bert-0", {"id": "a", "ids": [5, 6, 7]}, {"id": "b", "ids": [8]})
        self.assertEqual(sorted(tensors), ["a.0", "a.1", "a.2", "b.0", "b.1", "b.2"])
        self.assertEqual(tensors["a.1"][0], [3, 32])
        self.assertTrue(all(map(math.isfinite, tensors["b.2"][1])))


class Others(unittest.TestCase):
    def test_bench_prints_one_json_line(self):
        status, out, _ = run("bench", "--shape", "bart-tiny", "--input-tokens", 20, "--new-tokens", 6, "--batch", 3, "--beams", 2, "--threads", 1)
        self.assertEqual((status, out.count("\n")), (0, 1))
        values = json.loads(out)
        for key in ("seconds", "encode_seconds", "prompt_tokens_per_s", "new_tokens_per_s", "resident_bytes", "peak_resident_bytes", "load_seconds"):
            self.assertGreater(values[key], 0, key)

    def plan(self, *args):
        status, out, err = run("bench", "--plan", *args)
        self.assertEqual((status, out.count("\n")), (0, 1), err)
        return json.loads(out)

    def test_bench_plan_counts_what_a_model_asks_for(self):
        # BART's decoder, by hand: four matrices of self-attention, two of cross-attention, two of the inner layer, the head.
        width, inner, layers, vocabulary, rows = 64, 128, 2, 1000, 3 * 2
        parameters = layers * (6 * width * width + 2 * width * inner) + width * vocabulary
        args = ["--shape", "bart-tiny", "--input-tokens", 20, "--new-tokens", 6, "--batch", 3, "--beams", 2]
        step = self.plan(*args)["decode_step"]
        self.assertEqual(step["product_flops"], 2 * rows * parameters)
        self.assertEqual(step["products"], layers * 6 + 1)  # q, k, v are one product, cross k and v are in prefill
        rest = step["weight_bytes"] - 4 * parameters  # embeddings of the rows, biases, norms
        self.assertTrue(0 < rest < 16 * 1024, rest)
        half = self.plan(*args, "--dtype", "f16")["decode_step"]
        self.assertTrue(0.45 < half["weight_bytes"] / step["weight_bytes"] < 0.55)
        self.assertEqual(half["product_flops"], step["product_flops"])

    def test_bench_plan_follows_batch_and_length(self):
        width, inner, layers, vocabulary, kv_width = 64, 128, 2, 1000, 32
        parameters = layers * (2 * width * width + 2 * width * kv_width + 3 * width * inner) + width * vocabulary
        args = ["--shape", "llama-tiny", "--new-tokens", 2, "--beams", 1]
        one = self.plan(*args, "--input-tokens", 50, "--batch", 1)["decode_step"]
        many = self.plan(*args, "--input-tokens", 50, "--batch", 7)["decode_step"]
        longer = self.plan(*args, "--input-tokens", 101, "--batch", 1)["decode_step"]
        self.assertEqual(one["product_flops"], 2 * parameters)
        self.assertEqual(many["product_flops"], 7 * one["product_flops"])
        self.assertEqual(many["launches"], one["launches"])
        # A query of 4 heads of 16 sees 51 keys, then 102: two products of 2 flops a value.
        self.assertEqual(one["attention_flops"], layers * 51 * 4 * (16 + 16) * 2)
        self.assertEqual(longer["attention_flops"], 2 * one["attention_flops"])

    def test_bench_plan_of_a_model_of_many_gigabytes_needs_none(self):
        values = self.plan("--shape", "llama-3-8b", "--new-tokens", 2, "--batch", 1, "--beams", 1, "--dtype", "bf16")
        self.assertTrue(16e9 < values["resident_weight_bytes"] < 18.5e9)

    def test_bench_leaves_no_files(self):
        with tempfile.TemporaryDirectory() as d:
            done = subprocess.run([WORKER, "bench", "--shape", "bart-tiny", "--input-tokens", "8", "--new-tokens", "2"], capture_output=True, env={"TMPDIR": d}, timeout=300)
            self.assertEqual(done.returncode, 0)
            self.assertEqual(list(pathlib.Path(d).iterdir()), [])

    def test_inspect_says_what_a_model_is(self):
        status, out, _ = run("inspect", f"file://{MODELS / 't5-0'}", "--json")
        self.assertEqual(status, 0)
        values = json.loads(out)
        self.assertEqual(values["architecture"], "t5")
        self.assertEqual(len(values["digest"]), 64)
        self.assertEqual(values["bytes"], sum(t["bytes"] for t in values["tensors"]))
        self.assertIn("num_beams", values["settings"])
        status, out, _ = run("inspect", f"file://{MODELS / 't5-0'}")
        self.assertEqual(status, 0)
        self.assertIn("shared.weight", out)


class Toys(unittest.TestCase):
    """The shipped models, text in and text out, against what transformers makes of them (tests/golden/toys)."""

    root = pathlib.Path(__file__).resolve().parents[2]

    def texts(self):
        with open(self.root / "deploy" / "local" / "sample" / "threads.csv", newline="", encoding="utf-8") as f:
            return [row["examples"] for row in csv.DictReader(f)]

    def check(self, name, kind, *sets):
        golden = json.loads((self.root / "tests" / "golden" / "toys" / f"{name}.json").read_text())["samples"]
        texts = self.texts()
        args = ["--model", f"file://{self.root}/deploy/local/models/{name}", "--task", "summarization", *sets]
        asked = [{"id": s["row"], "text": texts[s["row"]]} for s in golden]
        status, out, err = run("generate", *args, stdin=lines(*asked))
        self.assertEqual((status, err), (0, ""))
        got = {o["id"]: o for o in map(json.loads, out.splitlines())}
        checked = 0
        for s in golden:
            self.assertEqual(got[s["row"]]["prompt_tokens"], len(s["input_ids"]))
            gaps = [g for g in s[kind].get("gaps", [s["beam"]["score_gap"]]) if g is not None]
            if s[kind]["stable"] and min(gaps) > 1e-4:
                self.assertEqual(got[s["row"]]["ids"], s[kind]["ids"], s["row"])
                checked += 1
                if kind == "beam":
                    self.assertEqual(got[s["row"]]["text"], s["beam"]["text"])
                    self.assertAlmostEqual(got[s["row"]]["score"], s["beam"]["score"], places=4)
        self.assertGreaterEqual(checked, len(golden) // 2)

    def test_bart_by_its_own_settings(self):
        self.check("toy-bart", "beam")

    def test_t5_by_its_own_settings(self):
        self.check("toy-t5", "beam")

    def test_greedy(self):
        self.check("toy-bart", "greedy", "--set", "num_beams=1")
        self.check("toy-t5", "greedy", "--set", "num_beams=1")


if __name__ == "__main__":
    WORKER = sys.argv.pop(1)
    unittest.main()
