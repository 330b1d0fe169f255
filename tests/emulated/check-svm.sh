#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# hvtimer on an AMD processor with SVM and nested paging, emulated by QEMU, so that it can be run
# anywhere: in there svm-init.sh runs hvtimerd, and Linux in guests of an ordinary QEMU with KVM
# (svm-guest.c). What it has written is judged here. Status: 0 right, 1 wrong, 77 can't be run.
#
#     HVTIMER_BUILDDIR=DIR tests/emulated/check-svm.sh
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${HVTIMER_BUILDDIR-.}" && pwd)
# shellcheck source=tests/emulated/emulated.sh
. "$here/emulated.sh"

# Four times what it takes.
time_limit_s=240
# The emulator's clocks come and go in steps of a few ms; and on a busy machine any thread of it, or
# in it, may stand still for a while.
tolerance=5 # percent
stall_us=300000

# 0xf5 belongs to no device and to nothing of Linux 6.1 (arch/x86/include/asm/irq_vectors.h); its
# handler of spurious interrupts says EOI and counts them (SPU in /proc/interrupts).
vector=0xf5
period_us=10000
warm_up=100 # ticks before the guest's rate is measured
window_s=2  # how long it is measured

failures=0

# ---- the machine ----

build_guest()
{
    initramfs_begin "$work/guest-root"
    initramfs_file "$build/tests/emulated/svm-guest" /init
    initramfs_end "$work/guest.initramfs"
}

build_machine()
{
    local file

    initramfs_begin "$work/root"
    initramfs_file "$here/svm-init.sh" /init
    chmod 755 "$work/root/init"
    initramfs_program "$build/daemon/hvtimerd"
    initramfs_program "$build/hvapi/hvtimerctl"
    initramfs_program "$build/daemon/attach/hvtimer-attach"
    initramfs_file "$build/tests/emulated/svm-guest" /bin/svm-guest
    initramfs_program dbus-daemon
    initramfs_program qemu-system-x86_64
    for file in seabios/bios-256k.bin qemu/linuxboot_dma.bin; do
        initramfs_file "/usr/share/$file" "/usr/share/qemu/${file#*/}"
    done
    initramfs_file "$KERNEL_IMAGE" /guest/kernel
    initramfs_file "$work/guest.initramfs" /guest/initramfs
    initramfs_modules kvm_amd
    initramfs_end "$work/initramfs"
}

# It ends with this script, however that ends.
run_machine()
{
    local parameters="console=ttyS0,115200 quiet mitigations=off panic=-1 cryptomgr.notests"

    # What Linux does not know becomes its first process's environment.
    parameters+=" vector=$vector period_us=$period_us warm_up=$warm_up window_s=$window_s"

    setpriv --pdeathsig TERM timeout --kill-after=1 "$time_limit_s" \
        setpriv --pdeathsig KILL qemu-system-x86_64 \
        -accel tcg,thread=multi -cpu max,+svm -smp 4 -m 1024 \
        -nodefaults -no-user-config -no-reboot -display none -vga none \
        -kernel "$KERNEL_IMAGE" -initrd "$work/initramfs" \
        -append "$parameters" \
        -serial "file:$work/console" -serial "file:$work/results" \
        </dev/null >"$work/qemu.log" 2>&1 &
    machine=$!
    wait "$machine" || fail "machine" "it has ended with status $? (124: after $time_limit_s s)"
    machine=
}

clean_up()
{
    [[ -z ${machine-} ]] || kill "$machine" 2>/dev/null || true
    rm -rf "$work"
}

# ---- what it has written ----

declare -A seen # "KIND STEP GUEST MOMENT KEY", of which "here" is of every reading

# fail STEP WHAT
fail()
{
    echo "check-svm: FAIL $1: $2"
    failures=$((failures + 1))
}

read_results()
{
    local kind step guest moment words word ended=0

    while read -r _ kind step guest moment words; do
        case $kind in
            error) fail "$step" "$guest $moment $words" ;;
            end) ended=1 ;;
            *)
                for word in here=1 $words; do
                    seen["$kind $step $guest $moment ${word%%=*}"]=${word#*=}
                done
                ;;
        esac
    done < <(tr -d '\r' <"$work/results" | grep '^check-svm: ')
    ((ended)) || fail "machine" "it has not come to its end"
}

# What judge() judges: a step of a guest.
text() # KIND MOMENT KEY
{
    echo "${seen[$1 $step $guest $2 $3]-}"
}

