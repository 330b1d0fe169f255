#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The man pages, as built: without a warning of mandoc and man, no wider than a terminal, with the
# sections that a reader looks for, and complete: every verb, option, configuration key and public
# function is in its page. What their examples show is true of what was built.
#
# shellcheck disable=SC2317 # functions are called through check()
set -euo pipefail

source_directory=${HVTIMER_SRCDIR:-.}
build_directory=${HVTIMER_BUILDDIR:-.}
hvtimerctl=$build_directory/hvapi/hvtimerctl
hvtimerd=$build_directory/daemon/hvtimerd
pages=(hvtimerctl.1 hvapi.3 hvtimerd.json.5 hvtimer-choosing.7 hvtimer-attach.8 hvtimerd.8)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LC_ALL=C.UTF-8
unset MANPAGER MANROFFOPT MANOPT

tests=0 failures=0

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

# Fails, with the errors, if there are any. The output is of no interest.
silent()
{
    local errors
    errors=$("$@" 2>&1 >/dev/null) || true
    [[ -z $errors ]] || { echo "$errors" && return 1; }
}

# As it is in an ordinary place: the directories of a build that is only tried may be longer than a line.
page()
{
    local file=$scratch/$1 prefix=${HVTIMER_PREFIX:-/no such place}
    # A hyphen is \- in there.
    [[ -f $file ]] ||
        sed "s|${prefix//-/\\\\*-}/|/usr/|g" "$build_directory/man/$1" >"$file"
    echo "$file"
}

# What man shows of page $1 in a terminal of $2 columns.
text()
{
    local file=$scratch/$1.$2
    [[ -f $file ]] || MANWIDTH=$2 man -E UTF-8 -l "$(page "$1")" >"$file"
    cat "$file"
}

# The text of $1's section $2, its lines not broken.
section()
{
    text "$1" 1000 | awk -v heading="$2" '/^[^ ]/ { inside = $0 == heading } inside'
}

mandoc_lint()
{
    mandoc -T lint -W warning "$(page "$1")" # its findings go to the standard output
}

# First what the formatter says, then what the terminal's driver does.
groff_lint()
{
    silent man --warnings -E UTF-8 -l -Tutf8 -Z "$(page "$1")" &&
        silent man --warnings -E UTF-8 -l -Tutf8 -P cat "$(page "$1")"
}

# What rst2man could not make out, or was not put in, is in the page.
no_leftovers()
{
    ! grep -nE 'System Message|@[a-z]+@|@VERSION@' "$(page "$1")"
}

fits()
{
    ! text "$1" 80 | grep -nE '^.{81,}'
}

sections()
{
    local wanted missing=0 list=(NAME SYNOPSIS DESCRIPTION FILES EXAMPLES 'SEE ALSO')
    case $1 in
    *.[18]) list+=('EXIT STATUS' ENVIRONMENT) ;;
    *.3) list+=('RETURN VALUE' ENVIRONMENT) ;;
    esac
    for wanted in "${list[@]}"; do
        grep -qxF -e "$wanted" <<<"$(text "$1" 80)" || { echo "no section $wanted" && missing=1; }
    done
    return "$missing"
}

# What is referred to is a page of ours, or one of other packages that is meant.
references()
{
    local reference reference_file missing=0 known=' bash(1) virsh(1) pkg-config(1) ptrace(2) eventfd(2) '
    known+='systemd.socket(5) '
    while read -r reference; do
        reference_file=${reference/(/.} && reference_file=${reference_file%)}
        [[ $known == *" $reference "* || " ${pages[*]} " == *" $reference_file "* ]] ||
            { echo "no page $reference" && missing=1; }
    done < <(text "$1" 1000 | sed 's/)\S/) /g; s/[^A-Za-z0-9().-]/ /g' |
        grep -oE '\b[a-z][a-z.-]*\([1-8]\)' | sort -u)
    return "$missing"
}

verbs()
{
    "$hvtimerctl" --help | sed -nE '/^Verbs:/,/^$/s/^  ([a-z][a-z-]*) .*/\1/p'
}

# The long options that $@ --help shows.
options()
{
    "$@" --help | sed -nE 's/^  (-[A-Za-z], )?(--[a-z-]+).*/\2/p'
}

all_verbs()
{
    local verb missing=0 count=0
    while read -r verb; do
        count=$((count + 1))
        grep -qxF -e "   $verb" <<<"$(text hvtimerctl.1 80)" || { echo "no verb $verb" && missing=1; }
    done < <(verbs)
    ((count >= 13)) || { echo "only $count verbs found" && missing=1; }
    return "$missing"
}

# What the page says of a verb.
verb_text()
{
    text hvtimerctl.1 1000 | awk -v heading="   $1" '/^(   )?[^ ]/ { inside = $0 == heading } inside'
}

# Those of a verb are told with that verb, those of all verbs in OPTIONS; and none that is no more.
all_options()
{
    local verb option there common missing=0
    common=$(options "$hvtimerctl" list | grep -vx -e --help)
    for option in $common $(options "$hvtimerctl"); do
        grep -qE -e "$option\b" <<<"$(section hvtimerctl.1 OPTIONS)" ||
            { echo "no option $option" && missing=1; }
    done
    while read -r verb; do
        there=$(options "$hvtimerctl" "$verb" | grep -vxF -e --help -e "$common" || true)
        for option in $there; do
            grep -qE -e "$option\b" <<<"$(verb_text "$verb")" ||
                { echo "$verb: no option $option" && missing=1; }
        done
        for option in $(verb_text "$verb" | grep -oE -e '--[a-z][a-z-]+' | sort -u); do
            grep -qxF -e "$option" <<<"$there"$'\n'"$common" ||
                { echo "$verb: has no $option, but the page says so" && missing=1; }
        done
    done < <(verbs)
    return "$missing"
}

