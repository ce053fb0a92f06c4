#!/usr/bin/env bash
# Inside an image that is being built: installs one program's package with what it needs to run, and makes the user and the
# folders that it runs with.
# Usage: install.sh coordinator|worker|worker-cuda PACKAGES
set -euo pipefail
program=$1 packages=$2
export DEBIAN_FRONTEND=noninteractive
wanted=(ca-certificates systemd-standalone-sysusers "$packages"/lumigrid-"$program"_*.deb)
# The command line makes keys and administers; curl is the health check.
[ "$program" != worker-cuda ] || wanted+=("$packages"/lumigrid-worker_*.deb)
[ "$program" != coordinator ] || wanted+=(curl "$packages"/lumigrid-cli_*.deb)
groupadd --gid 10001 lumigrid
useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/lumigrid --shell /usr/sbin/nologin lumigrid
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${wanted[@]}"
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /etc/lumigrid
install -d -m 0700 -o lumigrid -g lumigrid /var/lib/lumigrid
[ "$program" = coordinator ] || install -d -o lumigrid -g lumigrid /var/cache/lumigrid
