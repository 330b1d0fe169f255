#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# From the packages to a machine that works: builds the Debian packages from what `make dist` packs,
# installs them by apt in a new Debian beside libvirt and QEMU, boots that on an emulated processor with
# AMD's SVM, and has it use hvtimer (machine.sh). TAP. Status: 0 right, 1 wrong, 77 can't be run.
#
#     HVTIMER_BUILDDIR=DIR HVTIMER_DIST=DIR/hvtimer-VERSION.tar.xz tests/install/check-install.sh
#         [--no-boot]    # which takes two minutes, instead of six
#
# The new Debian without the packages is kept in DIR/tests/install for the next time; `make distclean`
# removes it.
# shellcheck disable=SC2317 # step() calls them
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source_directory=$(cd "$here/../.." && pwd)
build=$(cd "${HVTIMER_BUILDDIR-.}" && pwd)
dist=$(realpath "${HVTIMER_DIST:?}")
# shellcheck source=tests/emulated/emulated.sh
. "$source_directory/tests/emulated/emulated.sh"

# What it takes, four times.
boot_limit_s=480

# What a user of Debian would install before hvtimer; the kernel and systemd, which make it a machine;
# what machine.sh looks with; and gcc for a program that is built with libhvapi-dev.
base_packages=(
    libvirt-daemon-system libvirt-clients qemu-system-x86 polkitd apparmor
    linux-image-cloud-amd64 systemd-sysv dbus kmod procps
    jq tmux man-db gcc libc6-dev pkgconf
)

tests=0 failures=0

# result NAME STATUS [LOG]
result()
{
    tests=$((tests + 1))
    if (($2 == 0)); then
        echo "ok $tests - $1"
        return
    fi
    failures=$((failures + 1))
    echo "not ok $tests - $1"
    [[ -z ${3-} ]] || tail -n 60 "$3" | sed 's/^/# /'
}

# look NAME FUNCTION: a test; its output is shown if it fails. It is a group of processes, which ends with
# this script.
look()
{
    local status=0 began=$SECONDS

    set -m
    (set -e; "$2") </dev/null >"$work/$2.log" 2>&1 &
    job=$!
    set +m
    wait "$job" || status=$?
    job=
    result "$1" "$status" "$work/$2.log"
    echo "# $((SECONDS - began)) s"
    return "$status"
}

# The same, of what all that follows stands on.
step()
{
    look "$@" || finish
}

finish()
{
    echo "1..$tests"
    echo "# check-install: $failures of $tests failed, after $SECONDS s"
    exit $((failures > 0))
}

# ---- the packages ----

build_packages()
{
    mkdir "$work/source"
    tar -xf "$dist" -C "$work/source" --strip-components=1
    cd "$work/source"
    # Its tests are run elsewhere.
    DEB_BUILD_OPTIONS="nocheck noautodbgsym parallel=$(nproc)" dpkg-buildpackage -us -uc -b
    mkdir "$work/packages"
    mv "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo "$work/packages"
}

