"""The package `lumigrid`: its notebook functions, its types, and the walkthrough, run from an installed copy."""
import os
import pathlib
import shutil
import subprocess
import sys

import cluster as clusters
import nbclient
import nbformat
import pandas as pd
import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = 6


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that pip installed it to, from a copy: building leaves files in the source's folder."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "clients/python", folder / "source")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check",
                    "--target", folder / "site", folder / "source"], check=True)
    return folder / "site"


@pytest.fixture(scope="module")
def ld(installed, cluster):
    os.environ["LUMIGATOR_SERVICE_HOST"] = f"127.0.0.1:{cluster.http_port}"
    sys.path.insert(0, str(installed))
    import lumigator_demo
    yield lumigator_demo
    sys.path.remove(str(installed))
    del os.environ["LUMIGATOR_SERVICE_HOST"]


@pytest.fixture(scope="module")
def frame():
    made = pd.DataFrame(clusters.rows(8), columns=["examples", "ground_truth"])
    made.loc[3, "examples"] = 'NA, "quoted"\nand a second line'
    return made


@pytest.fixture(scope="module")
def dataset(ld, frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "threads.csv"
    frame.to_csv(path, index=False)
    return ld.get_resource_id(ld.dataset_upload(path))


@pytest.fixture(scope="module")
def results(ld, dataset):
    runs = [ld.get_resource_id(ld.experiments_submit(model, model, None, dataset, max_samples=None)) for model in ("sim://", "sim://?fail=4")]
    clusters.wait_for("the experiments", lambda: not ld.show_experiment_statuses(runs))
    return [ld.experiments_result_download(run) for run in runs]


def test_datasets(ld, dataset, frame):
    info = ld.dataset_info(dataset).json()
    assert info["filename"] == "threads.csv" and info["ground_truth"]
    pd.testing.assert_frame_equal(ld.dataset_download(dataset), frame)
    assert info in ld.get_datasets().json()["items"]
    assert ld.get_resource_id(ld.dataset_info(dataset)) is None  # a GET makes nothing


def test_a_json_lines_file(ld, frame, tmp_path):
    frame.to_json(tmp_path / "d.jsonl", orient="records", lines=True)
    pd.testing.assert_frame_equal(ld.dataset_download(ld.get_resource_id(ld.dataset_upload(tmp_path / "d.jsonl"))), frame)


def test_experiments(ld, dataset, results, capsys):
    run = ld.get_resource_id(ld.experiments_submit("sim://", "n", "d", dataset, max_samples=2, metrics=["rouge"]))
    assert ld.experiments_info(run).json()["name"] == "n"
    clusters.wait_for("the experiment", lambda: ld.experiments_status(run) == "SUCCEEDED")
    capsys.readouterr()
    assert ld.show_experiment_statuses([run]) is False
    assert capsys.readouterr().out == f"{run}: SUCCEEDED\n"
    assert len(ld.experiments_result_download(run)["predictions"]) == 2
    assert len(results[0]["predictions"]) == 8
    assert {e["id"] for e in ld.compare([run])["experiments"]} == {run}


def test_what_fails_says_why_in_the_servers_words(ld, dataset):
    with pytest.raises(requests.HTTPError, match="there is no dataset"):
        ld.dataset_info("00000000-0000-4000-8000-000000000000")
    with pytest.raises(requests.HTTPError, match="body.name: .*at least 1 character"):
        ld.experiments_submit("sim://", "", None, dataset)
    run = ld.get_resource_id(ld.experiments_submit("sim://?seconds=30", "n", None, dataset))
    with pytest.raises(requests.HTTPError, match="there is no result"):
        ld.experiments_result_download(run)
    requests.post(f"{ld.api_url()}/experiments/{run}/cancel", timeout=60)


def test_results_make_a_table(ld, results):
    table = ld.eval_results_to_table(results)
    assert list(table["Model"]) == ["sim://", "sim://?fail=4"]
    assert table["ROUGE-1"][0] == results[0]["rouge"]["rouge1_mean"] and "BERTScore F1" not in table
    assert ld.eval_results_to_table([]).empty


def test_nested_values(ld, results):
    assert ld.get_nested_value(results[0], "rouge/rouge1_mean") == results[0]["rouge"]["rouge1_mean"]
    assert ld.get_nested_value(results[0], "bertscore/precision_mean") is None
    assert ld.get_nested_value(results[0], "rouge/rouge1_mean/deeper", default=0) == 0


def test_best_and_worst(ld, results, capsys):
    shown = ld.show_best_worst(results, "sim://?fail=4", "rouge/rouge1")
    values = [v for v in results[1]["rouge"]["rouge1"] if v is not None]
    assert shown["rouge/rouge1"]["best"] == max(values) and shown["rouge/rouge1"]["worst"] == min(values)
    assert results[1]["predictions"][shown["sample"]["best"]] in capsys.readouterr().out
    pd.testing.assert_frame_equal(ld.show_best_worst(results, 1, "rouge/rouge1"), shown)
    with pytest.raises(ValueError, match="no result is of the model gpt"):
        ld.show_best_worst(results, "gpt", "rouge/rouge1")
    with pytest.raises(ValueError, match="no values at bertscore/f1"):
        ld.show_best_worst(results[0], "sim://", "bertscore/f1")


def test_the_coordinators_address_may_be_a_url(ld, monkeypatch):
    for host, url in (("h:1", "http://h:1/api/v1"), ("https://h/", "https://h/api/v1")):
        monkeypatch.setenv("LUMIGATOR_SERVICE_HOST", host)
        assert ld.api_url() == url


def test_a_token_is_sent(ld, monkeypatch, dataset):
    monkeypatch.setenv("LUMIGRID_TOKEN", "secret-token")
    assert ld.dataset_info(dataset).request.headers["Authorization"] == "Bearer secret-token"


def test_types():
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--cache-dir", os.devnull, "src"], cwd=ROOT / "clients/python",
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_walkthrough_runs(installed, cluster, tmp_path):
    notebook = nbformat.read(ROOT / "clients/python/notebooks/walkthrough.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells), "commit the notebook without outputs"
    env = {**os.environ, "PYTHONPATH": str(installed), "LUMIGATOR_SERVICE_HOST": f"127.0.0.1:{cluster.http_port}", "LUMIGRID_SOURCE": str(ROOT),
           "LUMIGRID_SAMPLES": str(SAMPLES), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=env)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    figures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(figures) == 5
    tables = "".join(o["data"]["text/html"] for o in outputs if "text/html" in o.get("data", {}))
    assert "toy-bart" in tables and "ROUGE-1" in tables and "p_holm" in tables
