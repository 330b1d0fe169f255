# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Completion of hvtimerctl's words for bash (4.3 or later): verbs, options, their values, and the
# partitions that hvtimerd has at the moment. Nothing but bash is needed for it.

# Takes the quotes of the word $1 away, as the shell would, but expands and runs nothing. Sets in the
# caller: text: what it means; kept: so much of $1 readline leaves as it is, for what is completed is
# behind it; quote: the quote that is open at its end, or "".
_hvtimerctl_unquote()
{
    local word=$1 c i breaks=${COMP_WORDBREAKS//[[:space:]\"\']/}
    text='' kept='' quote=''
    for ((i = 0; i < ${#word}; i++)); do
        c=${word:i:1}
        if [[ $c == "$quote" ]]; then
            quote=''
        elif [[ -z $quote && $c == [\'\"] ]]; then
            quote=$c kept=${word:0:i+1}
        elif [[ $c == \\ && $quote != \' ]]; then
            i=$((i + 1))
            [[ $quote != \" || ${word:i:1} == [\\\"\$\`] ]] || text+=\\
            text+=${word:i:1}
        else
            text+=$c
            if [[ -z $quote && $breaks == *"$c"* ]]; then
                kept=${word:0:i+1}
                [[ $c != @ ]] || kept=${word:0:i} # readline has it with what follows
            fi
        fi
    done
    # A quote that is closed again is replaced with the rest of its word.
    [[ -n $quote || $kept != *[\'\"] ]] || kept=''
}

# Sets in the caller: quoted: $1 as it is to stand behind what is typed already: in the open quotes,
# or without any.
_hvtimerctl_quote()
{
    local escape=\\
    quoted=$1
    case $quote in
    \') quoted=${quoted//\'/"'\\''"} ;;
    \")
        quoted=${quoted//\\/"$escape$escape"}
        quoted=${quoted//\"/"$escape\""}
        quoted=${quoted//\$/"$escape\$"}
        quoted=${quoted//\`/"$escape\`"}
        ;;
    *)
        [[ -z $quoted ]] || printf -v quoted '%q' "$quoted"
        # It takes a comma for a part of {a,b}, whose braces it has escaped.
        [[ $quoted == \$\'* ]] || quoted=${quoted//\\,/,}
        ;;
    esac
}

# Offers those of the words $2... to which the word that is typed ($1) can be completed.
_hvtimerctl_offer()
{
    local text kept quote quoted typed open behind candidate
    _hvtimerctl_unquote "$1"
    typed=$text open=$quote
    _hvtimerctl_unquote "$kept"
    behind=$text quote=$open
    for candidate in "${@:2}"; do
        if [[ $candidate == "$typed"* ]]; then
            _hvtimerctl_quote "${candidate#"$behind"}"
            COMPREPLY+=("$quoted")
        fi
    done
    # Something is to follow.
    [[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *[=:] ]] || compopt -o nospace 2>/dev/null
}

# The names of the partitions into the array names; none if hvtimerd can't be asked, soon and without
# a question to the user. Names may hold anything: they are read from JSON, whose escapes printf knows but for
# that of the quote.
_hvtimerctl_names()
{
    local line name command=(timeout 2 "$program" --json list)
    [[ -z $bus ]] || command+=(--bus "$bus")
    names=()
    while IFS= read -r line; do
        line=${line#*'"name":"'}
        line=${line%\"}
        printf -v name '%b' "${line//\\\"/\"}"
        names+=("$name")
    done < <("${command[@]}" 2>/dev/null </dev/null |
        grep -oE '\{"id":[0-9]+,"name":"([^"\\]|\\.)*"')
}

# Does the option $1 take a value?
_hvtimerctl_takes_value()
{
    case $1 in
    --bus | -b | --destination | --delivery | --injector | --policy | --on-resume | --sort | -s) ;;
    --domain | -d | --period | --vector | --threshold | --slew | --limit | --pid | --name) ;;
    --interval | -i | --count | -n | --libvirt | -l) ;;
    *) return 1 ;;
    esac
}

# What the option $1 takes, as far as that can be listed, into the array values.
_hvtimerctl_values()
{
    local names=()
    case $1 in
    --bus | -b) values=(system session unix:path=) ;;
    --destination) values=(physical: logical:) ;;
    --delivery) values=(fixed lowest) ;;
    --injector) values=(auto msi pin lapic model) ;;
    --policy) values=(catchup lazy observe) ;;
    --on-resume) values=(freeze catchup) ;;
    --sort | -s) values=(name rate ack lost backlog clock p99 inj base) ;;
    --libvirt | -l) values=(qemu:///system none) ;;
    --domain | -d) _hvtimerctl_names && values=("${names[@]}") ;;
    *) values=() ;;
    esac
}

# The options of the verb $1, or, without one, those that stand before it, into the array values.
_hvtimerctl_options()
{
    values=(--bus --json --help)
    case $1 in
    '') values+=(--version) ;;
    enable) values+=(--period --vector --destination --delivery --injector --live --config) ;;
    disable) values+=(--live --config) ;;
    rtc | pit) values+=(--force --live --config) ;;
    policy) values+=(--policy --threshold --slew --limit --on-resume) ;;
    attach) values+=(--pid --name) ;;
    top) values+=(--interval --count --sort) ;;
    monitor) values+=(--interval --domain) ;;
    verify) values+=(--libvirt) ;;
    esac
}

