#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What check-install.sh has its fresh machine do, as root and under its systemd: it uses hvtimer as a new
# user would, with the packages alone, and says in TAP what came of it. Its argument is the directory
# with the packages, guest.img and other.img (domain-guest.S).
set -uo pipefail
here=$1
export LC_ALL=C.UTF-8 VIRSH_DEFAULT_CONNECT_URI=qemu:///system

patience_s=45 # what takes longer than that does not come any more
hz=64         # the RTC of guest.img
# Of struct domain_guest_page and clock_guest, vCPU 0: what the guest has counted.
guest_ticks=0x101804
guest_vector_0x50=0x101140

# ---- TAP ----

tests=0

say()
{
    sed 's/^/# /'
}

# check NAME COMMAND...: a test; what the command says is shown if it fails.
check()
{
    local name=$1 result=ok output began=$SECONDS

    shift
    tests=$((tests + 1))
    output=$("$@" 2>&1) || result="not ok"
    echo "$result $tests - $name"
    ((SECONDS - began < 5)) || echo "# $((SECONDS - began)) s"
    [[ $result == ok ]] || { echo "after: $*"; echo "$output"; } | tail -n 40 | say
    [[ $result == ok ]]
}

# await COMMAND...: until it succeeds.
await()
{
    local limit=$((SECONDS + patience_s))

    until "$@"; do
        if ((SECONDS > limit)); then
            echo "it has not come within $patience_s s: $*"
            return 1
        fi
        sleep 0.2
    done
}

# Nothing that comes could work.
bail_out()
{
    logs
    echo "Bail out!"
    exit 1
}

is() # ACTUAL EXPECTED
{
    [[ $1 == "$2" ]] || { echo "it is '$1', not '$2'"; return 1; }
}

# Exits with $1, and says something.
ends_with()
{
    local expected=$1 status=0 output

    shift
    output=$("$@" 2>&1) || status=$?
    [[ $status == "$expected" && -n $output ]] || {
        echo "'$*' has ended with $status, not $expected, and said: $output"
        return 1
    }
}

logs()
{
    journalctl -b --no-pager -u hvtimerd -u 'hvtimer-attach@*' -u hvtimer-attach.socket |
        tail -n 60 | say
    journalctl -k --no-pager | grep -E 'apparmor="DENIED"' | tail -n 20 | say
}

# ---- who asks ----

# A new user of this host, who is one of those that may use libvirt; and one who is not.
as_operator()
{
    runuser -u alice -- "$@"
}

as_stranger()
{
    runuser -u nobody -- "$@"
}

# ---- what hvtimer says ----

# figure DOMAIN FILTER
figure()
{
    hvtimerctl status "$1" --json | jq -r "$2"
}

figure_is() # DOMAIN FILTER EXPECTED
{
    is "$(figure "$1" "$2")" "$3"
}

at_least() # DOMAIN FILTER LEAST
{
    local value

    value=$(figure "$1" "$2") && [[ $value =~ ^[0-9]+$ ]] && ((value >= $3))
}

# grows DOMAIN FILTER BY
grows()
{
    local before

    before=$(figure "$1" "$2") && await at_least "$1" "$2" $((before + $3))
}

adds_up()
{
    figure_is "$1" '.ticks | .due == .acknowledged + .in_flight + .backlog + .skipped' true
}

made_up()
{
    figure_is "$1" '.ticks.backlog <= 2 and .clock_behind_us <= 40000' true >/dev/null
}

# ---- the host ----

main_pid()
{
    systemctl show --value -p MainPID hvtimerd
}

# What is in /proc/PID/status of hvtimerd.
of_process() # FIELD EXPECTED
{
    is "$(awk -v "field=$1:" '$1 == field {print $2}' "/proc/$(main_pid)/status")" "$2"
}

