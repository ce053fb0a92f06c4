#!/usr/bin/env bash
# The whole of Lumigrid on this machine: installs what is needed, builds, starts a cluster, runs two models over the sample
# e-mail threads and compares them. The cluster is left running; the last lines say how to stop it.
#
# LUMIGRID_DATA names the cluster's folder, LUMIGRID_PORT its HTTP port (8000).
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$(pwd)
bash deploy/install-packages.sh build run

[ -e build/build.ninja ] || cmake --preset release >/dev/null
cmake --build build --target lumigrid lumigrid-coordinator lumigrid-worker | grep -vE '^\[|no work to do' || true
for program in coordinator/lumigrid coordinator/lumigrid-coordinator worker/lumigrid-worker; do
    [ -x "build/$program" ] || { echo "the build failed; see: cmake --build build" >&2; exit 1; }
done

port=${LUMIGRID_PORT:-8000}
lumigrid="$here/build/coordinator/lumigrid"
data=()
[ -z "${LUMIGRID_DATA:-}" ] || data=(--data "$LUMIGRID_DATA")
export LUMIGRID_SERVER="http://127.0.0.1:$port"

"$lumigrid" up --workers 2 --port "$port" "${data[@]}"
echo
dataset=$("$lumigrid" dataset upload deploy/local/sample/threads.csv)
echo "dataset       $dataset, deploy/local/sample/threads.csv"
ids=$(mktemp)
trap 'rm -f "$ids"' EXIT
"$lumigrid" experiment submit --dataset "$dataset" --name demo --watch \
    --model "file://$here/deploy/local/models/toy-bart" --model "file://$here/deploy/local/models/toy-t5" | tee "$ids"
first=$(head -n 1 "$ids")
echo
"$lumigrid" experiment best-worst "$first" --metric rouge/rouge1
echo
echo "The models are toys, trained for this demo; a real one is named so: --model hf://facebook/bart-large-cnn"
echo "page: $LUMIGRID_SERVER/    command line: $lumigrid --help"
echo "stop: $lumigrid down ${data[*]}"
