#!/usr/bin/env bash
# A worker is well when it has a connection to a coordinator's port. It listens nowhere, so nothing can be asked; the kernel's table
# of connections has the port in hexadecimal and state 01 for ESTABLISHED.
address=${LUMIGRID_COORDINATOR:-tcp://127.0.0.1:8001}
port=$(printf '%04X' "${address##*:}")
exec grep -qsE "^ *[0-9]+: [0-9A-F:]+ [0-9A-F]+:$port 01 " /proc/net/tcp /proc/net/tcp6
