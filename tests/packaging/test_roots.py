"""The install lists, proven in a bare Debian: packages are built there and, in another one, installed, used, upgraded, removed.

Roots need root, debootstrap and a Debian mirror, and take minutes, so they are made only when LUMIGRID_TEST_ROOTS names a folder
for them (kept from run to run; see root.sh for how a site adds its own settings).
"""
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = pathlib.Path(__file__).parent / "root.sh"
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
    said = root("run", there, "bash", "/src/tests/packaging/packages_in_root.sh", "/packages", "/src")
    assert said.rstrip().endswith("packages: all steps done"), said[-8000:]
