# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For tests on a machine that is emulated, because this one may lack the hardware: its packages, its
# kernel and its initramfs. To be sourced by check-*.sh, under `set -euo pipefail`.
#
#   emulated_skip REASON...         ends the test: it can't be run here. Status 77; 1 if
#                                   HVTIMER_TEST_NO_SKIP=1.
#   emulated_need PACKAGE...        installs what is missing of these Debian packages, or skips.
#   emulated_kernel DIR             Debian's newest kernel for clouds, unpacked in DIR, unless one
#                                   is there already; or skips. All tests of a build tree have the
#                                   same DIR: tests/emulated in it. Sets KERNEL_IMAGE,
#                                   KERNEL_VERSION, KERNEL_MODULES (where modules.dep is).
#   initramfs_begin DIR             a new root in DIR: busybox with its applets, directories.
#   initramfs_program FILE [NAME]   a program, and its shared libraries where they are here. It goes
#                                   to NAME, or to /bin/NAME if that has no slash; without NAME to
#                                   where it is if that is in /usr, to /bin otherwise. Of a libtool
#                                   wrapper it is what that runs.
#   initramfs_file SOURCE TARGET    any file, with its mode.
#   initramfs_modules MODULE...     modules of emulated_kernel's, and those that they need, for
#                                   modprobe.
#   initramfs_end FILE              the root as an initramfs. /init runs on /dev/console.

# ---- packages ----

emulated_skip()
{
    if [[ ${HVTIMER_TEST_NO_SKIP-} == 1 ]]; then
        echo "FAIL: $*"
        exit 1
    fi
    echo "SKIP: $*"
    exit 77
}

emulated_sudo=()
((EUID == 0)) || emulated_sudo=(sudo -n)

emulated_need()
{
    local package missing=()

    command -v dpkg-query >/dev/null || emulated_skip "this is no Debian: it needs its packages $*"
    for package; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    echo "installing ${missing[*]}"
    # shellcheck disable=SC2015 # either may fail
    "${emulated_sudo[@]}" apt-get update -qq >/dev/null &&
        "${emulated_sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            -o DPkg::Lock::Timeout=120 --no-install-recommends "${missing[@]}" >/dev/null ||
        emulated_skip "can't install ${missing[*]}: do it as root (apt-get install), then try again"
}

# ---- the kernel ----

kernel_package()
{
    apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-cloud-amd64-unsigned$' |
        cut -d ' ' -f 1 | sort -V | tail -n 1
}

