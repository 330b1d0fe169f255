# How many ticks were not later, by file lateness-curves.dat.
set terminal svg size 1000,420 dynamic font "sans,11" background "white"
set output "lateness.svg"
set datafile separator "\t"
set key bottom right font ",9"
set logscale x
set xlabel "late, us"
set ylabel "%"
set grid
file = "lateness-curves.dat"
curve(name) = sprintf("< awk -F'\\t' -v c='%s' '$1 == c {print $2 \"\\t\" $3}' %s", name, file)
set multiplot layout 1,2
do for [cpus in "idle busy"] {
    set title sprintf("1 partition, CPUs %s", cpus)
    plot curve("cyclictest, 1 ".cpus) using 1:2 with lines lw 2 title "cyclictest", \
         curve("engine wake-up, 1 ".cpus) using 1:2 with linespoints lw 2 pt 7 ps 0.4 title "engine wake-up", \
         curve("guest: handler, 1 ".cpus) using 1:2 with lines lw 2 title "guest's handler, by hvtimer", \
         curve("guest: QEMU'\"'\"'s RTC, handler, 1 ".cpus) using 1:2 with lines lw 2 title "guest's handler, by QEMU's RTC"
}
unset multiplot
