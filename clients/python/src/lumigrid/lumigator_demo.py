"""Functions for notebooks: upload a dataset, make ground truth, run models over it, compare what they wrote.

The coordinator is at LUMIGATOR_SERVICE_HOST ("host:port" or a URL), read at every call.
"""
from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import requests

__all__ = [
    "api_url",
    "compare",
    "dataset_download",
    "dataset_info",
    "dataset_upload",
    "eval_results_to_table",
    "experiments_info",
    "experiments_result_download",
    "experiments_status",
    "experiments_submit",
    "get_bart_ground_truth",
    "get_datasets",
    "get_deployments",
    "get_mistral_ground_truth",
    "get_nested_value",
    "get_resource_id",
    "get_summarizer_deployment_id",
    "show_best_worst",
    "show_experiment_statuses",
]

Id = str | UUID
Result = dict[str, Any]

TIMEOUT_S = 300
TABLE_COLUMNS = {
    "Model": "model",
    "ROUGE-1": "rouge/rouge1_mean",
    "ROUGE-2": "rouge/rouge2_mean",
    "ROUGE-L": "rouge/rougeL_mean",
    "ROUGE-Lsum": "rouge/rougeLsum_mean",
    "METEOR": "meteor/meteor_mean",
    "BERTScore precision": "bertscore/precision_mean",
    "BERTScore recall": "bertscore/recall_mean",
    "BERTScore F1": "bertscore/f1_mean",
    "Seconds": "summarization_time",
}


def api_url() -> str:
    """The API's address, without a slash at its end."""
    host = os.environ.get("LUMIGATOR_SERVICE_HOST", "localhost:8000").rstrip("/")
    return f"{host if '://' in host else 'http://' + host}/api/v1"


