#!/usr/bin/env bash
# A worker is well when it has a connection to a coordinator: state 01 is ESTABLISHED. It listens nowhere, so nothing can be asked.
exec grep -qsE '^ *[0-9]+: [0-9A-F:]+ [0-9A-F:]+ 01 ' /proc/net/tcp /proc/net/tcp6
