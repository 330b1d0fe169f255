# SPDX-License-Identifier: LGPL-2.1-or-later
# bench-calls: calls.dat as calls.svg, stalls.dat as stall.svg.
set datafile separator "\t"
set datafile columnheaders
set terminal svg size 900,480 dynamic enhanced font "sans,13" background "white"
set grid ytics

set output "calls.svg"
set title "Round trips on the bus"
set ylabel "{/Symbol m}s"
set yrange [0:*]
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.8 border -1
set xtics rotate by -25 left
set bmargin 9
set rmargin 16
set key top left
plot "calls.dat" using 4:xtic(sprintf("%s (%s)", strcol(1), strcol(2))) title "p50", \
     "" using 5 title "p99"

reset
set datafile separator "\t"
set datafile columnheaders
set grid
set output "stall.svg"
set title "How long a VM stands still"
set xlabel "{/Symbol m}s"
set ylabel "of all, %"
set yrange [0:100]
set xrange [0:1000]
set key bottom right
set arrow from 300, graph 0 to 300, graph 1 nohead dashtype 2
series = '"pin, attach, idle" "lapic, attach, idle" "pin, attach, every CPU busy" \
    "lapic, attach, every CPU busy"'
plot for [s in series] "stalls.dat" using (strcol(1) eq s ? $2 : NaN):3 with lines \
     linewidth 2 title s
