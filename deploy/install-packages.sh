#!/usr/bin/env bash
# Installs the Debian packages of the named groups from packages.txt; does nothing when all are there already.
# Usage: install-packages.sh build run test
set -euo pipefail
list="$(cd "$(dirname "$0")" && pwd)/packages.txt"
groups=${*:?usage: install-packages.sh GROUP...}
missing=()
for group in $groups; do
    for package in $(awk -v g="$group" '$1 == g { print $2 }' "$list"); do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
done
[ ${#missing[@]} -eq 0 ] && exit 0
sudo=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "these packages are missing and only root can install them: ${missing[*]}" >&2; exit 1; }
    sudo=sudo
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# Debian starts a system-wide Postgres on installation; a Lumigrid cluster has its own, so that is left out this once.
settings=/etc/postgresql-common/createcluster.conf
if [[ " ${missing[*]} " == *" postgresql "* ]] && [ ! -e "$settings" ]; then
    $sudo mkdir -p "${settings%/*}"
    echo "create_main_cluster = false" | $sudo tee "$settings" >/dev/null
    trap '$sudo rm -f "$settings"' EXIT
fi
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