# Into $1, which appears at once and complete.
fetch_kernel()
{
    local directory=$1 fresh=$1.new package version

    package=$(kernel_package)
    # Lists of packages may be missing, or so old that what they name is there no more.
    download "$package" "$fresh" || {
        "${emulated_sudo[@]}" apt-get update -qq >/dev/null
        package=$(kernel_package)
        download "$package" "$fresh" || return 1
    }
    dpkg-deb -x "$fresh"/*.deb "$fresh/root"
    rm "$fresh"/*.deb
    version=$(basename "$fresh"/root/lib/modules/*)
    busybox depmod -b "$fresh/root" "$version"
    rm -rf "$directory"
    mv "$fresh" "$directory"
}

download()
{
    [[ -n $1 ]] || return 1
    echo "fetching $1"
    rm -rf "$2"
    mkdir -p "$2/root"
    (cd "$2" && apt-get download -qq "$1" &>/dev/null)
}

emulated_kernel()
{
    local directory=$1/kernel

    emulated_need busybox-static
    mkdir -p "$1"
    # Two tests may come for it at a time.
    {
        flock 9
        [[ -d $directory ]] || fetch_kernel "$directory" ||
            emulated_skip "can't download Debian's package linux-image-6.1.0-*-cloud-amd64-unsigned"
    } 9>"$1/kernel.lock"
    KERNEL_VERSION=$(basename "$directory"/root/lib/modules/*)
    KERNEL_MODULES=$directory/root/lib/modules/$KERNEL_VERSION
    # shellcheck disable=SC2034 # for who sources this
    KERNEL_IMAGE=$directory/root/boot/vmlinuz-$KERNEL_VERSION
}

# ---- the initramfs ----

initramfs_begin()
{
    local directory applet

    emulated_need busybox-static cpio
    initramfs_root=$1
    rm -rf "$initramfs_root"
    mkdir -p "$initramfs_root"/{dev,proc,sys,run,tmp,root,etc,var/lib} \
        "$initramfs_root"/usr/{bin,sbin,lib,lib64,libexec,share}
    chmod 1777 "$initramfs_root/tmp"
    for directory in bin sbin lib lib64; do
        ln -s "usr/$directory" "$initramfs_root/$directory"
    done
    ln -s ../run "$initramfs_root/var/run"
    cp "$(command -v busybox)" "$initramfs_root/bin/busybox"
    for applet in $(busybox --list); do
        [[ $applet == busybox ]] || ln -s busybox "$initramfs_root/bin/$applet"
    done
}

# Over a link to busybox it must come in its place.
initramfs_file()
{
    mkdir -p "$initramfs_root/$(dirname "$2")"
    cp --dereference --remove-destination "$1" "$initramfs_root/$2"
}

initramfs_binary()
{
    initramfs_file "$1" "$2"
    chmod u+w "$initramfs_root/$2"
    strip "$initramfs_root/$2" 2>/dev/null || true
}

# The shared libraries of $1, each as "FILE TARGET". Those that are not the system's, but of a build
# tree, come to where the loader looks anyway.
libraries_of()
{
    local name arrow path rest

    # Of a program without any, ldd says that in a way of its own.
    { ldd "$1" 2>/dev/null || true; } | while read -r name arrow path rest; do
        [[ $arrow == '=>' ]] || path=$name # the loader
        [[ $path != not ]] || { echo "$1 lacks $name" >&2; return 1; }
        case $path in
            /lib/* | /lib64/* | /usr/lib/*) echo "$path $path" ;;
            /*) echo "$path /usr/lib/$(basename "$path")" ;;
        esac
    done
}

initramfs_program()
{
    local file target=${2-} library where libraries
    local LD_LIBRARY_PATH=${LD_LIBRARY_PATH-}

    file=$(realpath -s "$(command -v "$1")")
    [[ -n $target || $file == /usr/* ]] || target=$(basename "$file")
    [[ $target == */* ]] || target=${target:+/bin/$target}
    target=${target:-$file}
    if grep -qsaF 'Generated by libtool' "$file"; then
        LD_LIBRARY_PATH=$(sed -n 's/^ *LD_LIBRARY_PATH="\([^$"]*\).*/\1/p' "$file" | head -n 1)
        file=$(dirname "$file")/.libs/$(basename "$file")
    fi
    export LD_LIBRARY_PATH
    initramfs_binary "$file" "$target"
    libraries=$(libraries_of "$file") || return 1
    while read -r library where; do
        [[ -z $library || -e $initramfs_root/$where ]] || initramfs_binary "$library" "$where"
    done <<<"$libraries"
}

# The line of modules.dep for a module, by its name: in names - and _ are the same.
module_line()
{
    grep -E "(^|/)${1//[-_]/[-_]}\.ko[^/:]*:" "$KERNEL_MODULES/modules.dep"
}

initramfs_modules()
{
    local modules=$initramfs_root/lib/modules/$KERNEL_VERSION module line file name

    mkdir -p "$modules"
    touch "$modules/modules.dep"
    for module; do
        line=$(module_line "$module") || {
            echo "Debian's kernel $KERNEL_VERSION has no module $module" >&2
            return 1
        }
        file=${line%%:*}
        [[ -e $modules/$file ]] && continue
        mkdir -p "$(dirname "$modules/$file")"
        # Linux looks each of its functions up among all symbols, one after the other.
        strip --strip-unneeded -R .BTF -o "$modules/$file" "$KERNEL_MODULES/$file"
        echo "$line" >>"$modules/modules.dep"
        for file in ${line#*:}; do
            name=$(basename "$file")
            initramfs_modules "${name%%.ko*}"
        done
    done
}

# A character device as an entry of a cpio archive: who may not make one can still write this.
cpio_device()
{
    local name=$1 major=$2 minor=$3 i

    printf '070701'
    printf '%08x' 0 $((8#20600)) 0 0 1 0 0 0 0 "$major" "$minor" $((${#name} + 1)) 0
    printf '%s' "$name"
    # The name ends with a zero; the whole, a header of 110 bytes and the name, at a multiple of 4.
    for ((i = 110 + ${#name}; i < (110 + ${#name} + 4) / 4 * 4; i++)); do
        printf '\0'
    done
}

initramfs_end()
{
    {
        (cd "$initramfs_root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R +0:+0)
        cpio_device dev/console 5 1
        cpio_device dev/null 1 3
        printf '' | cpio --quiet -o -H newc
    } >"$1"
}
