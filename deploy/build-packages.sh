#!/usr/bin/env bash
# Builds the Debian packages from this tree on a bare Debian 12: installs what building needs, builds, puts the .deb files in OUT.
# Usage: build-packages.sh OUT [PRESET]       PRESET package (the default), or package-cuda, which adds the module for NVIDIA GPUs and needs nvcc
# The images of deploy/docker are made by this same script.
set -euo pipefail
out=$(realpath -m "${1:?usage: build-packages.sh OUT [PRESET]}")
preset=${2:-package}
cd "$(dirname "$0")/.."
bash deploy/install-packages.sh build package
cmake --preset "$preset" >/dev/null
cmake --build "build-$preset" -- --quiet
mkdir -p "$out"
cpack --config "build-$preset/CPackConfig.cmake" -B "build-$preset/packages" >"build-$preset/cpack.log" 2>&1 ||
    { cat "build-$preset/cpack.log" >&2; exit 1; }
cp "build-$preset"/packages/*.deb "$out"
ls "$out"/*.deb
