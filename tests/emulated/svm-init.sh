#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=dash
#
# The first process of the machine that check-svm.sh emulates: it starts hvtimerd and two QEMU/KVM
# guests with Linux, has hvtimerctl act on them, and writes what it sees to its second serial port,
# lines "check-svm: KIND STEP GUEST MOMENT KEY=VALUE ...". What is right is for check-svm.sh to say.
set -eu
export PATH=/bin:/usr/bin
export HVTIMER_BUS_ADDRESS=unix:path=/run/bus

# Of the kernel's command line: of the ticks, and how many are waited for before they are measured.
: "${vector:?}" "${period_us:?}" "${warm_up:?}" "${window_s:?}"

patience_s=60 # what takes longer than that does not come any more
questions=0
kernel_parameters="console=ttyS0,115200 loglevel=5 mitigations=off panic=-1 cryptomgr.notests"

# ---- small things ----

tell()
{
    echo "check-svm: $*" | tee /dev/ttyS1
}

# Whatever happens, the logs are shown.
end()
{
    local log

    trap - EXIT
    for log in /run/*.log /run/*.console; do
        echo "---- $log"
        tail -n 60 "$log"
    done
    tell "end"
    sleep 1
    poweroff -f
}

# In whole seconds.
uptime_s()
{
    local up

    read -r up _ </proc/uptime
    echo "${up%.*}"
}

# await WHAT COMMAND...: until the command succeeds.
await()
{
    local what="$1" limit

    shift
    limit=$(($(uptime_s) + patience_s))
    until "$@"; do
        if [ "$(uptime_s)" -gt "$limit" ]; then
            tell "error waiting for $what: it has not come within $patience_s s"
            return 1
        fi
        sleep 0.1
    done
}

# ---- guests ----

# guest NAME PARAMETERS: an ordinary QEMU; its guest is asked by NAME.in, and answers in NAME.out.
#
# Two concessions to the emulator (QEMU 7.2): with xsave Linux warns of the sizes that it is told,
# and with vapic the guest's user space may not use ports, whatever ioperm(2) says.
guest()
{
    local name="$1" parameters="$2"

    mkfifo "/run/$name.in" "/run/$name.hmp.in" "/run/$name.hmp.out"
    qemu-system-x86_64 -L /usr/share/qemu -name "$name,debug-threads=on" \
        -accel kvm -cpu host,-xsave -m 192 -nodefaults -no-user-config -no-reboot \
        -machine pc,kernel_irqchip=on,hpet=off -global kvm-apic.vapic=off \
        -display none -vga none -kernel /guest/kernel -initrd /guest/initramfs \
        -append "$kernel_parameters $parameters" \
        -serial "file:/run/$name.console" -serial stdio \
        -chardev "pipe,id=hmp,path=/run/$name.hmp" -mon hmp \
        <"/run/$name.in" >"/run/$name.out" 2>"/run/$name.log" &
    echo $! >"/run/$name.pid"
    # So that QEMU does not see the end of its input after the first question.
    sleep 10000 >"/run/$name.in" &
    cat "/run/$name.hmp.out" >"/run/$name.hmp" &
}

answered()
{
    answer=$(grep "^$2.*\.$" "/run/$1.out" 2>/dev/null)
}

# ask NAME QUESTION: $answer, and the times before and after in $asked and $heard.
ask()
{
    questions=$((questions + 1))
    asked=$(svm-guest clock)
    echo "$questions $2" >"/run/$1.in"
    await "answer of guest $1 to '$2'" answered "$1" "$questions "
    heard=$(svm-guest clock)
    answer=${answer#* }
    answer=${answer%.}
}

# report STEP NAME MOMENT
report()
{
    ask "$2" report
    tell "report $1 $2 $3 asked=$asked heard=$heard $answer"
}

set_rtc()
{
    ask "$1" "rtc $2"
    [ "$answer" = "done" ] || tell "error rtc guest $1 could not set its RTC to $2 Hz: $answer"
}

# How often Linux has said that it is not well.
health()
{
    tell "health $1 $2 $3 bad=$(grep -c -E \
        'Oops|BUG|WARNING|lockup|detected.*stall|blocked for|panic|nobody cared|No irq handler' \
        "/run/$2.console")" || true
}

lvtt_count()
{
    grep -c '^LVTT' "/run/$1.hmp" || true
}

lvtt_is_newer()
{
    [ "$(lvtt_count "$1")" -gt "$2" ]
}

# lvtt STEP NAME MOMENT: what KVM has in the register.
lvtt()
{
    local before

    before=$(lvtt_count "$2")
    echo "info lapic" >"/run/$2.hmp.in"
    await "QEMU's 'info lapic'" lvtt_is_newer "$2" "$before"
    tell "lvtt $1 $2 $3 is=$(grep '^LVTT' "/run/$2.hmp" | tail -n 1 | grep -o '0x[0-9a-f]*')"
}

# ---- hvtimer ----

# ctl STEP ARGUMENT...: false, and told of, if it fails.
ctl()
{
    local step="$1"

    shift
    hvtimerctl "$@" >/run/ctl.out 2>&1 && return 0
    tell "error $step 'hvtimerctl $*': $(tr '\n' ' ' </run/ctl.out)"
    return 1
}

# field KEY: $value from $json; empty if it has none. Its first one: mind that "name" comes twice.
field()
{
    value=
    case $json in *"\"$1\":"*) ;; *) return 0 ;; esac
    value=${json#*"\"$1\":"}
    value=${value%%[,\}]*}
    value=${value#\"}
    value=${value%\"}
}

# read_status NAME: $json, and the times before and after as of ask().
read_status()
{
    asked=$(svm-guest clock)
    json=$(hvtimerctl --json status "$1")
    heard=$(svm-guest clock)
}

# tell_status STEP NAME MOMENT: what was read last.
tell_status()
{
    local key line=

    for key in state pid injector accounting base_timer emulated_timer_period due injected \
        acknowledged in_flight backlog skipped p50 p99 max attach_stall_us learned; do
        field "$key"
        line="$line $key=$value"
    done
    tell "status $1 $2 $3 asked=$asked heard=$heard$line"
}

# status STEP NAME MOMENT
status()
{
    read_status "$2"
    tell_status "$@"
}

# has NAME KEY VALUE
has()
{
    read_status "$1"
    field "$2"
    [ "$value" = "$3" ]
}

has_acknowledged()
{
    read_status "$1"
    field acknowledged
    [ "$value" -ge "$2" ]
}

# All that was due is taken, but for a tick or two that are on their way.
has_caught_up()
{
    read_status "$1"
    field backlog
    [ "$value" -le 2 ]
}

# Nothing was acknowledged since the last time that this was asked.
has_settled()
{
    local last="${value:-none}"

    read_status "$1"
    field acknowledged
    [ "$value" = "$last" ]
}

# ---- the steps ----

start_hvtimerd()
{
    echo "root:x:0:0:root:/root:/bin/sh" >/etc/passwd
    echo "root:x:0:" >/etc/group
    cat >/run/bus.conf <<END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>$HVTIMER_BUS_ADDRESS</listen>
  <policy context="default">
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
END
    cat >/run/hvtimerd.json <<END
{"state_directory": "/run/hvtimer", "attach_helper": "/bin/hvtimer-attach"}
END
    dbus-daemon --config-file=/run/bus.conf --nofork --nopidfile >/run/bus.log 2>&1 &
    await "the bus" [ -S /run/bus ]
    hvtimerd --config /run/hvtimerd.json --bus "$HVTIMER_BUS_ADDRESS" --libvirt none \
        >/run/hvtimerd.log 2>&1 &
    hvtimerd_pid=$!
    await "hvtimerd" hvtimerctl list >/dev/null 2>&1
}

attach()
{
    ctl attach attach --pid "$(cat "/run/$1.pid")" --name "$1" || return 0
    tell "expect attach $1 now pid=$(cat "/run/$1.pid")"
    status attach "$1" now
}

# ticking STEP NAME INJECTOR: a timer of its own, for as long as it takes.
ticking()
{
    local step="$1" name="$2" injector="$3"

    status "$step" "$name" before
    report "$step" "$name" before
    field acknowledged
    ctl "$step" enable "$name" --period "${period_us}us" --vector "$vector" \
        --destination physical:0 --injector "$injector" || return 0
    await "ticks" has_acknowledged "$name" $((value + warm_up))
    report "$step" "$name" begin
    sleep "$window_s"
    report "$step" "$name" end
    await "catching up" has_caught_up "$name" || true
    tell_status "$step" "$name" running
    [ "$step" != lapic ] || lvtt "$step" "$name" running
    ctl "$step" disable "$name" || return 0
    status "$step" "$name" disabled
    report "$step" "$name" disabled
    [ "$step" != lapic ] || lvtt "$step" "$name" disabled
    report "$step" "$name" after
    health "$step" "$name" after
}

# rate NAME HZ PERIOD: the guest's RTC is set, hvtimerd finds out, and counts for a while.
rate()
{
    set_rtc "$1" "$2"
    await "the RTC's $2 Hz to be known" has "$1" emulated_timer_period "$3" || return 0
    tell_status "rtc-$2" "$1" begin
    sleep "$window_s"
    status "rtc-$2" "$1" end
}

observing()
{
    local name="$1"

    report rtc "$name" before
    ctl rtc rtc "$name" observe || return 0
    status rtc "$name" before
    rate "$name" 32 312500
    rate "$name" 64 156250
    set_rtc "$name" 0
    await "the end of its ticks" has_settled "$name" || true
    tell_status rtc "$name" after
    report rtc "$name" after
    ctl rtc rtc "$name" off || true
    health rtc "$name" after
}

trap end EXIT
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tracefs tracefs /sys/kernel/tracing
stty -F /dev/ttyS1 raw
modprobe kvm_amd
guest a ""
guest b nolapic_timer
start_hvtimerd
for name in a b; do
    await "guest $name" answered "$name" ready
    report boot "$name" begin
    attach "$name"
done
ticking pin a pin
ticking lapic b lapic
ticking auto a auto
observing a
for name in a b; do
    ctl detach detach "$name" || true
    report boot "$name" end
    health boot "$name" end
done
kill "$hvtimerd_pid"
code=0
wait "$hvtimerd_pid" || code=$?
tell "expect stop hvtimerd now status=$code"