look_at_packages()
{
    lintian --allow-root --fail-on error,warning "$work"/packages/*.changes
}

# ---- the new Debian ----

# Debian's own among the sources of packages of this machine; others have nothing for us.
debian_sources()
{
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format 'deb $(SITE) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' | sort -u
}

# With the lists of packages, so that apt can be used in there.
make_base()
{
    local codename
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mkdir -p "$(dirname "$base")"
    debian_sources >"$work/sources.list"
    [[ -s $work/sources.list ]] || { echo "apt-get indextargets knows no Debian"; return 1; }
    # How this machine gets to its mirror.
    apt-config dump --format '%F "%v";%n' Acquire >"$work/apt.conf"
    rm -f "$base" "$base.new"
    mmdebstrap --variant=minbase --include="$(IFS=,; echo "${base_packages[*]}")" \
        --aptopt="$work/apt.conf" --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt=force-unsafe-io --skip=cleanup/apt/lists \
        "$codename" - "$work/sources.list" >"$base.new.tar"
    mv "$base.new.tar" "$base"
}

in_root()
{
    # shellcheck disable=SC2016 # for the shell in there
    unshare --mount bash -euc '
        mount -t proc proc "$1/proc"
        mount --rbind /dev "$1/dev"
        root=$1; shift
        exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive "$@"' bash "$root" "$@"
}

unpack_base()
{
    mkdir "$root"
    tar -C "$root" -xf "$base"
    cp --dereference --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
    echo fresh >"$root/etc/hostname"
    # No service is started in there by the installation.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    mkdir "$root/packages"
    cp "$work"/packages/*.deb "$root/packages"
}

install_packages()
{
    in_root sh -c 'apt-get install -y -q /packages/*.deb' || {
        in_root apt-get update -q
        in_root sh -c 'apt-get install -y -q /packages/*.deb'
    }
    rm "$root/usr/sbin/policy-rc.d"
}

verify_units()
{
    in_root systemd-analyze verify --man=yes hvtimerd.service hvtimer-attach.socket \
        hvtimer-attach@1.service >"$work/units" 2>&1 || { cat "$work/units"; return 1; }
    # Of those that they depend on it may have something to say, too.
    ! grep hvtimer "$work/units"
}

check_libraries()
{
    cat >"$root/tmp/probe.c" <<'END'
#include <hvapi/hvapi.h>
#include <stdio.h>

int main(void)
{
    return puts(hvapi_status_name(HV_STATUS_SUCCESS)) < 0;
}
END
    # shellcheck disable=SC2016 # for the shell in there
    in_root sh -ec 'gcc -o /tmp/probe /tmp/probe.c $(pkg-config --cflags --libs hvapi)
        /tmp/probe; rm /tmp/probe /tmp/probe.c; hvtimerd --check-config; hvtimerctl --version'
}

# ---- the machine ----

# guest FILE FLAGS RTC_RATE: domain-guest.S with its options, struct domain_guest_options.
guest()
{
    cp "$work/guest" "$1"
    printf '%b' "\\x$2\\0\\0\\0\\0\\0\\0\\0\\x$3" |
        dd of="$1" bs=1 seek=$((0x1e0)) conv=notrunc status=none
}

make_disk()
{
    local clock=04 # DOMAIN_GUEST_CLOCK

    gcc -m32 -c -I"$source_directory" -o "$work/guest.o" \
        "$source_directory/tests/guest/domain-guest.S"
    objcopy -O binary -j .rodata.guest "$work/guest.o" "$work/guest"
    guest "$root/packages/guest.img" "$clock" 0a # 32768 >> 9: 64 Hz
    guest "$root/packages/other.img" 00 00
    install -m 755 "$here/machine.sh" "$root/packages/machine.sh"
    cat >"$root/etc/systemd/system/machine.service" <<'END'
[Unit]
Description=What check-install.sh has this machine do
After=multi-user.target

[Service]
# Not one of the jobs that it waits for.
Type=exec
ExecStart=/packages/machine.sh /packages
ExecStopPost=systemctl poweroff --no-block
StandardOutput=file:/dev/ttyS1
StandardError=inherit
END
    ln -s ../machine.service "$root/etc/systemd/system/multi-user.target.wants"
    # What takes long on an emulated processor: the index of manual pages, AppArmor's profiles made small
    # (for each domain anew), and apt's lists.
    rm -f "$root/var/lib/man-db/auto-update"
    echo 'Optimize=no-expr-simplify' >>"$root/etc/apparmor/parser.conf"
    rm -rf "$root"/var/lib/apt/lists/*
    # Nobody logs in; and there is no time for what goes by the calendar.
    ln -sf /dev/null "$root/etc/systemd/system/getty.target"
    ln -sf /dev/null "$root/etc/systemd/system/timers.target"
    ln -sf /dev/null "$root/etc/systemd/system/libvirt-guests.service"
    cp "$root"/boot/vmlinuz-* "$work/kernel"
    cp "$root"/boot/initrd.img-* "$work/initrd"
    truncate -s 3G "$work/disk"
    mke2fs -q -t ext4 -O ^has_journal -d "$root" "$work/disk"
    rm -rf "$root"
}

# It ends with this script, however that ends.
run_machine()
{
    local parameters="root=/dev/vda rw console=ttyS0,115200 quiet loglevel=4 panic=-1"

    # The emulated TSC is as good as this machine's, which Linux can't know; HPET is slow.
    parameters+=" mitigations=off cryptomgr.notests systemd.show_status=0 tsc=reliable"
    setpriv --pdeathsig TERM timeout --kill-after=1 "$boot_limit_s" \
        setpriv --pdeathsig KILL qemu-system-x86_64 \
        -accel tcg,thread=multi -cpu max,+svm -smp 2 -m 1536 \
        -nodefaults -no-user-config -no-reboot -display none -vga none \
        -kernel "$work/kernel" -initrd "$work/initrd" \
        -append "$parameters" \
        -drive "file=$work/disk,if=virtio,format=raw,cache=unsafe" -device virtio-rng-pci \
        -serial "file:$work/console" -serial "file:$work/results" \
        </dev/null &
    wait $! || {
        echo "it has ended with status $? (124: after $boot_limit_s s)"
        cat "$work/console"
        return 1
    }
}

# What the machine has tested, as tests of this one.
judge()
{
    local line plan=0 done=0

    while IFS= read -r line; do
        case $line in
            'ok '*) result "${line#* - }" 0 ;;
            'not ok '*) result "${line#* - }" 1 || true ;;
            1..*) plan=${line#1..} ;;
            '#'*) echo "$line" ;;
        esac
        [[ $line == 'ok '* || $line == 'not ok '* ]] && done=$((done + 1))
    done < <(tr -d '\r' <"$work/results")
    result "the machine has come to its end" $((plan == 0 || plan != done)) "$work/console"
}

clean_up()
{
    [[ -z ${job-} ]] || kill -- "-$job" 2>/dev/null || true
    rm -rf "$work"
}

((EUID == 0)) || emulated_skip "a new Debian is made, and used, as root"
emulated_need mmdebstrap debhelper dh-apparmor lintian dpkg-dev e2fsprogs binutils gcc util-linux \
    qemu-system-x86 seabios
work=$(mktemp -d)
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
root=$work/root
base=$build/tests/install/debian.tar

step "the packages are built" build_packages
look "lintian has neither errors nor warnings" look_at_packages || true
[[ -e $base ]] || step "a new Debian, with libvirt and QEMU" make_base
step "it is unpacked" unpack_base
step "apt installs the packages" install_packages
look "systemd-analyze verify" verify_units || true
look "the programs run, and one is built with libhvapi" check_libraries || true
[[ ${1-} != --no-boot ]] || finish
step "a disk is made of it" make_disk
look "it is booted" run_machine || true
judge
finish