# EmulatedTimerControl: items with commas between them. $1: what is typed already.
_hvtimerctl_control()
{
    local before='' item text kept quote
    _hvtimerctl_unquote "$1"
    [[ $text != *,* ]] || before=${text%,*},
    values=()
    for item in vector= destination=physical: destination=logical: delivery=fixed \
        delivery=lowest enabled; do
        [[ ,$before == *,"${item%%=*}"[=,]* ]] || values+=("$before$item")
    done
}

# The argument number $2 of the verb $1 into the array values. $3: what is typed of it already.
_hvtimerctl_argument()
{
    local names=()
    values=()
    case $1:$2 in
    :*)
        values=(list status get set enable disable rtc pit policy reset-backlog attach detach top
            monitor metrics verify)
        ;;
    list:* | attach:* | verify:* | top:* | monitor:* | metrics:*) ;;
    *:0) _hvtimerctl_names && values=("${names[@]}") ;;
    get:1 | set:1) values=(EmulatedTimerPeriod EmulatedTimerControl) ;;
    set:2) [[ $property != EmulatedTimerControl ]] || _hvtimerctl_control "$3" ;;
    rtc:1 | pit:1) values=(slew observe off) ;;
    esac
}

# The words up to the cursor into the array words: readline breaks them at = and :, too.
_hvtimerctl_words()
{
    local rest=$COMP_LINE word i over
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $rest == [[:space:]]* || -z $word ]]; then
            rest=${rest#"${rest%%[![:space:]]*}"}
            words+=('')
        fi
        rest=${rest#"$word"}
        over=$((${#COMP_LINE} - ${#rest} - COMP_POINT)) # characters of it behind the cursor
        ((i < COMP_CWORD || over <= 0 || over > ${#word})) || word=${word:0:${#word}-over}
        words[-1]+=$word
    done
}

_hvtimerctl()
{
    local words values=() text kept quote i option='' verb='' count=0 property='' bus='' program=$1
    COMPREPLY=()
    _hvtimerctl_words
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        _hvtimerctl_unquote "${words[i]}"
        if [[ -n $option ]]; then
            [[ $option != --bus && $option != -b ]] || bus=$text
            option=''
        elif [[ $text == --bus=* ]]; then
            bus=${text#--bus=}
        elif [[ $text == -b?* ]]; then
            bus=${text#-b}
        elif [[ $text == -* ]]; then
            ! _hvtimerctl_takes_value "$text" || option=$text
        elif [[ -z $verb ]]; then
            verb=$text
        else
            ((++count != 2)) || property=$text
        fi
    done
    _hvtimerctl_unquote "${words[-1]}"
    if [[ -n $option ]]; then
        _hvtimerctl_values "$option"
    elif [[ $text == --*=* ]]; then
        _hvtimerctl_values "${text%%=*}"
        values=("${values[@]/#/"${text%%=*}="}")
    elif [[ $text == -* ]]; then
        _hvtimerctl_options "$verb"
    else
        _hvtimerctl_argument "$verb" "$count" "${words[-1]}"
    fi
    _hvtimerctl_offer "${words[-1]}" "${values[@]}"
}

complete -F _hvtimerctl hvtimerctl
