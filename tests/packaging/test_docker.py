"""deploy/docker without an engine: what the files promise. test_roots.py carries out the Dockerfile's steps."""
import pathlib
import re

import dockerfile
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy/docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
VERSION = re.search(r"project\(lumigrid VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]


def images():
    for path in ("Dockerfile", "Dockerfile.cuda"):
        for name, (base, instructions) in dockerfile.stages(DOCKER / path).items():
            if name != "build":
                yield pytest.param(base, instructions, id=name)


@pytest.mark.parametrize("base,instructions", images())
def test_image_runs_confined(base, instructions):
    words = dict(instructions)
    assert re.search(r":[^:]*\d", base) and "latest" not in base
    assert words["USER"] == "10001:10001" and "HEALTHCHECK" in words and words["ENTRYPOINT"].startswith("[")
    for word, text in instructions:
        for source in text.split()[:-1] if word == "COPY" else ():
            assert (ROOT / source).exists(), f"COPY {source}"


def test_cuda_image_takes_the_same_steps():
    plain, cuda = dockerfile.stages(DOCKER / "Dockerfile"), dockerfile.stages(DOCKER / "Dockerfile.cuda")
    changed = [(word, text.replace("package-cuda", "").replace("worker-cuda", "worker").rstrip()) for word, text in cuda["build"][1]]
    assert changed == plain["build"][1]
    same = ("COPY", "USER", "WORKDIR", "VOLUME", "HEALTHCHECK", "ENTRYPOINT")
    assert [i for i in cuda["worker-cuda"][1] if i[0] in same] == [i for i in plain["worker"][1] if i[0] in same]


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_service_is_confined(name):
    service = COMPOSE["services"][name]
    assert re.fullmatch(r"[a-z-]+:(\d[\w.-]*|\$\{LUMIGRID_VERSION:-" + re.escape(VERSION) + r"\})", service["image"])
    assert "no-new-privileges:true" in service["security_opt"] and not service.get("privileged")
    if name != "postgres":
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
    for port in service.get("ports", ()):
        assert "127.0.0.1" in port, "published beyond this host by default"


def test_workers_never_see_what_is_the_coordinators():
    of = lambda name: {str(v).split(":")[0] for v in COMPOSE["services"][name]["volumes"]}
    assert not of("worker") & {"coordinator", "coordinator-keys", "postgres"}
    assert not of("coordinator") & {"worker-keys"}
    assert "POSTGRES_PASSWORD" not in str(COMPOSE["services"]["worker"]) and "PGPASSWORD" not in str(COMPOSE["services"]["worker"])
    assert set(COMPOSE["volumes"]) == {"postgres", "coordinator", "coordinator-keys", "worker-keys", "models"}
