"""A live cluster for the tests of this folder: a private Postgres, one coordinator and two workers, from the build in
LUMIGRID_BUILD. The cluster is shared; a test that breaks something starts its own."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
import cluster as clusters  # noqa: E402


@pytest.fixture(scope="session")
def cluster():
    shared = clusters.Cluster(workers=2)
    yield shared
    shared.close()


@pytest.fixture(scope="session")
def dataset(cluster):
    """The id of forty samples with ground truth."""
    return cluster.dataset(clusters.rows(40))


@pytest.fixture(scope="session")
def finished(cluster, dataset):
    """The id of an experiment that has succeeded."""
    id = cluster.submit(dataset, "sim://")
    assert cluster.wait_done(id)["status"] == "succeeded"
    return id
