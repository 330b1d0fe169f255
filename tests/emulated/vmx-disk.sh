# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# The disk that Bochs boots Linux from: vmx-boot.S, and behind it what that loads, in units of 128
# KiB. To be sourced.
#
#   make_boot_disk DISK BOOT_SECTOR KERNEL INITRAMFS COMMAND_LINE

disk_unit=$((128 * 1024))
disk_sector=512
disk_table=$((0x1be)) # in the boot sector
# A disk is whole cylinders: heads, sectors, bytes.
disk_cylinder=$((16 * 32 * disk_sector))

# Where things go in memory: the real-mode part with the command line behind it, the kernel, where
# its header says by default; the initramfs, out of the way of the kernel once that is unpacked.
setup_at=$((0x10000))
setup_command_line=$((0xe000))
kernel_at=$((0x100000))
initramfs_at=$((0x8000000))

# The number $2 as $1 bytes, the lowest one first.
little_endian()
{
    local i value=$2

    for ((i = 0; i < $1; i++)); do
        # shellcheck disable=SC2059 # the byte is the format
        printf "\\x$(printf %02x $((value & 255)))"
        value=$((value >> 8))
    done
}

# poke FILE OFFSET BYTES NUMBER
poke()
{
    little_endian "$3" "$4" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Of a file, rounded up.
units_of()
{
    echo $((($(stat -c %s "$1") + disk_unit - 1) / disk_unit))
}

# Puts $2 at the end of the disk $1, to be loaded to $3, and prints what the table says of it.
add_piece()
{
    local at

    at=$(units_of "$1")
    dd if="$2" of="$1" bs=$disk_unit seek="$at" status=none
    little_endian 4 $((at * disk_unit / disk_sector))
    little_endian 4 "$(units_of "$2")"
    little_endian 4 "$3"
}

# Offsets and values are those of Linux's Documentation/x86/boot.rst, "The Real-Mode Kernel Header".
make_boot_disk()
{
    local disk=$1 boot_sector=$2 kernel=$3 initramfs=$4 line=$5
    local setup=$1.setup rest=$1.kernel table=$1.table size

    size=$(od -An -tu1 -j $((0x1f1)) -N 1 "$kernel")
    size=$(((size + 1) * disk_sector))
    head -c "$size" "$kernel" >"$setup"
    tail -c "+$((size + 1))" "$kernel" >"$rest"
    poke "$setup" $((0x210)) 1 255                               # type_of_loader: undefined
    poke "$setup" $((0x211)) 1 $((0x81))                         # loadflags: high, with a heap
    poke "$setup" $((0x218)) 4 $initramfs_at                     # ramdisk_image
    poke "$setup" $((0x21c)) 4 "$(stat -c %s "$initramfs")"      # ramdisk_size
    poke "$setup" $((0x224)) 2 $((setup_command_line - 0x200))   # heap_end_ptr
    poke "$setup" $((0x228)) 4 $((setup_at + setup_command_line)) # cmd_line_ptr
    truncate -s $setup_command_line "$setup"
    printf '%s\0' "$line" >>"$setup"

    cp "$boot_sector" "$disk"
    {
        add_piece "$disk" "$setup" $setup_at
        add_piece "$disk" "$rest" $kernel_at
        add_piece "$disk" "$initramfs" $initramfs_at
    } >"$table"
    dd if="$table" of="$disk" bs=1 seek=$disk_table conv=notrunc status=none
    truncate -s "%$disk_cylinder" "$disk"
    rm "$setup" "$rest" "$table"
}
