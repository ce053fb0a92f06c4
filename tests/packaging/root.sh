#!/usr/bin/env bash
# A bare Debian 12 in a folder, to prove that what the scripts install is all that they need. Needs root and debootstrap.
#   root.sh make DIR                makes it, with git and ca-certificates and nothing else; nothing is done when it is there
#   root.sh copy DIR NEW            a second one from it, in seconds
#   root.sh run DIR COMMAND…        runs a command in it, in mount and process namespaces of its own: when the command ends, so
#                                   does everything that it started, and no mount is left
#   root.sh boot DIR COMMAND…       the same under systemd, without a network but loopback; DIR must have the package systemd
#
# LUMIGRID_DEBIAN_MIRROR names a mirror (debootstrap's own choice). What a site adds to reach its registries (apt and pip
# settings, certificates) lies below the folder LUMIGRID_ROOT_SITE as it shall lie in the root, and is copied into a new one.
set -euo pipefail
usage() { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
command=$1 dir=$(realpath -m "$2")
shift 2
[ "$(id -u)" -eq 0 ] || { echo "root.sh: only root can make or enter a root" >&2; exit 1; }

in_namespaces() { # DIR COMMAND…
    unshare --mount --pid --ipc --fork --kill-child --propagation private bash -euc '
        root=$1
        shift
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        mount -t tmpfs -o mode=755 tmpfs "$root/run"
        cp -L /etc/resolv.conf "$root/etc/resolv.conf"
        exec chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
            TERM="${TERM:-dumb}" "$@"' bash "$@"
}

# systemd as process 1 runs the command once everything is started, then turns itself off. Device nodes cannot be made in such a
# namespace, so services do without PrivateDevices.
boot_in_namespaces() { # DIR COMMAND…
    local root=$1 system=$1/run-once
    shift
    mkdir -p "$system" "$root/etc/systemd/system.control/multi-user.target.wants" "$root/etc/systemd/system/service.d"
    printf '%q ' "$@" >"$system/command"
    cat >"$root/etc/systemd/system.control/run-once.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
Environment=HOME=/root LANG=C.UTF-8
ExecStart=/bin/bash -c 'bash /run-once/command >/run-once/output 2>&1; echo $? >/run-once/status; systemctl poweroff --force --force'
UNIT
    ln -sf ../run-once.service "$root/etc/systemd/system.control/multi-user.target.wants/run-once.service"
    printf '[Service]\nPrivateDevices=no\n' >"$root/etc/systemd/system/service.d/no-devices.conf"
    rm -f "$system/output" "$system/status"
    timeout 600 unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child --propagation private bash -euc '
        root=$1
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount -t sysfs sysfs "$root/sys"
        mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
        mount -t cgroup2 none "$root/sys/fs/cgroup"
        mount -t tmpfs -o mode=755 tmpfs "$root/run"
        mount -t tmpfs -o mode=755 tmpfs "$root/dev"
        for device in null zero full random urandom tty; do cp -a "/dev/$device" "$root/dev/"; done
        mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/host"
        mount -t devpts devpts "$root/dev/pts"
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        ip link set lo up
        cd "$root"
        mkdir -p .outside
        pivot_root . .outside
        umount -l /.outside
        exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd' bash "$root" >"$system/console" 2>&1 || true
    rm -rf "$root/etc/systemd/system.control" "$root/etc/systemd/system/service.d"
    cat "$system/output"
    return "$(cat "$system/status")"
}

case $command in
make)
    [ -e "$dir/etc/debian_version" ] && exit 0
    command -v debootstrap >/dev/null || { echo "root.sh: debootstrap is missing; install it with apt-get" >&2; exit 1; }
    rm -rf "$dir.part"
    mkdir -p "$(dirname "$dir")"
    debootstrap --variant=minbase --include=git,ca-certificates bookworm "$dir.part" \
        ${LUMIGRID_DEBIAN_MIRROR:+"$LUMIGRID_DEBIAN_MIRROR"} >"$dir.log" 2>&1 || { tail -n 20 "$dir.log" >&2; exit 1; }
    rm -rf "$dir.part"/var/cache/apt/archives/*.deb
    if [ -n "${LUMIGRID_ROOT_SITE:-}" ]; then
        cp -a "$LUMIGRID_ROOT_SITE/." "$dir.part/"
        in_namespaces "$dir.part" update-ca-certificates >>"$dir.log" 2>&1
    fi
    mv "$dir.part" "$dir"
    ;;
copy)
    new=$(realpath -m "${1:?usage: root.sh copy DIR NEW}")
    rm -rf "$new"
    mkdir -p "$(dirname "$new")"
    cp -a --reflink=auto "$dir" "$new"
    ;;
run)
    [ $# -ge 1 ] || usage
    [ -e "$dir/etc/debian_version" ] || { echo "root.sh: there is no root in $dir; make it first" >&2; exit 1; }
    in_namespaces "$dir" "$@"
    ;;
boot)
    [ $# -ge 1 ] || usage
    [ -e "$dir/lib/systemd/systemd" ] || { echo "root.sh: there is no systemd in $dir" >&2; exit 1; }
    boot_in_namespaces "$dir" "$@"
    ;;
*) usage ;;
esac
