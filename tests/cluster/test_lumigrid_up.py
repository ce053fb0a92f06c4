"""lumigrid up, status, logs and down on a fresh folder, as a new user types them."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from cluster import LUMIGRID, free_port


@pytest.fixture
def data():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lumigrid-up-"))
    folder.chmod(0o755)
    yield folder / "data"
    lumigrid("down", "--data", folder / "data", check=False)
    shutil.rmtree(folder, ignore_errors=True)


def lumigrid(*arguments, check=True, **environment):
    done = subprocess.run([str(LUMIGRID), *map(str, arguments)], capture_output=True, text=True, timeout=180, env={**os.environ, **environment})
    assert not check or done.returncode == 0, done.stderr
    return done


def runs(pid):
    """Whether the process is there and more than an entry that its parent has not read yet."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_up_runs_an_experiment_and_down_leaves_no_process(data, tmp_path):
    port = free_port()
    up = lumigrid("up", "--data", data, "--workers", 2, "--port", port)
    server = f"http://127.0.0.1:{port}"
    assert server in up.stdout and "lumigrid down" in up.stdout
    again = lumigrid("up", "--data", data, "--workers", 2, "--port", port)
    assert "2 connected" in again.stdout
    file = tmp_path / "mail.csv"
    file.write_text("examples,ground_truth\nthe cat sat,a cat sat\nthe dog ran,a dog ran\n")
    submitted = lumigrid("experiment", "submit", "--dataset", file, "--model", "sim://", "--name", "first", "--watch", LUMIGRID_SERVER=server)
    id = submitted.stdout.splitlines()[0]
    assert "ROUGE-1" in submitted.stdout
    best = lumigrid("experiment", "best-worst", id, LUMIGRID_SERVER=server).stdout
    assert "Best: sample" in best and "Worst: sample" in best and "the cat sat" in best
    listed = json.loads(lumigrid("experiment", "list", "--json", LUMIGRID_SERVER=server).stdout)
    assert [e["id"] for e in listed] == [id]
    state = json.loads(lumigrid("status", "--data", data, "--json").stdout)
    assert state["ready"] and [p["name"] for p in state["processes"]] == ["postgres", "coordinator", "worker-1", "worker-2"]
    assert "job" in lumigrid("logs", "coordinator", "--data", data).stdout
    lumigrid("down", "--data", data)
    assert not any(runs(p["pid"]) for p in state["processes"])
    assert lumigrid("status", "--data", data, check=False).returncode == 1


def test_what_was_stored_is_there_after_down_and_up(data, tmp_path):
    port = free_port()
    lumigrid("up", "--data", data, "--port", port)
    file = tmp_path / "mail.csv"
    file.write_text("examples,ground_truth\none,uno\n")
    server = f"http://127.0.0.1:{port}"
    id = lumigrid("dataset", "upload", file, LUMIGRID_SERVER=server).stdout.strip()
    lumigrid("down", "--data", data)
    lumigrid("up", "--data", data, "--port", port)
    assert lumigrid("dataset", "download", id, LUMIGRID_SERVER=server).stdout == file.read_text()


@pytest.mark.parametrize("arguments, status, words", [
    (["dataset", "list"], 5, "does not answer"),
    (["dataset", "show"], 2, "usage"),
    (["dataset", "upload", "/nowhere.csv"], 3, "/nowhere.csv"),
    (["experiment", "submit", "--model", "sim://"], 2, "--dataset is missing"),
    (["no", "such"], 2, "no command"),
    (["worker", "list", "--loud"], 2, "unknown option --loud"),
    (["status", "--data", "/nowhere"], 3, "no cluster"),
])
def test_mistakes_end_with_their_status_and_one_line(arguments, status, words):
    done = lumigrid(*arguments, check=False, LUMIGRID_SERVER=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == status and words in done.stderr


def test_help_is_there_on_every_level():
    whole = lumigrid("--help").stdout
    assert "experiment compare" in whole
    assert "--watch" in lumigrid("experiment", "submit", "--help").stdout
    assert "dataset upload" in lumigrid("dataset", "--help").stdout
