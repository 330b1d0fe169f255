#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# `make install DESTDIR=...`: it installs the files of installed.list and no other, to where configure was
# told; what is there runs; and `make uninstall` takes all of it away. TAP.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=${HVTIMER_BUILDDIR:-.}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
trap 'exit 1' INT TERM HUP
# It may be run by make, whose flags and jobs are not for this one.
unset MAKEFLAGS MFLAGS MAKELEVEL

tests=0

# test_that NAME COMMAND...
test_that()
{
    local name=$1 result=ok

    shift
    tests=$((tests + 1))
    "$@" >"$stage.log" 2>&1 || result="not ok"
    echo "$result $tests - $name"
    [[ $result == ok ]] || tail -n 40 "$stage.log" | sed 's/^/# /'
    rm -f "$stage.log"
}

# Where configure was told that something is to be.
directory()
{
    # shellcheck disable=SC2016 # make's own variables
    make -s -C "$build" --eval='print-%: ; @echo $($*)' "print-$1"
}

expected()
{
    local line name

    while read -r line; do
        name=${line#@}
        name=${name%%@*}
        echo "$(directory "$name")${line#@*@}"
    done <"$here/installed.list" | LC_ALL=C sort
}

staged()
{
    find "$stage" ! -type d -printf '/%P\n' | LC_ALL=C sort
}

all_and_only()
{
    diff <(expected) <(staged)
}

# Nothing that more than its owner may write, and nothing that gives its rights away.
modes()
{
    local odd

    odd=$(find "$stage" ! -type l -perm /7022 ! -type d)
    [[ -z $odd ]] || { echo "$odd"; return 1; }
}

says_its_version()
{
    local version

    version=$("$@" --version)
    echo "$version"
    [[ $version == *"$(directory PACKAGE_VERSION)"* ]]
}

# says FILE WHAT: and nothing in it was forgotten to be replaced.
says()
{
    local file=$stage$1

    shift
    grep -qF -- "$1" "$file" || { echo "$file does not say $1"; return 1; }
    ! grep -nE '@[a-z]+@' "$file"
}

bin=$(directory bindir)
sbin=$(directory sbindir)
libexec=$(directory libexecdir)
units=$(directory systemdsystemunitdir)

test_that "make install" make -C "$build" install DESTDIR="$stage"
test_that "all of its files, and no other, are there" all_and_only
test_that "their modes are right" modes
test_that "hvtimerctl runs" says_its_version "$stage$bin/hvtimerctl"
test_that "hvtimerd runs" says_its_version "$stage$sbin/hvtimerd"
test_that "hvtimerd understands its configuration" "$stage$sbin/hvtimerd" --check-config \
    --config "$stage$(directory sysconfdir)/hvtimer/hvtimerd.json"
test_that "hvtimerd.service starts it" says "$units/hvtimerd.service" "ExecStart=$sbin/hvtimerd"
test_that "hvtimer-attach@.service starts the helper" says "$units/hvtimer-attach@.service" \
    "ExecStart=$libexec/hvtimer-attach"
test_that "the socket is in the run directory" says "$units/hvtimer-attach.socket" \
    "=$(directory runstatedir)/hvtimer-attach.sock"
test_that "hvapi.pc says where the library is" says "$(directory libdir)/pkgconfig/hvapi.pc" \
    "$(directory prefix)"
test_that "make uninstall" make -C "$build" uninstall DESTDIR="$stage"
test_that "nothing is left" test -z "$(staged)"
echo "1..$tests"