engine_is_fifo()
{
    local thread

    for thread in "/proc/$(main_pid)"/task/*; do
        chrt -p "$(basename "$thread")"
    done | grep -q SCHED_FIFO
}

memory_is_locked()
{
    [[ $(awk '$1 == "VmLck:" {print $2}' "/proc/$(main_pid)/status") -gt 0 ]]
}

exposure_below() # UNIT MOST, in tenths
{
    local line value

    line=$(systemd-analyze security --no-pager "$1" | tail -n 1)
    echo "$line" | say >&3
    value=$(grep -oE '[0-9]+\.[0-9]' <<<"$line")
    ((${value/./} <= $2)) || { echo "$line"; return 1; }
}

check_host()
{
    check "the system is up, and nothing of it has failed" \
        timeout 120 systemctl is-system-running --wait || systemctl --failed --no-legend | say
    check "hvtimerd is active" await systemctl -q is-active hvtimerd || bail_out
    check "hvtimer-attach.socket is active" systemctl -q is-active hvtimer-attach.socket
    check "both are started at boot" systemctl -q is-enabled hvtimerd hvtimer-attach.socket
    check "hvtimerd is the user hvtimer" of_process Uid "$(id -u hvtimer)"
    check "who may use libvirt" grep -qw libvirt <<<"$(id -nG hvtimer)"
    check "without capabilities" of_process CapEff 0000000000000000
    check "and with none to be had" of_process CapBnd 0000000000000000
    check "its engine has SCHED_FIFO" engine_is_fifo
    check "its memory is locked" memory_is_locked
    check "systemd-analyze security hvtimerd" exposure_below hvtimerd.service 25
    check "systemd-analyze security hvtimer-attach" exposure_below hvtimer-attach@.service 70
}

# Its status; and that what is said of what this machine has is true.
verify_is_well()
{
    local findings=/tmp/findings status=0

    hvtimerctl verify >$findings || status=$?
    say <$findings >&3
    ((status == 0)) || return 1
    for name in kvm attach-helper ptrace tracing hvtimerd engine libvirt libvirt-group; do
        grep -qE "^ok +$name: " $findings || { echo "$name is not well"; return 1; }
    done
}

check_verify()
{
    # The first one who asks libvirt waits until it has asked QEMU what that can do.
    check "libvirt answers" await virsh version
    check "hvtimerctl verify: this host is fit" verify_is_well
}

# ---- the guests ----

# domain NAME IMAGE
domain()
{
    install -m 644 "$here/$2" "/var/lib/libvirt/images/$1.img"
    cat <<END
<domain type='kvm'>
  <name>$1</name>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/><apic/></features>
  <clock offset='localtime'/>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='/var/lib/libvirt/images/$1.img'/>
      <target dev='hda' bus='ide'/>
    </disk>
    <memballoon model='none'/>
  </devices>
</domain>
END
}

define_and_start()
{
    domain "$1" "$2" >"/tmp/$1.xml"
    chmod 644 "/tmp/$1.xml"
    as_operator virsh define "/tmp/$1.xml" && as_operator virsh start "$1"
}

# A word of the guest's memory, where it counts.
guest_word() # DOMAIN ADDRESS
{
    echo $(("$(virsh qemu-monitor-command "$1" --hmp "xp /1wx $2" | tr -d '\r' |
        sed -n 's/.*: \(0x[0-9a-f]*\).*/\1/p')"))
}

guest_counts() # DOMAIN ADDRESS MORE_THAN
{
    (($(guest_word "$1" "$2") > $3))
}

vmm_of()
{
    cat "/run/libvirt/qemu/$1.pid"
}

# hvtimerd's own account, and the guest's, of the same time.
agrees_with_guest()
{
    local ticks acknowledged

    acknowledged=$(figure win2003 .ticks.acknowledged)
    ticks=$(guest_word win2003 $guest_ticks)
    sleep 3
    acknowledged=$(($(figure win2003 .ticks.acknowledged) - acknowledged))
    ticks=$(($(guest_word win2003 $guest_ticks) - ticks))
    echo "$acknowledged acknowledged, $ticks counted by the guest" | tee >(say >&3)
    # The two are not read at the same moment: half a second is what a stall may put between.
    ((acknowledged >= hz && ticks >= acknowledged - hz / 2 && ticks <= acknowledged + hz / 2))
}

# A host that does not run a guest's VMM for two seconds. Its RTC counts on, and hvtimerd knows.
stall()
{
    local pid

    pid=$(vmm_of win2003)
    kill -STOP "$pid"
    sleep 2
    kill -CONT "$pid"
    grows win2003 .ticks.acknowledged $hz && await made_up win2003 && adds_up win2003
}

check_rtc()
{
    check "an operator defines and starts a domain" define_and_start win2003 guest.img
    check "which is a partition" await figure_is win2003 .state running
    check "and counts its RTC's ticks" await guest_counts win2003 $guest_ticks $hz
    check "hvtimerctl rtc win2003 slew" as_operator hvtimerctl rtc win2003 slew --live --config
    check "the rate is known" await figure_is win2003 .emulated_timer_period 156250
    check "ticks are counted" grows win2003 .ticks.acknowledged $((2 * hz))
    check "as the guest counts them" agrees_with_guest
    check "a stall of two seconds is made up" stall
    check "and it is in the domain's metadata" \
        grep -q 'mode="slew"' <<<"$(virsh metadata win2003 --config --uri urn:hvtimer:domain:1.0)"
    as_operator hvtimerctl status win2003 | say
}

