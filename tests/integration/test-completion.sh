#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Completion as a user meets it: keys go to an interactive bash in a terminal (tmux), whose line is
# then read back. Beside it a bus of its own with a hvtimerd, whose partitions have awkward names.
#
# shellcheck disable=SC2317 # functions are called through check()
# shellcheck disable=SC2016 # what others are to expand stands in single quotes
set -euo pipefail

source_directory=$(realpath "${HVTIMER_SRCDIR:-.}")
build_directory=$(realpath "${HVTIMER_BUILDDIR:-.}")
scratch=$(mktemp -d)
export PATH=$build_directory/hvapi:$PATH LC_ALL=C.UTF-8
names=(win2003 'win 2000' "o'brien" 'a"quote' "both'\"s" 'dollar$HOME' '`id`' 'back\slash' 'vm:1'
    'key=2' 'at@home' 'semi;colon' 'star*' 'grün' '{"id":9,"name":"fake"' '  blanks')

tests=0 failures=0 pids=()

finish()
{
    tmux -S "$scratch/tmux" kill-server 2>/dev/null || true
    ((${#pids[@]} == 0)) || kill -CONT "${pids[@]}" 2>/dev/null || true
    ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$scratch"
}
trap finish EXIT

# check NAME COMMAND...: passes if it succeeds, and has nothing to say.
check()
{
    local name=$1 output status=0
    shift
    tests=$((tests + 1))
    output=$("$@" 2>&1) || status=$?
    [[ -z $output ]] || echo "# ${output//$'\n'/$'\n'# }"
    if [[ $status == 0 && -z $output ]]; then
        echo "ok $tests - $name"
    else
        failures=$((failures + 1))
        echo "not ok $tests - $name"
    fi
}

# await COMMAND...: until it succeeds; for 20 s at most.
await()
{
    local deadline=$((SECONDS + 20))
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || { echo "waited in vain: $*" && return 1; }
        sleep 0.01
    done
}

json_names()
{
    local name list=''
    for name in "${names[@]}"; do
        name=${name//\\/"\\\\"}
        list+=${list:+, }\"${name//\"/'\"'}\"
    done
    echo "[$list]"
}

start_bus()
{
    "${DBUS_DAEMON:-dbus-daemon}" --session --nofork --nopidfile --print-address=3 \
        --address="unix:dir=$scratch" 3>"$scratch/address" 2>"$scratch/bus-log" &
    pids+=($!)
    await test -s "$scratch/address"
    HVTIMER_BUS_ADDRESS=$(<"$scratch/address")
    export HVTIMER_BUS_ADDRESS
}

start_daemon()
{
    cat >"$scratch/hvtimerd.json" <<END
{"models": $(json_names), "engine": {"priority": 0, "lock_memory": false},
 "state_directory": "$scratch/state"}
END
    "$build_directory/daemon/hvtimerd" --config "$scratch/hvtimerd.json" --libvirt none \
        2>"$scratch/log" &
    daemon=$!
    pids+=("$daemon")
    await hvtimerctl status "${names[-1]}"
}

# A bash in a terminal, $1: its start-up file. C-x C-r: the line goes to the file `line`, and is
# empty; C-x *: all that it could be completed to is put into it.
start_shell()
{
    cat >"$scratch/keys" <<END
take_line() { printf '%s' "\$READLINE_LINE" >'$scratch/line.new'
    mv '$scratch/line.new' '$scratch/line'; READLINE_LINE=; }
bind -x '"\C-x\C-r": take_line'
bind '"\C-x*": insert-completions'
bind 'set bell-style none'
PS1='> '
cd '$scratch/empty'
END
    mkdir -p "$scratch/empty"
    tmux -S "$scratch/tmux" -f /dev/null new-session -d -x 200 -y 50 \
        "bash --noprofile --rcfile '$1' -i"
    await eval '[[ $(screen) == *">"* ]]'
}

end_shell()
{
    tmux -S "$scratch/tmux" kill-server
    await eval '! tmux -S "$scratch/tmux" has-session'
}

screen()
{
    tmux -S "$scratch/tmux" capture-pane -p
}

# The line that the text $1 and the keys $2... make.
line()
{
    rm -f "$scratch/line"
    tmux -S "$scratch/tmux" send-keys -l -- "$1"
    tmux -S "$scratch/tmux" send-keys "${@:2}" C-x C-r
    await test -f "$scratch/line" || return 1
    cat "$scratch/line"
}

# The text $1 with a Tab is the line $2.
tab()
{
    local got
    got=$(line "$1" Tab)
    [[ $got == "$2" ]] || { echo "'$1' became '$got', and should '$2'" && return 1; }
}

# The words to which the text $1 can be completed, and those before, one per line.
choices()
{
    local got
    got=$(line "$1" C-x '*')
    eval "set -- $got"
    printf '%s\n' "${@:2}" | sort
}

# Those of the text "hvtimerctl $1" are those of the standard input, but for the verb.
has_choices()
{
    local wanted got
    wanted=$(sort)
    got=$(choices "hvtimerctl $1" | grep -vxF -e "${1%% *}" || true)
    [[ $got == "$wanted" ]] || { diff <(echo "$wanted") <(echo "$got") && return 1; }
}

verbs()
{
    hvtimerctl --help | sed -nE '/^Verbs:/,/^$/s/^  ([a-z][a-z-]*) .*/\1/p'
}

options()
{
    hvtimerctl "$@" --help | sed -nE 's/^  (-[A-Za-z], )?(--[a-z-]+).*/\2/p'
}

all_verbs()
{
    verbs | has_choices ''
}

all_options()
{
    local verb missing=0
    options | has_choices -- || missing=1
    while read -r verb; do
        options "$verb" | has_choices "$verb --" || { echo "of $verb" && missing=1; }
    done < <(verbs)
    return "$missing"
}

values()
{
    local begin
    printf '%s\n' slew observe off win2003 | has_choices 'rtc win2003 '
    tab 'hvtimerctl rtc win2003 s' 'hvtimerctl rtc win2003 slew '
    tab 'hvtimerctl pit win2003 ob' 'hvtimerctl pit win2003 observe '
    tab 'hvtimerctl policy win2003 --policy l' 'hvtimerctl policy win2003 --policy lazy '
    tab 'hvtimerctl policy win2003 --policy=c' 'hvtimerctl policy win2003 --policy=catchup '
    tab 'hvtimerctl policy --on-resume f' 'hvtimerctl policy --on-resume freeze '
    for begin in 'enable win2003 ' 'enable --period 1ms --vector 0x50 '; do
        tab "hvtimerctl ${begin}--inj" "hvtimerctl ${begin}--injector "
        tab "hvtimerctl ${begin}--injector=la" "hvtimerctl ${begin}--injector=lapic "
        tab "hvtimerctl ${begin}--destination ph" "hvtimerctl ${begin}--destination physical:"
        tab "hvtimerctl ${begin}--destination=l" "hvtimerctl ${begin}--destination=logical:"
        tab "hvtimerctl ${begin}--delivery lo" "hvtimerctl ${begin}--delivery lowest "
    done
    tab 'hvtimerctl get win2003 EmulatedTimerP' 'hvtimerctl get win2003 EmulatedTimerPeriod '
    tab 'hvtimerctl set win2003 EmulatedTimerControl v' \
        'hvtimerctl set win2003 EmulatedTimerControl vector='
    tab 'hvtimerctl set win2003 EmulatedTimerControl vector=0x50,destination=p' \
        'hvtimerctl set win2003 EmulatedTimerControl vector=0x50,destination=physical:'
    tab 'hvtimerctl set win2003 EmulatedTimerControl vector=0x50,en' \
        'hvtimerctl set win2003 EmulatedTimerControl vector=0x50,enabled '
    tab 'hvtimerctl top --sort cl' 'hvtimerctl top --sort clock '
    # Where anything may stand, nothing is put.
    tab 'hvtimerctl enable win2003 --period ' 'hvtimerctl enable win2003 --period '
    tab 'hvtimerctl set win2003 EmulatedTimerPeriod ' 'hvtimerctl set win2003 EmulatedTimerPeriod '
    tab 'hvtimerctl list ' 'hvtimerctl list '
}

# Whatever is typed of a name, what it becomes is one word to the shell: the name.
becomes_name()
{
    local got
    got=$(line "hvtimerctl $1 $2" Tab)
    (
        eval "set -- $got"
        [[ $# == 3 && $3 == "$name" ]]
    ) || { echo "'$2' became '$got', which is not <$name>" && return 1; }
}

awkward_names()
{
    local name begin wrong=0
    for name in "${names[@]}"; do
        begin=${name:0:4}
        becomes_name status "$(printf '%q' "$begin")" || wrong=1
        [[ $begin == *\'* ]] || becomes_name rtc "'$begin" || wrong=1
        [[ $begin == *[\"\$\`\\]* ]] || becomes_name policy "\"$begin" || wrong=1
    done
    name='dollar$HOME'
    becomes_name detach '"dollar' || wrong=1
    becomes_name detach 'dollar\$H' || wrong=1
    becomes_name disable '"dollar\$H' || wrong=1
    name='vm:1'
    becomes_name status 'vm:' || wrong=1
    name='win 2000'
    becomes_name status '"win ' || wrong=1
    becomes_name status "'win 2" || wrong=1
    becomes_name status "win\\ 2" || wrong=1
    return "$wrong"
}

all_names()
{
    printf '%s\n' "${names[@]}" status | sort >"$scratch/wanted"
    choices 'hvtimerctl status ' >"$scratch/got"
    diff "$scratch/wanted" "$scratch/got"
}

monitor_names()
{
    tab 'hvtimerctl monitor --domain win2' 'hvtimerctl monitor --domain win2003 '
    tab 'hvtimerctl monitor --domain=vm:' 'hvtimerctl monitor --domain=vm:1 '
}

# No bus in the environment of the shell: the one of the command line.
bus_honoured()
{
    local address=$HVTIMER_BUS_ADDRESS
    line 'unset HVTIMER_BUS_ADDRESS' Enter >/dev/null
    tab 'hvtimerctl status win200' 'hvtimerctl status win200'
    tab "hvtimerctl --bus $address status win200" "hvtimerctl --bus $address status win2003 "
    tab "hvtimerctl --bus=$address status win200" "hvtimerctl --bus=$address status win2003 "
    tab "hvtimerctl -b '$address' status win200" "hvtimerctl -b '$address' status win2003 "
    tab "hvtimerctl --bus sy" 'hvtimerctl --bus system '
    line "export HVTIMER_BUS_ADDRESS='$address'" Enter >/dev/null
}

# With what stands before it on the line, and behind the cursor.
in_the_middle()
{
    tab 'true && hvtimerctl reset' 'true && hvtimerctl reset-backlog '
    tab 'HOME=/ hvtimerctl reset' 'HOME=/ hvtimerctl reset-backlog '
    [[ $(line 'hvtimerctl status win20 --json' C-b C-b C-b C-b C-b C-b C-b Tab) == \
        'hvtimerctl status win2003 --json' ]]
}

hung()
{
    local started=$EPOCHREALTIME status=0
    kill -STOP "$daemon"
    tab 'hvtimerctl status win200' 'hvtimerctl status win200' || status=1
    kill -CONT "$daemon"
    # Two seconds, and what a busy host adds.
    ((${EPOCHREALTIME/./} - ${started/./} < 8000000)) || { echo 'too late' && status=1; }
    return "$status"
}

away()
{
    local started=$EPOCHREALTIME
    kill "$daemon"
    await eval '! kill -0 "$daemon"'
    line clear Enter >/dev/null
    tab 'hvtimerctl status win200' 'hvtimerctl status win200'
    ((${EPOCHREALTIME/./} - ${started/./} < 8000000)) || { echo 'too late' && return 1; }
    tab 'hvtimerctl rtc x sl' 'hvtimerctl rtc x slew '
    ! screen | grep -i 'hvtimerd\|error\|Terminated'
}

# Found by the package bash-completion where it is installed.
with_package()
{
    line x C-u >/dev/null
    tab 'hvtimerctl reset' 'hvtimerctl reset-backlog '
    tab 'hvtimerctl rtc win2003 sl' 'hvtimerctl rtc win2003 slew '
    tab 'hvtimerctl enable x --injector=la' 'hvtimerctl enable x --injector=lapic '
    tab 'hvtimerctl monitor --domain=vm:' 'hvtimerctl monitor --domain=vm:1 '
}

echo 'TAP version 13'
start_bus
start_daemon
printf 'source %q\nsource %q\n' "$source_directory/conf/hvtimerctl.bash" "$scratch/keys" \
    >"$scratch/plain"
start_shell "$scratch/plain"
check 'every verb' all_verbs
check 'every option of every verb' all_options
check 'values' values
check 'every name' all_names
check 'names with quotes, blanks and more are one word' awkward_names
check 'names as the value of an option' monitor_names
check 'the bus of the command line' bus_honoured
check 'in the middle of a line' in_the_middle
end_shell

mkdir -p "$scratch/package/completions"
cp "$source_directory/conf/hvtimerctl.bash" "$scratch/package/completions/hvtimerctl"
printf 'BASH_COMPLETION_USER_DIR=%q\nsource %s\nsource %q\n' "$scratch/package" \
    /usr/share/bash-completion/bash_completion "$scratch/keys" >"$scratch/packaged"
start_shell "$scratch/packaged"
check 'with the package bash-completion' with_package
end_shell

start_shell "$scratch/plain"
check 'a hvtimerd that hangs' hung
check 'no hvtimerd' away
echo "1..$tests"
exit $((failures != 0))