def _request(method: str, path: str, **how: Any) -> requests.Response:
    token = os.environ.get("LUMIGRID_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = requests.request(method, api_url() + path, headers=headers, timeout=TIMEOUT_S, **how)
    if response.status_code >= 400:
        raise requests.HTTPError(f"{method} {path}: {response.status_code}: {_reason(response)}", response=response)
    return response


def _reason(response: requests.Response) -> str:
    """The server's own words: one line, or every bad field."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return response.text[:500]
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in detail)
    return str(detail)


def _download(response: requests.Response) -> requests.Response:
    """Follows the download_url of an answer; it is signed and needs no token."""
    content = requests.get(response.json()["download_url"], timeout=TIMEOUT_S)
    content.raise_for_status()
    return content


def get_resource_id(response: requests.Response) -> str | None:
    """The id of what a POST made (dataset, experiment, deployment); None when it made nothing."""
    return response.json().get("id") if response.status_code == requests.codes.created else None


# -- datasets --


def dataset_upload(filename: str | Path) -> requests.Response:
    """Uploads a CSV or JSONL file with a column `examples` and, where it is known, `ground_truth`."""
    path = Path(filename)
    with path.open("rb") as file:
        return _request("POST", "/datasets/", files={"dataset": (path.name, file)}, data={"format": "experiment"})


def dataset_info(dataset_id: Id) -> requests.Response:
    """Name, size, whether there is ground truth, and when it was uploaded."""
    return _request("GET", f"/datasets/{dataset_id}")


def dataset_download(dataset_id: Id) -> pd.DataFrame:
    """The dataset's rows. An empty text stays an empty text."""
    content = _download(_request("GET", f"/datasets/{dataset_id}/download"))
    if "ndjson" in content.headers.get("Content-Type", ""):
        return pd.read_json(io.BytesIO(content.content), lines=True)
    return pd.read_csv(io.BytesIO(content.content), keep_default_na=False)


def get_datasets(skip: int = 0, limit: int = 100) -> requests.Response:
    """A page of the datasets, newest first."""
    return _request("GET", "/datasets/", params={"skip": skip, "limit": limit})


# -- ground truth --


def get_deployments() -> requests.Response:
    """The models that are kept loaded for single texts."""
    return _request("GET", "/ground-truth/deployments")


def get_summarizer_deployment_id() -> str:
    """The newest deployment that has not failed. Makes none: RuntimeError says how to make one."""
    for deployment in get_deployments().json()["items"]:
        if deployment["status"] != "failed":
            return str(deployment["id"])
    raise RuntimeError("there is no deployment; make one: POST /api/v1/ground-truth/deployments")


def get_bart_ground_truth(deployment_id: Id, prompt: str) -> requests.Response:
    """A deployed model's summary of a text: {"deployment_response": {"result": "…"}}."""
    return _request("POST", f"/ground-truth/deployments/{deployment_id}", json={"text": prompt})


def get_mistral_ground_truth(prompt: str) -> requests.Response:
    """Mistral's summary of a text: {"text": "…"}. The coordinator holds the key."""
    return _request("POST", "/completions/mistral", json={"text": prompt})


# -- experiments --


def experiments_submit(model_name: str, name: str, description: str | None, dataset_id: Id, max_samples: int | None = 10,
                       system_prompt: str | None = None, model_url: str | None = None, **more: Any) -> requests.Response:
    """Starts one model over a dataset. `max_samples` None, 0 or -1: all. `more`: metrics, generation_config, dtype, seed, …"""
    body = {"name": name, "description": description, "model": model_name, "dataset": str(dataset_id), "max_samples": max_samples,
            "model_url": model_url, "system_prompt": system_prompt, "config_template": None, **more}
    return _request("POST", "/experiments/", json=body)


def experiments_info(experiment_id: Id) -> requests.Response:
    """Everything about an experiment: model, status, progress, means."""
    return _request("GET", f"/experiments/{experiment_id}")


def experiments_status(experiment_id: Id) -> str:
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    return str(_request("GET", f"/health/jobs/{experiment_id}").json()["status"])


def show_experiment_statuses(experiment_ids: Iterable[Id]) -> bool:
    """Prints a line for each. True while one is still under way: poll until it is False."""
    running = False
    for experiment_id in experiment_ids:
        status = experiments_status(experiment_id)
        running = running or status in ("PENDING", "RUNNING")
        print(f"{experiment_id}: {status}")
    return running


def experiments_result_download(experiment_id: Id) -> Result:
    """The result document: predictions, examples, ground truth and every metric's values in the dataset's order."""
    result: Result = _download(_request("GET", f"/experiments/{experiment_id}/result/download")).json()
    return result


def compare(experiment_ids: Iterable[Id]) -> dict[str, Any]:
    """The server's comparison: means with 95% intervals, paired tests, wins, best and worst samples."""
    comparison: dict[str, Any] = _request("GET", "/experiments/compare", params={"ids": ",".join(map(str, experiment_ids))}).json()
    return comparison


# -- results --


def get_nested_value(result: Result, path: str, default: Any = None) -> Any:
    """What stands at a path such as "bertscore/precision_mean"; `default` where the path leads nowhere."""
    value: Any = result
    for key in path.split("/"):
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value


def eval_results_to_table(eval_results: Sequence[Result]) -> pd.DataFrame:
    """A row for each result; a column for each mean that at least one of them has."""
    rows = [{column: get_nested_value(result, path) for column, path in TABLE_COLUMNS.items()} for result in eval_results]
    table = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
    return table.dropna(axis="columns", how="all") if rows else table


def show_best_worst(results: Result | Sequence[Result], model: str | int, metric: str) -> pd.DataFrame:
    """Prints a model's best and its worst sample by a metric such as "bertscore/f1", and returns them as a table.

    `results`: one result or several, of which `model` names one, as sent, or says its place.
    """
    several = [results] if isinstance(results, dict) else list(results)
    chosen = several[model : model + 1] if isinstance(model, int) else [r for r in several if r.get("model") == model]
    if not chosen:
        raise ValueError(f"no result is of the model {model}; there are: {', '.join(str(r.get('model')) for r in several)}")
    result = chosen[0]
    values = get_nested_value(result, metric)
    if not isinstance(values, list):
        raise ValueError(f"the result has no values at {metric}")
    scored = [i for i, value in enumerate(values) if value is not None]
    if not scored:
        raise ValueError(f"no sample has a value of {metric}")
    places = {"best": max(scored, key=values.__getitem__), "worst": min(scored, key=values.__getitem__)}
    table = pd.DataFrame([{"": name, "sample": i, metric: values[i], "example": result["examples"][i], "ground_truth": result["ground_truth"][i],
                           "prediction": result["predictions"][i]} for name, i in places.items()]).set_index("")
    for name, row in table.iterrows():
        print(f"{name}: {metric} {row[metric]:.4f} (sample {row['sample']})\n  prediction:   {row['prediction']}\n  ground truth: {row['ground_truth']}")
    return table
