#!/usr/bin/env bash
# Inside a bare root, one step of a package's life: install (with a network), use and upgrade (under systemd), remove.
# Usage: packages_in_root.sh STEP PACKAGES SOURCE
set -euo pipefail
step=$1 packages=$2 source=$3
export DEBIAN_FRONTEND=noninteractive
fail() {
    echo "FAILED: $*"
    for log in /tmp/*.log; do [ ! -e "$log" ] || { echo "--- $log"; tail -n 20 "$log"; }; done
    [ ! -d /run/systemd/system ] || systemctl --no-pager --full status 'lumigrid-*' || true
    exit 1
}
wait_for() { # WHAT COMMAND…
    local what=$1
    shift
    for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    fail "waited in vain for $what"
}
worker_online() { lumigrid worker list | grep -q online; }

install() {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends systemd systemd-sysv postgresql "$packages"/*.deb >/tmp/apt.log 2>&1 || fail "apt-get install"
    getent passwd lumigrid lumigrid-worker >/dev/null || fail "the services' users are missing"
    [ "$(stat -c '%a %G' /etc/lumigrid/coordinator.conf)" = "640 lumigrid" ] || fail "everybody can read the coordinator's settings"
    local missing
    missing=$(ldd /usr/bin/lumigrid /usr/bin/lumigrid-coordinator /usr/bin/lumigrid-worker | grep 'not found' || true)
    [ -z "$missing" ] || fail "libraries are missing: $missing"
}

use() {
    systemctl is-active --quiet lumigrid-coordinator || fail "the coordinator does not wait for its database"
    setpriv --reuid=postgres --regid=postgres --init-groups createuser lumigrid
    setpriv --reuid=postgres --regid=postgres --init-groups createdb --owner lumigrid lumigrid
    wait_for "the coordinator" lumigrid experiment list
    cp /var/lib/lumigrid-coordinator/keys/coordinator.pub /etc/lumigrid/
    chmod 644 /etc/lumigrid/coordinator.pub
    cp -r "$source"/deploy/local/models/toy-* /srv/lumigrid/models/
    systemctl start lumigrid-worker
    wait_for "worker.key" test -e /var/lib/lumigrid-worker/worker.key
    lumigrid key admit this-machine /var/lib/lumigrid-worker/worker.key --keys /var/lib/lumigrid-coordinator/keys 2>/dev/null
    wait_for "the worker" worker_online
    local threads=$source/deploy/local/sample/threads.csv
    lumigrid experiment submit --dataset "$threads" --model file:///srv/lumigrid/models/toy-t5 --model file:///srv/lumigrid/models/toy-bart \
        --max-samples 8 --watch >/tmp/experiment.log 2>&1 || fail "the experiment"
    [ "$(lumigrid experiment list | grep -c succeeded)" = 2 ] || fail "not both models succeeded"
    ! lumigrid experiment submit --dataset "$threads" --model file:///etc --max-samples 1 --watch >/tmp/outside.log 2>&1 ||
        fail "a model outside /srv/lumigrid/models was opened"
    systemctl reload lumigrid-coordinator || fail "the coordinator cannot be reloaded"
}

upgrade() {
    wait_for "the cluster after a restart of the machine" worker_online
    echo "# changed by the admin" >>/etc/lumigrid/coordinator.conf
    local before package
    before=$(systemctl show -p MainPID lumigrid-coordinator)
    for package in "$packages"/*.deb; do
        dpkg-deb -R "$package" /tmp/unpacked
        sed -i 's/^Version: .*/&+1/' /tmp/unpacked/DEBIAN/control
        dpkg-deb -b /tmp/unpacked "/tmp/$(basename "$package" .deb)+1.deb" >/dev/null
        rm -rf /tmp/unpacked
    done
    apt-get install -y -qq --no-install-recommends /tmp/*+1.deb >/tmp/apt.log 2>&1 || fail "the upgrade"
    dpkg-query -W lumigrid-coordinator | grep -q '+1$' || fail "the upgrade changed nothing"
    [ "$(systemctl show -p MainPID lumigrid-coordinator)" != "$before" ] || fail "the old coordinator still runs"
    grep -q "changed by the admin" /etc/lumigrid/coordinator.conf || fail "the upgrade overwrote the admin's settings"
    wait_for "the worker to come back" worker_online
    [ "$(lumigrid experiment list | grep -c succeeded)" = 2 ] || fail "experiments are gone after the upgrade"
}

remove() {
    apt-get remove -y -qq lumigrid-cli lumigrid-coordinator lumigrid-worker >/tmp/apt.log 2>&1 || fail "removal"
    { [ -e /etc/lumigrid/coordinator.conf ] && [ -e /var/lib/lumigrid-coordinator/master.key ]; } || fail "removal took settings or keys along"
    [ ! -e /usr/bin/lumigrid-coordinator ] || fail "removal left a program"
    apt-get purge -y -qq lumigrid-cli lumigrid-coordinator lumigrid-worker >/tmp/apt.log 2>&1 || fail "purge"
    local left
    left=$(find / -xdev \( -path /proc -o -path /src -o -path /tmp -o -path /var/tmp -o -path /srv -o -path /run-once -o -path "$packages" \) -prune -o -name '*lumigrid*' -print)
    # What the admin put there stays: coordinator.pub.
    [ "$left" = /etc/lumigrid ] || fail "purging left: $left"
}

"$step"
echo "$step: done"
