"""Documentation that is true: links lead somewhere, commands and options exist, and what is marked as such is run."""
import functools
import importlib.util
import os
import pathlib
import re
import shlex
import subprocess
import unicodedata

import pytest
from pages import PAGES, ROOT, blocks, prose

SPEC = importlib.util.spec_from_file_location("cluster_for_docs", ROOT / "tests/cluster/cluster.py")
cluster_module = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cluster_module)
BUILD = cluster_module.BUILD.resolve()
PROGRAMS = {"lumigrid": BUILD / "coordinator/lumigrid", "lumigrid-coordinator": BUILD / "coordinator/lumigrid-coordinator",
            "lumigrid-worker": BUILD / "worker/lumigrid-worker"}
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]


def anchor(heading):
    """As GitHub makes it."""
    kept = [c for c in heading.strip().lower() if c in " -_" or unicodedata.category(c)[0] in "LN"]
    return "".join(kept).replace(" ", "-")


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name} links to {target}"
        if fragment:
            assert fragment in {anchor(h) for h in re.findall(r"^#+ (.*)$", there.read_text(), re.M)}, f"{name} links to {target}"


@pytest.mark.parametrize("name", NAMES)
def test_named_files_exist(name):
    """`deploy/…`, `tests/…` and so on in running text are paths of this repository."""
    for path in re.findall(r"`((?:bench|clients|common|coordinator|deploy|docs|proto|tests|worker)/[\w./-]+)`", prose(ROOT / name)):
        built = list((ROOT / path).parent.glob(pathlib.Path(path).name + ".*"))  # a program by the name of its source
        assert (ROOT / path).exists() or built, f"{name} names {path}"


@functools.cache
def help_of(program, *words):
    done = subprocess.run([PROGRAMS[program], *words, "--help"], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def commands(text):
    """Command lines of our programs in a shell block: (program, words)."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"<<'?(\w+)'?\n.*?^\1$", "\n", text, flags=re.M | re.S))
    for line in joined.splitlines():
        for piece in re.split(r"\$\(|[|;&()]+|^\s*#.*|\bdo\b|\bexec coordinator\b", re.sub(r"\s#\s.*", "", line)):
            try:
                words = shlex.split(piece.strip().rstrip("`").replace("$(", ""))
            except ValueError:  # a quote that belongs to an outer command
                words = piece.split()
            if words and words[0].split("/")[-1] in PROGRAMS:
                yield words[0].split("/")[-1], words[1:]


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_options_exist(name):
    for block in blocks(ROOT / name, ("sh", "sh run", "sh root", "bash")):
        for program, words in commands(block):
            plain = [w for w in words if not w.startswith("-")]
            depth = 0 if program == "lumigrid-coordinator" else 1 if program == "lumigrid-worker" else 2
            said = next((s for n in range(depth, -1, -1) if (s := help_of(program, *plain[:n])) is not None), None)
            assert said, f"{name}: {program} {' '.join(words)}"
            if program == "lumigrid" and plain:  # an unknown command's help is that of all
                usage = said.split("\n", 1)[0]
                assert usage.startswith((f"usage: lumigrid {plain[0]} [", f"usage: lumigrid {plain[0]}  [", f"usage: lumigrid {' '.join(plain[:2])} ")), \
                    f"{name}: there is no {program} {' '.join(plain[:2])}"
            for option in (w.split("=")[0] for w in words if w.startswith("--")):
                assert re.search(re.escape(option) + r"[\s,]", said), f"{name}: {program} {' '.join(plain[:2])} has no {option}"


RUN = [n for n in NAMES if blocks(ROOT / n, "sh run")]


@pytest.fixture(scope="module")
def cluster():
    running = cluster_module.Cluster(workers=1)
    yield running
    running.close()


@pytest.mark.parametrize("name", RUN)
def test_marked_commands_run(name, cluster, tmp_path):
    """A page's blocks one after another, as a reader would type them, in one shell and an empty folder."""
    script = "".join(f"echo '>>> block {i}'\n{text}\n" for i, text in enumerate(blocks(ROOT / name, "sh run"), 1))
    environment = {**os.environ, "PATH": f"{BUILD}/coordinator:{BUILD}/worker:{os.environ['PATH']}", "LUMIGRID_SERVER": cluster.url,
                   "LUMIGRID_SOURCE": str(ROOT), "DATABASE": cluster.postgres.conninfo}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, f"{name}:\n{done.stdout[-4000:]}"


def test_quoted_messages_are_what_the_programs_say():
    """The left column of docs/troubleshooting.md: what a reader pastes from a log must be there to be found."""
    sources = "\n".join(p.read_text() for room in ("common", "coordinator", "worker") for p in (ROOT / room).rglob("*.c"))
    sources = re.sub(r'"\s*\n\s*"', "", sources)
    for line in (ROOT / "docs/troubleshooting.md").read_text().splitlines():
        if not line.startswith("| "):
            continue
        for quoted in re.findall(r"`([^`]+ [^`]+)`", line.split(" | ")[0]):
            for part in quoted.split("…"):
                assert part.strip() in sources, f"nothing says: {part.strip()}"