daemon_options()
{
    local option missing=0
    for option in $(options "$hvtimerd"); do
        grep -qE -e "$option\b" <<<"$(section hvtimerd.8 OPTIONS)" ||
            { echo "no option $option" && missing=1; }
    done
    return "$missing"
}

exit_statuses()
{
    local status missing=0
    for status in 0 1 2 3 4 5; do
        grep -qE -e "^ {7}$status( |$)" <<<"$(section hvtimerctl.1 'EXIT STATUS')" ||
            { echo "no exit status $status" && missing=1; }
    done
    return "$missing"
}

# Also the keys that are there as comments only, and those inside of "domains".
all_keys()
{
    local key missing=0 count=0
    while read -r key; do
        count=$((count + 1))
        grep -qE -e "(^ {3,7}|, )$key(,|$| )" <<<"$(section hvtimerd.json.5 KEYS)" ||
            { echo "no key $key" && missing=1; }
    done < <(grep -oE '"#?[a-z_]+(\.[a-z]+)*"[[:space:]]*:' "$source_directory/conf/hvtimerd.json" |
        sed -E 's/[":# ]//g; s/.*\.//' | grep -v '^$' | sort -u)
    ((count >= 20)) || { echo "only $count keys found" && missing=1; }
    return "$missing"
}

functions()
{
    grep -oE '^HVAPI_EXPORT [^(]*\(' "$source_directory/include/hvapi/hvapi.h" |
        sed -E 's/.*[ *]([A-Za-z_]+)\(/\1/'
}

all_functions()
{
    local function missing=0 count=0
    while read -r function; do
        count=$((count + 1))
        grep -qE -e "\b$function\(" <<<"$(section hvapi.3 SYNOPSIS)" ||
            { echo "no function $function in the synopsis" && missing=1; }
        grep -qE -e "^ {7}$function( |$)" <<<"$(section hvapi.3 CALLS)" ||
            { echo "no function $function among the calls" && missing=1; }
    done < <(functions)
    ((count >= 11)) || { echo "only $count functions found" && missing=1; }
    return "$missing"
}

# The numbers and names of hvgdk.h, and the figures of hvapi.h.
all_statuses()
{
    local name number figure missing=0
    while read -r name number; do
        grep -qE -e "^ *$number  $name\$" <<<"$(section hvapi.3 'RETURN VALUE')" ||
            { echo "no status $name $number" && missing=1; }
    done < <(sed -nE 's/^#define (HV_STATUS_[A-Z_]+) +\(\(HV_STATUS\)(0x[0-9A-F]+)\)/\1 \2/p' \
        "$source_directory/include/hvapi/hvgdk.h")
    while read -r figure; do
        grep -qE -e "\b$figure\b" <<<"$(section hvapi.3 FIGURES)" ||
            { echo "no figure $figure" && missing=1; }
    done < <(sed -nE '/^typedef struct/,/^\}/s/^ +uint64_t ([a-z0-9_]+);.*/\1/p' \
        "$source_directory/include/hvapi/hvapi.h")
    return "$missing"
}

# The literal blocks of $1 that begin with $2, into the files $scratch/$1.block.N.
blocks()
{
    awk -v begin="    $2" -v stem="$scratch/$1.block." '
        inside && /^[^ ]/ { inside = 0 }
        /^[^ ].*::$|^::$/ { ahead = 1; next }
        ahead && NF { inside = index($0, begin) == 1; count += inside; ahead = 0 }
        inside { sub(/^    /, ""); print > (stem count) }
    ' "$source_directory/man/$1.rst"
}

# The last one, as a reader would copy it.
example_compiles()
{
    local files
    blocks hvapi.3 '#include'
    files=("$scratch"/hvapi.3.block.*)
    cp "${files[-1]}" "$scratch/example.c"
    grep -q '^int main' "$scratch/example.c" || { echo 'there is no program' && return 1; }
    "${CC:-cc}" -std=c11 -Wall -Wextra -Werror -I"$source_directory/include" -fsyntax-only \
        "$scratch/example.c"
}

json_examples()
{
    local file page
    for page in hvtimerd.json.5 hvtimer-choosing.7; do
        blocks "$page" '{'
        for file in "$scratch/$page".block.*; do
            "$hvtimerd" --check-config --config "$file" || { cat "$file" && return 1; }
        done
    done
}

echo "TAP version 13"
for name in "${pages[@]}"; do
    check "$name: mandoc has nothing to say" mandoc_lint "$name"
    check "$name: man has nothing to say" groff_lint "$name"
    check "$name: nothing is left over" no_leftovers "$name"
    check "$name: fits into 80 columns" fits "$name"
    check "$name: has its sections" sections "$name"
    check "$name: its references are to pages that there are" references "$name"
done
check 'hvtimerctl(1) has every verb' all_verbs
check 'hvtimerctl(1) has every option of every verb' all_options
check 'hvtimerctl(1) has every exit status' exit_statuses
check 'hvtimerd(8) has every option' daemon_options
check 'hvtimerd.json(5) has every key' all_keys
check 'hvtimerd.json(5), hvtimer-choosing(7): their examples are valid' json_examples
check 'hvapi(3) has every function' all_functions
check 'hvapi(3) has every status and figure' all_statuses
check 'hvapi(3): its program compiles' example_compiles
echo "1..$tests"
exit $((failures != 0))
