#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# All benchmarks, one after the other, with the same options:
#
#     bench.sh PROGRAM ... [--OPTION ...]
#
# Every one runs, though one before it missed a bar; the exit status says whether any did.
set -uo pipefail

programs=() options=() missed=()
for argument; do
    case $argument in
    --*) options+=("$argument") ;;
    *) programs+=("$argument") ;;
    esac
done
for program in "${programs[@]}"; do
    "$program" "${options[@]}" || missed+=("${program##*/}")
done
((${#missed[@]} == 0)) || { echo "bench: bars were missed, or it could not run: ${missed[*]}" && exit 1; }
