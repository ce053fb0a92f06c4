"""Renders chat/*.jinja with transformers' environment; writes chat.json beside this file.

    python tests/golden/tokenizer/chat_goldens.py
"""
import json
import pathlib

from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = pathlib.Path(__file__).parent
CONVERSATIONS = [
    [("user", "Hello")],
    [("system", "  Be brief. "), ("user", "Summarise:\n\n- one\n- two  "), ("assistant", " Done. "), ("user", "Thanks 👍 <b>\"é\"</b>")],
    [("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nb"), ("user", ""), ("assistant", "<think>x</think>y")],
    [("user", "boom"), ("user", "again")],
    [("system", "only")],
    [("user", "x"), ("assistant", "y"), ("tool", "{\"z\": 1}"), ("tool", "2"), ("user", "日本語 {{ not a tag }} {% nor this %}")],
    [("assistant", "starts")],
]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def render(template, messages, prompt):
    try:
        return {"text": template.render(messages=messages, tools=None, documents=None, add_generation_prompt=prompt, **SPECIAL)}
    except Exception as e:  # noqa: BLE001 - the template's own refusal is the golden
        return {"error": str(e), "raised": type(e).__name__ == "TemplateError"}


def main():
    cases = []
    for path in sorted((HERE / "chat").glob("*.jinja")):
        template = _compile_jinja_template(path.read_text())
        for conversation in CONVERSATIONS:
            messages = [{"role": r, "content": c} for r, c in conversation]
            for prompt in (True, False):
                cases.append({"template": path.name, "messages": messages, "prompt": prompt, **render(template, messages, prompt)})
    (HERE / "chat.json").write_text(json.dumps({"special": SPECIAL, "cases": cases}, ensure_ascii=False, indent=0) + "\n")
    print(len(cases), sum("error" in c for c in cases))


if __name__ == "__main__":
    main()