number() # KIND MOMENT KEY
{
    local value

    value=$(text "$@")
    echo "${value%%.*}"
}

grown() # KIND FROM TO KEY
{
    echo $(($(number "$1" "$3" "$4") - $(number "$1" "$2" "$4")))
}

is() # WHAT ACTUAL EXPECTED
{
    [[ $2 == "$3" ]] || fail "$step $guest" "$1 is '$2', not '$3'"
}

within() # WHAT ACTUAL LEAST MOST
{
    (($2 >= $3 && $2 <= $4)) || fail "$step $guest" "$1: $2, not $3 to $4"
}

# Between two readings, in us; each was made at some time between "asked" and "heard".
least_time() # KIND FROM TO
{
    echo $((($(number "$1" "$3" asked) - $(number "$1" "$2" heard)) * (100 - tolerance) / 100))
}

most_time() # KIND FROM TO
{
    echo $((($(number "$1" "$3" heard) - $(number "$1" "$2" asked)) * (100 + tolerance) / 100))
}

# judge STEP GUEST FUNCTION READING...: a reading is "KIND MOMENT", and all of them are needed.
judge()
{
    local step=$1 guest=$2 judged=$3 before=$failures reading

    shift 3
    for reading; do
        [[ -n ${seen[${reading% *} $step $guest ${reading#* } here]-} ]] || break
        reading=
    done
    [[ -z $reading ]] || fail "$step $guest" "it has not come to its '$reading'"
    ((failures > before)) || "$judged"
    ((failures > before)) || echo "check-svm: PASS $step $guest: $figures"
}

# ---- what is right ----

attached()
{
    is "the state" "$(text status now state)" running
    is "the process" "$(text status now pid)" "$(text expect now pid)"
    is "the injector" "$(text status now injector)" none
    figures="process $(text status now pid)"
}

# Every tick that was due is acknowledged, skipped, in flight or missing: at every moment.
consistent() # MOMENT...
{
    local moment

    for moment; do
        is "the sum of $moment's ticks" "$(number status "$moment" due)" \
            $(($(number status "$moment" acknowledged) + $(number status "$moment" in_flight) +
                $(number status "$moment" backlog) + $(number status "$moment" skipped)))
    done
}

# Linux is well, and its clock went as fast as the machine's.
well() # FROM TO
{
    is "the number of Linux's complaints" "$(number health "$2" bad)" 0
    within "us that passed by the guest's clock" "$(grown report "$1" "$2" realtime)" \
        "$(least_time report "$1" "$2")" "$(most_time report "$1" "$2")"
}

ticked()
{
    local due acknowledged counted window_us rate least most

    due=$(grown status before running due)
    acknowledged=$(grown status before disabled acknowledged)
    counted=$(grown report before disabled spu)
    window_us=$(grown report begin end realtime)
    rate=$(($(grown report begin end spu) * 1000000 / window_us))
    least=$((warm_up + ($(number status running asked) - $(number report begin heard) - stall_us) *
        (100 - tolerance) / 100 / period_us))
    most=$((($(number status running heard) - $(number report before heard)) *
        (100 + tolerance) / 100 / period_us))
    consistent before running disabled
    is "the accounting" "$(text status running accounting)" closed-loop
    is "the period" "$(text status running emulated_timer_period)" $((period_us * 10))
    within "ticks due, of those that the time says," "$due" "$least" "$most"
    within "ticks acknowledged of those due" "$(grown status before running acknowledged)" \
        $((due * (100 - tolerance) / 100)) "$due"
    is "the number of ticks skipped" "$(grown status before running skipped)" 0
    within "ticks counted by the guest in $window_us us" "$(grown report begin end spu)" \
        $(((window_us - stall_us) * (100 - tolerance) / 100 / period_us)) \
        $(((window_us + stall_us) * (100 + tolerance) / 100 / period_us))
    within "ticks counted by the guest" "$counted" $((acknowledged - 1)) $((acknowledged + 1))
    is "the number of ticks after the end" "$(grown report disabled after spu)" 0
    is "the injector, disabled," "$(text status disabled injector)" none
    well before after
    figures="by $(text status running injector) ($(text status running base_timer)):"
    figures+=" $due due, $(grown status before running acknowledged) acknowledged, $rate Hz;"
    figures+=" late p50 $(number status running p50), p99 $(number status running p99) us;"
    figures+=" VM stopped for $(number status running attach_stall_us) us;"
    figures+=" in all $acknowledged acknowledged, $counted counted by the guest,"
    figures+=" $(grown status before disabled injected) raised by hvtimerd,"
    figures+=" $(grown status before disabled skipped) skipped at the end"
}

by_pin()
{
    is "the injector" "$(text status running injector)" pin
    is "the base timer" "$(text status running base_timer)" daemon
    ticked
}

# Linux goes on with its own timer meanwhile.
by_pin_beside_lapic()
{
    within "interrupts of the guest's own timer" "$(grown report begin end loc)" 1 1000000
    by_pin
}

# Bits of the LVT timer's entry (AMD64 Architecture Programmer's Manual, volume 2, 16.4.1).
lvtt_masked=0x10000
lvtt_periodic=0x20000

by_lapic()
{
    local register

    is "the injector" "$(text status running injector)" lapic
    # SVM has no preemption timer.
    is "the base timer" "$(text status running base_timer)" hrtimer
    register=$(text lvtt running is)
    is "the timer's entry" "$((register & (lvtt_masked | lvtt_periodic | 0xff)))" \
        $((lvtt_periodic | vector))
    register=$(text lvtt disabled is)
    is "the timer's entry, masked after the end" $((register & lvtt_masked)) $((lvtt_masked))
    # What the timer itself does not raise is made up for: the emulator loses ticks (a quarter of
    # them on a busy machine), but a timer at a wrong rate, or none, would leave half of them.
    within "ticks raised by hvtimerd" "$(grown status before running injected)" 0 \
        $(($(grown status before running acknowledged) * 2 / 5))
    ticked
}

observed()
{
    local acknowledged

    acknowledged=$(grown status before after acknowledged)
    is "the injector" "$(text status before injector)" rtc
    consistent before after
    # One may come between two readings, before the first and after the last.
    within "interrupts counted by the guest" "$(grown report before after irq8)" \
        $((acknowledged - 1)) $((acknowledged + 1))
    is "the number of interrupts raised" "$(grown status before after injected)" 0
    well before after
    figures="$(grown status before after due) due, $acknowledged acknowledged,"
    figures+=" $(grown report before after irq8) counted by the guest"
}

at_rate()
{
    local due hz=${step#rtc-}

    due=$(grown status begin end due)
    is "the period" "$(text status begin emulated_timer_period)" $((10000000 / hz))
    is "what it is known from" "$(text status begin learned)" trace
    is "the base timer" "$(text status begin base_timer)" qemu-rtc
    consistent begin end
    within "ticks due" "$due" $((($(least_time status begin end) - stall_us) * hz / 1000000 - 1)) \
        $((($(most_time status begin end) + stall_us) * hz / 1000000 + 1))
    # Where the emulated machine's QEMU is too slow for its RTC, ticks of it really are lost. That
    # what is acknowledged is what the guest has taken is for observed() to see.
    within "ticks acknowledged" "$(grown status begin end acknowledged)" $((due / 2)) $((due + 1))
    figures="$hz Hz: $due due, $(grown status begin end acknowledged) acknowledged"
}

lived()
{
    well begin end
    figures="$(grown report begin end realtime) us, not one complaint of Linux"
}

stopped()
{
    is "hvtimerd's status" "$(text expect now status)" 0
    figures="with status 0"
}

judge_all()
{
    local ticking=("status before" "report before" "report begin" "report end" "status running"
        "status disabled" "report disabled" "report after" "health after")

    judge attach a attached "expect now" "status now"
    judge attach b attached "expect now" "status now"
    judge pin a by_pin "${ticking[@]}"
    judge lapic b by_lapic "${ticking[@]}" "lvtt running" "lvtt disabled"
    judge auto a by_pin_beside_lapic "${ticking[@]}"
    judge rtc-32 a at_rate "status begin" "status end"
    judge rtc-64 a at_rate "status begin" "status end"
    judge rtc a observed "report before" "status before" "status after" "report after" \
        "health after"
    judge boot a lived "report begin" "report end" "health end"
    judge boot b lived "report begin" "report end" "health end"
    judge stop hvtimerd stopped "expect now"
}

emulated_need binutils cpio dbus-daemon qemu-system-x86 seabios util-linux
work=$(mktemp -d)
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
emulated_kernel "$build/tests/emulated"
build_guest
build_machine
run_machine
read_results
judge_all
log=$build/tests/emulated/check-svm.log
cat "$work/results" "$work/console" "$work/qemu.log" >"$log"
if ((failures > 0)); then
    cat "$log"
    echo "check-svm: FAIL: $failures times, after $SECONDS s"
    exit 1
fi
echo "check-svm: PASS after $SECONDS s"