# paced INJECTOR
paced()
{
    local before

    before=$(guest_word other $guest_vector_0x50)
    as_operator hvtimerctl enable other --period 10ms --vector 0x50 --injector "$1" || return
    await figure_is other .injector "$1" && grows other .ticks.acknowledged 50 &&
        await guest_counts other $guest_vector_0x50 $((before + 40)) &&
        as_operator hvtimerctl disable other
}

check_paced()
{
    check "a second domain" define_and_start other other.img
    check "which is a partition, too" await figure_is other .state running
    # It takes no interrupts before its BIOS is done.
    check "its guest is ready" await guest_counts other 0x101404 0
    check "ticks by a borrowed pin" paced pin
    check "ticks by a leased local APIC timer" paced lapic
}

check_strangers()
{
    check "a stranger may not change anything" ends_with 5 \
        as_stranger hvtimerctl rtc win2003 off
    check "and nothing was" figure_is win2003 .emulated_timer_period 156250
}

# ---- the operator's tools ----

top_shows()
{
    hvtimerctl top --count 1 | grep -q win2003
}

screen_shows()
{
    tmux -L test capture-pane -p | grep -qE "$1"
}

top_in_a_terminal()
{
    tmux -L test new-session -d -x 80 -y 24 "hvtimerctl top; echo ended with \$?; sleep 1000" &&
        await screen_shows win2003 && tmux -L test send-keys q && await screen_shows 'ended with 0'
}

check_top()
{
    check "hvtimerctl top" top_shows
    check "hvtimerctl top in a terminal" top_in_a_terminal
    tmux -L test kill-server
}

check_manuals()
{
    local page

    for page in hvtimerctl.1 hvtimerd.8 hvtimer-attach.8 hvtimerd.json.5 hvtimer-choosing.7; do
        check "there is a manual page $page" test -s "/usr/share/man/man${page##*.}/$page.gz"
    done
}

# ---- accidents ----

new_main_pid()
{
    local pid

    pid=$(main_pid)
    ((pid != 0 && pid != $1))
}

killed()
{
    local pid acknowledged

    pid=$(main_pid)
    acknowledged=$(figure win2003 .ticks.acknowledged)
    kill -KILL "$pid"
    await new_main_pid "$pid" && await systemctl -q is-active hvtimerd &&
        await at_least win2003 .ticks.acknowledged $((acknowledged + 3 * hz)) && await made_up win2003
}

check_accidents()
{
    check "hvtimerd is killed, is back, and goes on" killed
}

# ---- AppArmor, as its profile says ----

confined()
{
    echo 'ptrace (readby, tracedby) peer=hvtimer-attach,' \
        >>/etc/apparmor.d/local/abstractions/libvirt-qemu
    mkdir -p /etc/systemd/system/hvtimer-attach@.service.d
    printf '[Service]\nAppArmorProfile=hvtimer-attach\n' \
        >/etc/systemd/system/hvtimer-attach@.service.d/apparmor.conf
    systemctl daemon-reload
    virsh destroy other && virsh start other && await figure_is other .state running &&
        await guest_counts other 0x101404 0 && paced lapic
}

no_denial()
{
    ! journalctl -k --no-pager | grep -E 'apparmor="DENIED".*hvtimer'
}

check_apparmor()
{
    check "the AppArmor profile is loaded" grep -q '^hvtimer-attach ' /sys/kernel/security/apparmor/profiles
    check "the helper works under it" confined
    check "and nothing was denied" no_denial
}

# ---- the end of it ----

purged()
{
    apt-get purge -y -qq hvtimerd && ! pgrep -x 'hvtimerd|hvtimer-attach' &&
        [[ ! -e /run/hvtimer && ! -e /run/hvtimer-attach.sock && ! -e /etc/hvtimer ]] &&
        ! systemctl -q is-active hvtimerd hvtimer-attach.socket
}

installed_again()
{
    apt-get install -y -qq "$here"/hvtimerd_*.deb && await systemctl -q is-active hvtimerd &&
        await figure_is win2003 .emulated_timer_period 156250 && grows win2003 .ticks.acknowledged $hz
}

check_packages()
{
    check "apt-get purge hvtimerd leaves nothing" purged
    check "and the guests go on" guest_counts win2003 $guest_ticks "$(guest_word win2003 $guest_ticks)"
    check "installed anew, it goes by the domain's metadata" installed_again
}

exec 3>&1
useradd --create-home --groups libvirt alice
for part in ${parts:-host verify rtc paced strangers top manuals accidents apparmor packages}; do
    "check_$part"
    echo "# $part: $SECONDS s"
done
echo "1..$tests"
logs
