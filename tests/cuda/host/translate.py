#!/usr/bin/env python3
"""Translates CUDA C++ sources into C++ that the host compiler takes, with the emulation in this directory.

Only what is no C++ is rewritten, on the same line, so that the compiler's messages stay true:
  kernel<T><<<grid, block, bytes, stream>>>(a, b)   a call of cuda_emulation::launch
  __shared__ T name[N];                             a reference to static memory that the emulation watches
  extern __shared__ T name[];                       a pointer to the dynamic shared memory
  __launch_bounds__(N) on a kernel                  a check at the start of its body
Everything else (qualifiers, built-in variables, intrinsics) is macros and functions in cuda_runtime.h.

Usage: translate.py IN OUT
"""
import re
import sys

SKIP = re.compile(r'//[^\n]*|/\*.*?\*/|R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def blank(text):
    """The text with comments and strings replaced by as many blanks: what structure is searched in."""
    return SKIP.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def fail(text, at, what):
    sys.exit(f"translate.py: {sys.argv[1]}:{text.count(chr(10), 0, at) + 1}: {what}")


OPEN, CLOSE = "([{", ")]}"


def closing(code, at, opener="(", closer=")"):
    """Where the bracket opened at `at` closes."""
    depth = 0
    for i in range(at, len(code)):
        if code[i] == opener:
            depth += 1
        elif code[i] == closer:
            depth -= 1
            if depth == 0:
                return i
    fail(code, at, f"'{opener}' is never closed")


def opening(code, at, opener, closer):
    depth = 0
    for i in range(at, -1, -1):
        if code[i] == closer:
            depth += 1
        elif code[i] == opener:
            depth -= 1
            if depth == 0:
                return i
    fail(code, at, f"'{closer}' was never opened")


def kernel_start(code, end):
    """Where the expression that names the kernel and ends before `end` begins."""
    i = end
    while True:
        while i > 0 and code[i - 1].isspace():
            i -= 1
        if code[i - 1] == ">":
            i = opening(code, i - 1, "<", ">")
        elif code[i - 1] == "]":
            i = opening(code, i - 1, "[", "]")
        elif code[i - 1] == ")":
            return opening(code, i - 1, "(", ")")
        else:
            word = re.search(r"[A-Za-z_]\w*$", code[:i])
            if not word:
                fail(code, i, "no kernel's name before <<<")
            i = word.start()
            qualifier = re.search(r"(::|\.|->)\s*$", code[:i])
            if not qualifier:
                return i
            i = qualifier.start()
            if not re.search(r"[\w>\])]\s*$", code[:i]):
                return i  # ::name


def split(code, text):
    """Parts of `text` between commas outside all brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(code):
        if c in OPEN:
            depth += 1
        elif c in CLOSE:
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return parts


def launches(text):
    while True:
        code = blank(text)
        at = code.find("<<<")
        if at < 0:
            return text
        start = kernel_start(code, at)
        end = code.find(">>>", at)
        if end < 0:
            fail(code, at, "<<< without >>>")
        name = text[start:at].strip()
        flat = " ".join(name.split()).replace('"', '\\"')
        text = (text[:start] + f'::cuda_emulation::launch("{flat}", {name}, {text[at + 3:end]})' + text[end + 3:])


def bounds(text):
    for m in reversed(list(re.finditer(r"\b__launch_bounds__\s*\(", blank(text)))):
        code = blank(text)
        end = closing(code, m.end() - 1)
        threads = split(code[m.end():end], text[m.end():end])[0]
        parameters = code.find("(", end)
        body = closing(code, parameters) + 1
        brace = re.match(r"\s*\{", code[body:])
        text = text[:m.start()] + re.sub(r"[^\n]", " ", text[m.start():end + 1]) + text[end + 1:] if not brace else (
            text[:m.start()] + re.sub(r"[^\n]", " ", text[m.start():end + 1]) + text[end + 1:body + brace.end()] +
            f" ::cuda_emulation::launch_bounds({threads});" + text[body + brace.end():])
    return text


DYNAMIC = re.compile(
    r"\bextern\s+__shared__\s+((?:__align__\s*\([^)]*\)\s*|alignas\s*\([^)]*\)\s*)?)([\w:\s]+?[\s*])"
    r"((?:__align__\s*\([^)]*\)\s*)?)(\w+)\s*\[\s*\]\s*;")
STATIC = re.compile(r"(?:\bstatic\s+)?\b__shared__\s+")


def shared(text):
    def dynamic(m):
        lines = "\n" * m.group().count("\n")
        kind = " ".join(m.group(2).split())
        return f"{kind} *const {m.group(4)} = static_cast<{kind} *>(::cuda_emulation::dynamic_shared());{lines}"

    text = DYNAMIC.sub(dynamic, text)
    number = 0
    while True:
        code = blank(text)
        m = STATIC.search(code)
        if not m:
            return text
        end = code.index(";", m.end())
        declaration = text[m.end():end]
        names = [re.match(r"(?:.*?[\s*&>])?(\w+)\s*(\[.*)?$", part.strip(), re.S)
                 for part in split_declarators(code[m.end():end], declaration)]
        if not all(names):
            fail(code, m.start(), "a __shared__ declaration that is not understood")
        number += 1
        kind = f"shared_{number}_"
        slot = f"::cuda_emulation::shared_slot<{kind}>::storage"
        views = "".join(f" static auto &{n.group(1)} = {slot}.value.{n.group(1)};" for n in names)
        text = (text[:m.start()] + f"struct {kind} {{ {declaration}; }};{views} ::cuda_emulation::use_shared(&{slot}, "
                f"sizeof(shared_{number}_));" + text[end + 1:])


def split_declarators(code, text):
    """Like split, but a template's commas (cub::Reduce<float, 32> x) are not between declarators."""
    masked, depth = [], 0
    for c in code:
        depth += (c == "<") - (c == ">")
        masked.append(" " if depth > 0 and c == "," else c)
    return split("".join(masked), text)


def main():
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        text = f.read()
    text = shared(bounds(launches(text)))
    with open(target, "w", encoding="utf-8") as f:
        f.write(f'#line 1 "{source}"\n{text}')


if __name__ == "__main__":
    main()
