#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Do a guest's ticks really come from the VMX preemption timer, where the machine has it? Bochs
# emulates one that does: in it runs Debian's kernel, hvtimerd as built, and a KVM guest
# (vmx-init.sh); KVM's trace tells what ended its runs. The same once more with the timer turned
# off.
#
#   tests/emulated/check-vmx.sh [INJECTOR]
#
# from `make check-vmx`, which sets HVTIMER_BUILDDIR. Status 77: skipped, and why.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/emulated/emulated.sh
source "$here/emulated.sh"
# shellcheck source=tests/emulated/vmx-disk.sh
source "$here/vmx-disk.sh"

build=$(realpath "${HVTIMER_BUILDDIR:-.}")
injector=${1:-lapic}
# Several times what it takes. How fast or busy the real machine is makes no difference to the
# emulated one, whose time is counted in its own instructions.
time_limit_s=240
begin=$SECONDS
failures=0

work=$(mktemp -d)
machine=
clean_up()
{
    [[ -z $machine ]] || kill "$machine" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# ---- the machine ----

# hvtimerd is linked with libvirt and libxml2, which with all that those need are most of what
# there would be to load, and which it does not call without libvirt. In their place come libraries
# that have the names it wants; a call would end it.
make_stub()
{
    local program=$1 library=$2 path stub=$work/stub

    path=$(ldd "$program" | awk -v library="$library" '$1 == library { print $3 }')
    [[ -n $path ]] || return 0
    comm -12 <(names_of --undefined-only "$program") <(names_of --defined-only "$path") >"$stub"
    sed 's/@.*//; s/.*/.globl &\n&:/' "$stub" >"$stub.s"
    echo 'ud2' >>"$stub.s"
    awk -F @ '{ names[$2] = names[$2] $1 "; " }
        END { for (version in names) print version " { " names[version] "};" }' "$stub" >"$stub.map"
    ${CC:-gcc} -shared -nostdlib -Wl,-soname,"$library" -Wl,--version-script,"$stub.map" \
        -o "$work/stubs/$library" "$stub.s"
}

# The symbols of a shared object, each with its version.
names_of()
{
    nm -D "$@" | sed -n 's/.* \([^ @]*\)@@*\([^ @]*\)$/\1@\2/p' | sort -u
}

add_hvtimerd()
{
    local program=$build/daemon/hvtimerd library

    mkdir "$work/stubs"
    for library in libvirt.so.0 libvirt-qemu.so.0 libvirt-glib-1.0.so.0 libxml2.so.2; do
        make_stub "$program" "$library"
    done
    LD_LIBRARY_PATH=$work/stubs initramfs_program "$program"
}

make_initramfs()
{
    initramfs_begin "$work/root"
    initramfs_file "$here/vmx-init.sh" /init
    chmod 755 "$work/root/init"
    add_hvtimerd
    initramfs_program "$build/daemon/attach/hvtimer-attach"
    initramfs_program "$build/hvapi/hvtimerctl"
    initramfs_program "$build/tests/emulated/busy-vmm"
    initramfs_program "$build/tests/emulated/vmx-client"
    initramfs_program dbus-daemon /bin/dbus-daemon
    initramfs_modules kvm_intel
    echo 'root:x:0:0::/root:/bin/sh' >"$work/root/etc/passwd"
    echo 'root:x:0:' >"$work/root/etc/group"
    cat >"$work/root/etc/bus.conf" <<'END'
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=/run/bus</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
END
    echo '{"attach_helper": "/bin/hvtimer-attach", "state_directory": "/run/hvtimer"}' \
        >"$work/root/etc/hvtimerd.json"
    initramfs_end "$work/initramfs"
}

# What an emulated processor would spend seconds on, for nothing that is needed here.
no_initcalls=(
    trace_eval_init ftrace_check_for_weak_functions
    # the kernel's type information, as soon as one of these asks for it
    cubictcp_register bpf_rstat_kfunc_init kfunc_init bpf_tcp_ca_kfunc_init bpf_prog_test_run_init
    bpf_key_sig_kfuncs_init
)

make_disk()
{
    local line='console=ttyS0,115200 quiet panic=-1 preempt=full'

    make_initramfs
    line+=' mitigations=off cryptomgr.notests init_on_alloc=0'
    line+=" initcall_blacklist=$(IFS=,; echo "${no_initcalls[*]}") injector=$injector"
    make_boot_disk "$work/disk" "$build/tests/emulated/vmx-boot.bin" "$KERNEL_IMAGE" \
        "$work/initramfs" "$line"
}

# A processor that has the preemption timer: with more than 429 million instructions a second Bochs
# turns it off; with half of ours, the guest gets too little of it to have each tick in time.
write_bochsrc()
{
    cat >"$work/bochsrc" <<END
megs: 512
cpu: model=corei7_haswell_4770, count=1, ips=200000000, ignore_bad_msrs=1
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
display_library: rfb, options="timeout=0"
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path="$work/disk", mode=flat, cylinders=0, heads=16, spt=32
boot: disk
com1: enabled=1, mode=file, dev="$work/serial"
clock: sync=none, time0=1700000000
log: $work/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
END
    echo c >"$work/commands" # to its debugger: go
}

# Bochs ends with status 1 however well all went: what counts is what the machine has written. What
# it makes of a network port, its display, is of no use to anybody else.
run_bochs()
{
    local own_network=(unshare -rn)

    write_bochsrc
    unshare -rn true 2>/dev/null || own_network=()
    setpriv --pdeathsig KILL timeout --kill-after=1 "$time_limit_s" \
        "${own_network[@]}" setpriv --pdeathsig KILL \
        bochs -q -f "$work/bochsrc" -rc "$work/commands" </dev/null &>"$work/bochs.out" &
    machine=$!
    wait "$machine" || true
    machine=
    touch "$work/serial"
}

# ---- what it tells ----

# Of the line "result KEY=VALUE ...".
declare -A result

fail()
{
    echo "check-vmx: wrong: $*"
    failures=$((failures + 1))
}

# judge WHAT CONDITION: an arithmetic one.
judge()
{
    (($2)) || fail "preemption_timer=${result[preemption_timer]}: $1"
}

# Two ticks may be on their way at the moment of counting.
judge_ticks()
{
    judge "${result[in_time]} ticks in ${result[ms]} ms" \
        'result[ms] >= 300 && result[in_time] * 100 >= result[ms] * 95 &&
            result[in_time] * 100 <= result[ms] * 105'
    judge "not all that the guest lost by a stop was made up" \
        'result[after_stop_acknowledged] >= result[after_stop_due] - 2 &&
            result[after_stop_acknowledged] <= result[after_stop_due]'
    judge "the guest's count is not what was acknowledged" \
        'result[counted] >= result[acknowledged] - 2 && result[counted] <= result[acknowledged] + 2'
    judge "nothing was made up, though the guest had been stopped" 'result[injected] > 0'
    judge "the figures don't add up" \
        'result[due] == result[acknowledged] + result[in_flight] + result[backlog] +
            result[skipped]'
    judge "${result[afterwards]} ticks came after the timer was disabled" 'result[afterwards] == 0'
}

judge_timer()
{
    local wanted=hrtimer

    if ((result[preemption_timer])); then
        wanted=vmx-preemption-timer
        judge "not each tick was an exit of reason 52" \
            'result[exits] * 100 >= result[in_time] * 95'
        judge "KVM did not say that it uses the preemption timer" 'result[on] > 0'
    else
        judge "there were exits of reason 52" 'result[exits] == 0'
        judge "KVM said that it uses the preemption timer" 'result[on] == 0'
    fi
    [[ ${result[injector]} == lapic && ${result[base_timer]} == "$wanted" &&
        ${result[source]} == trace ]] ||
        fail "the status should say injector lapic, base_timer $wanted, known from trace"
}

print_result()
{
    echo "check-vmx: preemption_timer=${result[preemption_timer]}: ${result[counted]} ticks" \
        "counted by the guest at vector 0x50, acknowledged ${result[acknowledged]}," \
        "due ${result[due]};" \
        "after a stop: acknowledged ${result[after_stop_acknowledged]}," \
        "due ${result[after_stop_due]};" \
        "while nothing else ran: ${result[in_time]} ticks in ${result[ms]} ms, exits of" \
        "reason 52: ${result[exits]}, hv_timer 1: ${result[on]}, hv_timer 0: ${result[off]};" \
        "injector ${result[injector]}, base_timer ${result[base_timer]} (${result[source]})"
}

judge_all()
{
    local results=0 pairs pair

    while read -r _ pairs; do
        results=$((results + 1))
        result=()
        for pair in $pairs; do
            result[${pair%%=*}]=${pair#*=}
        done
        print_result
        judge_ticks
        judge_timer
    done < <(tr -d '\r' <"$work/serial" | grep '^result ')
    if ((results != 2)) || ! grep -q '\] done' "$work/serial"; then
        fail "the machine did not get through all of it in $time_limit_s s"
    fi
}

# Bochs must have a display, of which this is the smallest; it is not used.
emulated_need bochs bochs-term bochsbios vgabios binutils dbus-daemon util-linux
emulated_kernel "$build/tests/emulated"
make_disk
run_bochs
cp "$work/serial" "$build/tests/emulated/check-vmx.log"
judge_all
if ((failures)); then
    sed 's/^/    /' "$work/serial"
    [[ -s $work/serial ]] || sed 's/^/    bochs: /' "$work/bochs.out" "$work/bochs.log"
    echo "FAIL: check-vmx, $failures wrong, in $((SECONDS - begin)) s"
    exit 1
fi
echo "PASS: check-vmx in $((SECONDS - begin)) s"
