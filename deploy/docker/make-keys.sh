#!/usr/bin/env bash
# Makes the keys of a cluster, once: the coordinator's pair and one pair that all workers share. What is there stays.
# Usage: make-keys.sh COORDINATOR_DIR WORKER_DIR
#   COORDINATOR_DIR  coordinator.key, coordinator.pub, workers/shared.pub      (option --keys of the coordinator)
#   WORKER_DIR       worker.key, coordinator.pub                               (options --key and --coordinator-key of workers)
set -euo pipefail
umask 077
coordinator=$1 worker=$2
mkdir -p "$coordinator/workers" "$worker"
make() { [ -e "$1" ] || lumigrid key generate "$1" >/dev/null; }
public() { grep '^public ' "$1"; }
make "$coordinator/coordinator.key"
make "$worker/worker.key"
public "$coordinator/coordinator.key" | tee "$coordinator/coordinator.pub" >"$worker/coordinator.pub"
public "$worker/worker.key" >"$coordinator/workers/shared.pub"
