"""`cmake --install`: what lies where, and whether services and settings hold what they promise."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LUMIGRID_BUILD", ROOT / "build"))
CUDA = {"lib/lumigrid/liblumigrid_cuda.so", "share/doc/lumigrid-worker-cuda/CHANGELOG.md", "share/doc/lumigrid-worker-cuda/copyright"}
LAYOUT = (pathlib.Path(__file__).parent / "layout.txt").read_text().split()
EXPOSURE_MAX = 20  # tenths, of systemd-analyze security: 0 is safe, 100 unprotected


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix, "--strip"], check=True, capture_output=True)
    return prefix


def test_layout(installed):
    found = {str(p.relative_to(installed)) for p in installed.rglob("*") if p.is_file()}
    cuda = CUDA if list(BUILD.glob("**/liblumigrid_cuda.so")) else set()
    assert sorted(found) == sorted({*LAYOUT, *cuda})


def test_programs_run_and_find_their_data(installed, tmp_path):
    (tmp_path / "pairs").write_text('{"id":"a","prediction":"the car stopped","reference":"the automobile stopped"}\n')
    subprocess.run([installed / "bin/lumigrid-worker", "score", "--metrics", "meteor", "--input", tmp_path / "pairs", "--output", tmp_path / "scores"], check=True)
    assert json.loads((tmp_path / "scores").read_text())["meteor"] > 0.3  # which needs WordNet's file
    for program in ("lumigrid", "lumigrid-coordinator", "lumigrid-worker"):
        assert re.fullmatch(program + r" \d+\.\d+\.\d+", subprocess.run([installed / "bin" / program, "--version"], capture_output=True, text=True, check=True).stdout.strip())


@pytest.mark.parametrize("part", ["coordinator", "worker"])
def test_settings_file_is_understood(installed, part):
    """Every setting in the shipped file is an option of the program: an unknown one is refused."""
    settings = installed / f"etc/lumigrid/{part}.conf"
    done = subprocess.run([installed / f"bin/lumigrid-{part}", "--config", settings, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = re.findall(r"^([a-z-]+) *=", settings.read_text(), re.M)
    assert names and all(f"--{name} " in done.stdout for name in names)
    bad = installed / "bad.conf"
    bad.write_text(f"[{part}]\nno-such-setting = 1\n")
    assert subprocess.run([installed / f"bin/lumigrid-{part}", "--config", bad, "--help"], capture_output=True).returncode == 2


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("part", ["coordinator", "worker"])
def test_service_is_valid_and_confined(installed, part):
    unit = installed / f"lib/systemd/system/lumigrid-{part}.service"
    text = unit.read_text()
    program = re.search(r"^ExecStart=(\S+)", text, re.M)[1]
    local = installed / unit.name
    local.write_text(text.replace(program, str(installed / f"bin/lumigrid-{part}")))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", local], capture_output=True, text=True)
    assert not [line for line in done.stderr.splitlines() if "lumigrid" in line], done.stderr
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", local], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout.splitlines()[-1] if done.stdout else done.stderr


@pytest.mark.parametrize("line,offered", [
    ("lumigrid ", {"up", "dataset", "experiment", "worker"}),
    ("lumigrid data", {"dataset"}),
    ("lumigrid dataset ", {"upload", "list", "show", "download", "delete"}),
    ("lumigrid experiment submit --max", {"--max-samples"}),
    ("lumigrid dataset upload ", set()),  # a file's name is bash's own matter
    ("lumigrid-worker ", {"generate", "score", "bench"}),
    ("lumigrid-worker --dt", {"--dtype"}),
])
def test_bash_completes(installed, line, offered):
    words = line.split(" ")
    script = (f"source {installed}/share/bash-completion/completions/lumigrid; COMP_WORDS=({' '.join(w or chr(39) * 2 for w in words)}); COMP_CWORD={len(words) - 1}; "
              f"_lumigrid_complete {words[0]}; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env={**os.environ, "PATH": f"{installed}/bin:{os.environ['PATH']}"})
    said = set(done.stdout.split())
    assert offered <= said and (offered or not said), done.stdout + done.stderr


def test_manual_pages_name_every_command_and_option(installed):
    page = (installed / "share/man/man1/lumigrid.1").read_text().replace("\\-", "-")
    for words in re.findall(r"^  ([a-z][a-z-]*(?: [a-z-]+)?)", subprocess.run([installed / "bin/lumigrid", "--help"], capture_output=True, text=True).stdout, re.M):
        assert f".SS lumigrid {words}" in page
    assert "--max-samples" in page and "--dtype" in (installed / "share/man/man8/lumigrid-worker.8").read_text().replace("\\-", "-")
