"""The pages of documentation, and the commands in them. A fenced block "sh run" is run by test_docs.py against a live cluster, a block
"sh root" by tests/packaging/test_roots.py on a bare machine; all "sh" blocks are checked for commands and options that exist."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("clients/**/*.md"), *ROOT.glob("bench/*.md")])


def blocks(page, words):
    """The texts of a page's fenced blocks whose info string is `words`, or one of them when it is a tuple."""
    wanted = (words,) if isinstance(words, str) else words
    found = re.findall(r"^```([^\n`]*)\n(.*?)^```$", page.read_text(), re.M | re.S)
    return [text for info, text in found if info.strip() in wanted]


def prose(page):
    """The page without its fenced blocks."""
    return re.sub(r"^```[^\n`]*\n.*?^```$", "", page.read_text(), flags=re.M | re.S)
