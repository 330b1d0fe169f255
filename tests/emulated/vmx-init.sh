#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The first process of the machine that check-vmx.sh emulates: lets a leased local APIC timer tick
# in a guest that never halts, once with the VMX preemption timer and once without, counts, and
# switches the machine off. What check-vmx.sh judges are the lines "result KEY=VALUE ..."; "done"
# is the last one, if all went well. The environment has what check-vmx.sh has put into the
# kernel's command line.
set -eu

vector=0x50
injector=${injector:-lapic}
tracing=/sys/kernel/tracing
bus=unix:path=/run/bus
export HVTIMER_BUS_ADDRESS="$bus" GIO_MODULE_DIR=/nowhere
trap 'poweroff -f' EXIT

mount_all()
{
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev
    mount -t tracefs tracing $tracing
    mount -t debugfs debug /sys/kernel/debug
}

# The one processor goes round among those who want it within less than a tick, by a timer: else it
# does so by Linux's own ticks, of several ms, and the guest loses ticks to every command here.
share_processor()
{
    echo HRTICK >/sys/kernel/debug/sched/features
    echo 100000 >/sys/kernel/debug/sched/min_granularity_ns
    echo 200000 >/sys/kernel/debug/sched/latency_ns
}

say()
{
    read -r uptime _ </proc/uptime
    echo "[$uptime] $*"
}

# Until the command succeeds.
wait_for()
{
    tries=500
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || {
            say "waited in vain for: $*"
            return 1
        }
        sleep 0.02
    done
}

start_daemon()
{
    dbus-daemon --config-file=/etc/bus.conf --nofork --nopidfile &
    wait_for test -S /run/bus
    hvtimerd --config /etc/hvtimerd.json --bus "$bus" --libvirt none &
    wait_for hvtimerctl list
}

# Through these the VMM is asked for what its guest has counted, and hvtimerd for its figures: in
# the middle of it all nothing must start, which on this machine takes some ten ticks' time.
start_guest()
{
    mkfifo /run/guest-in /run/guest-out
    busy-vmm </run/guest-in >/run/guest-out &
    guest=$!
    exec 3>/run/guest-in 4</run/guest-out
    read -r answer <&4
    [ "$answer" = ready ]
}

start_client()
{
    mkfifo /run/client-in /run/client-out
    vmx-client guest </run/client-in >/run/client-out &
    client=$!
    exec 5>/run/client-in 6</run/client-out
    read -r answer <&6
    [ "$answer" = ready ]
}

end_both()
{
    exec 3>&- 4<&- 5>&- 6<&-
    wait "$client"
    wait "$guest"
    rm /run/guest-* /run/client-*
}

# Sets $counted, and the time of that, $us.
ask_guest()
{
    echo >&3
    read -r us counts <&4
    counted=0
    for count in $counts; do
        [ "${count%:*}" != "$vector" ] || counted=${count#*:}
    done
}

# Sets $ticks, which has all figures.
ask_hvtimerd()
{
    echo >&5
    read -r ticks <&6
    say "$ticks"
}

prepare_trace()
{
    echo 'hist:keys=exit_reason if exit_reason == 52' >$tracing/events/kvm/kvm_exit/trigger
    echo 'hist:keys=hv_timer_in_use' >$tracing/events/kvm/kvm_hv_timer_state/trigger
}

# How many events there were so far, by lines as "{ exit_reason: 52 } hitcount: 7".
read_trace()
{
    exits=0 on=0 off=0
    for event in kvm_exit kvm_hv_timer_state; do
        while read -r _ key value _ _ count; do
            case "$key $value" in
                'exit_reason: 52') exits=$count ;;
                'hv_timer_in_use: 1') on=$count ;;
                'hv_timer_in_use: 0') off=$count ;;
            esac
        done <$tracing/events/kvm/$event/hist
    done
}

# A value of the status, which is one line of JSON.
value()
{
    echo "$status" | sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p"
}

# For so many seconds: as sleep, but not a process. The guest says nothing unasked.
pause()
{
    # shellcheck disable=SC3045 # it is busybox's
    read -r -t "$1" _ <&4 || true
}

# First the guest has its ticks in time, which is traced. Then it is stopped for a moment, and what
# it has lost is made up. Then the timer is disabled.
run()
{
    start_guest
    hvtimerctl attach --pid "$guest" --name guest >/dev/null
    hvtimerctl enable guest --period 1ms --vector $vector --destination physical:0 \
        --injector "$injector"
    start_client
    status=$(hvtimerctl --json status guest)
    say "$status"
    result="preemption_timer=$preemption_timer injector=$(value injector)"
    result="$result base_timer=$(value base_timer) source=$(value base_timer_source)"
    pause 0.2

    read_trace
    ask_guest
    exits_0=$exits on_0=$on off_0=$off counted_0=$counted us_0=$us
    pause 0.3
    read_trace
    ask_guest
    result="$result in_time=$((counted - counted_0)) ms=$(((us - us_0 + 500) / 1000))"
    result="$result exits=$((exits - exits_0)) on=$((on - on_0)) off=$((off - off_0))"

    kill -STOP "$guest"
    pause 0.05
    kill -CONT "$guest"
    pause 0.2
    ask_hvtimerd
    for figure in $ticks; do
        result="$result after_stop_$figure"
    done

    hvtimerctl disable guest
    ask_hvtimerd
    ask_guest
    result="$result counted=$counted $ticks"
    counted_0=$counted
    pause 0.05
    ask_guest
    echo "result $result afterwards=$((counted - counted_0))"
    hvtimerctl detach guest
    end_both
}

mount_all
share_processor
say "booted"
modprobe kvm
prepare_trace
start_daemon
say "hvtimerd is on the bus"
for preemption_timer in 1 0; do
    modprobe kvm_intel preemption_timer=$preemption_timer
    run
    rmmod kvm_intel
done
say "done"
