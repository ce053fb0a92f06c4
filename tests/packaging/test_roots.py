"""The install lists, proven in a bare Debian: packages are built there and, in another one, installed, used, upgraded, removed.

Roots need root, debootstrap and a Debian mirror, and take minutes, so they are made only when LUMIGRID_TEST_ROOTS names a folder
for them (kept from run to run; see root.sh for how a site adds its own settings).
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import dockerfile
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = pathlib.Path(__file__).parent / "root.sh"
sys.path.insert(0, str(ROOT / "tests/docs"))
import pages  # noqa: E402

ROOTS = os.environ.get("LUMIGRID_TEST_ROOTS")

pytestmark = [
    pytest.mark.skipif(not ROOTS, reason="LUMIGRID_TEST_ROOTS names no folder for Debian roots"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make Debian roots"),
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="debootstrap is not installed"),
]


def root(*arguments):
    done = subprocess.run(["bash", SCRIPT, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


@pytest.fixture(scope="module")
def bare():
    base = pathlib.Path(ROOTS) / "bare"
    root("make", base)
    return base


def copy(bare, name):
    """A fresh root with this tree in /src: what git tracks, as it is now."""
    there = bare.parent / name
    root("copy", bare, there)
    (there / "src").mkdir()
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    archive = subprocess.Popen(["tar", "--null", "-T", "-", "-c"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    unpack = subprocess.Popen(["tar", "-x", "-C", there / "src"], stdin=archive.stdout)
    archive.stdin.write(files)
    archive.stdin.close()
    assert unpack.wait() == 0 and archive.wait() == 0
    return there


@pytest.fixture(scope="module")
def packages(bare):
    there = copy(bare, "build")
    root("run", there, "bash", "/src/deploy/build-packages.sh", "/packages")
    built = sorted((there / "packages").glob("*.deb"))
    assert [p.name.split("_")[0] for p in built] == ["lumigrid-cli", "lumigrid-coordinator", "lumigrid-worker"]
    return built


def test_install_use_upgrade_remove(bare, packages):
    there = copy(bare, "install")
    (there / "packages").mkdir()
    for package in packages:
        shutil.copy(package, there / "packages")
    for how, step in (("run", "install"), ("boot", "use"), ("boot", "upgrade"), ("run", "remove")):
        said = root(how, there, "bash", "/src/tests/packaging/packages_in_root.sh", step, "/packages", "/src")
        assert said.rstrip().endswith(f"{step}: done"), said[-8000:]


@pytest.fixture(scope="module")
def images(bare):
    """The images of deploy/docker/Dockerfile, each as a root in which its steps were carried out."""
    context = copy(bare, "context") / "src"
    built = {}
    for name, (base, instructions) in dockerfile.stages(ROOT / "deploy/docker/Dockerfile").items():
        assert base == "debian:12-slim"
        there = bare.parent / f"image-{name}"
        root("copy", bare, there)
        built[name] = dockerfile.Stage(there, instructions, context, built)
    return built


def test_images_hold_what_their_programs_need(images):
    for name in ("coordinator", "worker"):
        missing = dockerfile.run(images[name].root, "sh", "-c", "ldd /usr/bin/lumigrid* | grep 'not found' || true")
        assert not missing.strip()
        assert not list((images[name].root / "usr/bin").glob("*gcc*")), "the image holds a compiler"


def test_images_run_as_an_ordinary_user_and_know_their_health(images):
    """A coordinator without a database is alive but not ready; a worker is well once it has a connection."""
    coordinator, worker = images["coordinator"], images["worker"]
    start = coordinator.command("--database", "host=/nowhere", "--keys", "/tmp/keys/coordinator")
    keys = "setpriv --reuid=10001 --regid=10001 --clear-groups bash /usr/local/lib/lumigrid/make-keys.sh /tmp/keys/coordinator /tmp/keys/worker"
    said = dockerfile.run(coordinator.root, "bash", "-c", f"""
        {keys} && {keys} || exit 1            # a second time changes nothing
        ! {coordinator.health} 2>/dev/null || exit 1
        {start} 2>/tmp/log & pid=$!
        for _ in $(seq 200); do {coordinator.health} 2>/dev/null && break; sleep 0.1; done
        {coordinator.health} || {{ cat /tmp/log; exit 1; }}
        curl -s -o /dev/null -w 'ready %{{http_code}}\\n' http://127.0.0.1:8000/readyz
        curl -s -o /dev/null -w 'without a token %{{http_code}}\\n' http://127.0.0.1:8000/api/v1/experiments/
        stat -c '%u %a %n' /var/lib/lumigrid/admin.token
        kill -TERM $pid; wait $pid; echo "ended $?" """)
    assert said.splitlines() == ["ready 503", "without a token 401", "10001 600 /var/lib/lumigrid/admin.token", "ended 0"], said
    start = worker.command("--coordinator", "tcp://127.0.0.1:8001", "--coordinator-key", "9" * 40)
    said = dockerfile.run(worker.root, "unshare", "--net", "bash", "-c", f"""
        ! {worker.health} || exit 1
        {start} 2>/tmp/log & pid=$!
        for _ in $(seq 200); do grep -q 'no connection' /tmp/log && break; sleep 0.1; done
        ! {worker.health} || exit 1
        stat -c '%u %a %n' /var/lib/lumigrid/worker.key
        kill -TERM $pid; wait $pid; echo "ended $?" """)
    assert said.splitlines() == ["10001 600 /var/lib/lumigrid/worker.key", "ended 0"], said


def test_the_installation_page_on_a_fresh_machine(bare):
    """docs/install.md, block by block. Packages are fetched first, since what runs under systemd here has no network."""
    there = copy(bare, "admin")
    steps = pages.blocks(ROOT / "docs/install.md", "sh root")
    wanted = " ".join(re.findall(r"apt-get install -y (.*)", "".join(steps)))
    # The first block makes the packages; the others find what apt-get would fetch in its cache.
    (there / "src/page").write_text("set -euxo pipefail\n" + "".join(steps[1:]))
    root("run", there, "bash", "-euc", f"cd /src; export DEBIAN_FRONTEND=noninteractive; {steps[0].strip()}; apt-get install -y -qq --no-install-recommends systemd systemd-sysv; "
         f"apt-get install -y -qq --download-only {wanted}")
    said = root("boot", there, "bash", "-c", "cd /src; export DEBIAN_FRONTEND=noninteractive; bash page && echo finished")
    assert said.rstrip().endswith("finished"), said[-8000:]
    assert "online" in said
