# SPDX-License-Identifier: LGPL-2.1-or-later
# bench-lost: lost-drawn.dat as lost.svg, lost-time.dat as lost-time.svg.
set datafile separator "\t"
set datafile columnheaders
set datafile missing "-"
set terminal svg size 1000,520 dynamic enhanced font "sans,13" background "white"
set output "lost.svg"
set title "Ticks lost in the end (below 0: gained)"

# By orders of magnitude, on both sides of zero.
height(n) = sgn(n) * log10(1 + abs(n))
# A stump, where there is nothing to be seen.
stump(n) = n == 0 ? 0.03 : height(n)

stats "lost-drawn.dat" using 3 nooutput
rows = STATS_max + 1
stats "lost-drawn.dat" using 0 nooutput
groups = floor((STATS_records + rows - 1) / rows)
place(row, who) = floor(row / rows) + (who + 0.5) / rows * 0.84 - 0.42

set style fill solid 0.85 border -1
set boxwidth 0.84 / rows * 0.9
set xrange [-0.5:groups - 0.5]
set yrange [*<-0.6:4.6]
set ytics ("-10000" -4, "-1000" -3, "-100" -2.0043, "-10" -1.0414, "0" 0, "10" 1.0414, \
    "100" 2.0043, "1000" 3, "10000" 4)
set grid ytics
set xzeroaxis linetype -1
set key outside right top
set bmargin 3
set for [g = 0:groups - 1] xtics (" " g)
# hvtimer's in greens, the others' not.
array colors[8] = ["#1b7837", "#41ab5d", "#78c679", "#004529", "#b2182b", "#ef8a62", "#2166ac", "#67a9cf"]
titles = "'hvtimer pin' 'hvtimer lapic' 'hvtimer msi' 'hvtimer rtc' 'QEMU RTC none' 'QEMU RTC slew' \
'KVM PIT reinject' 'KVM PIT discard'"
plot for [w = 1:8] "lost-drawn.dat" using (strcol(2) eq word(titles, w) ? place($0, $3) : NaN):(stump($4)) \
         with boxes linecolor rgb colors[w] title word(titles, w), \
     "" using (place($0, $3)):(stump($4) + (height($4) < 0 ? -0.15 : 0.15)):(strcol(4)) with labels font ",10" \
         notitle, \
     "" using (floor($0 / rows)):(NaN):xtic(strcol(1)) notitle

reset
set datafile separator "\t"
set datafile columnheaders
set datafile missing "-"
set output "lost-time.svg"
set title "A guest's clock through stops of 150 ms in every 500 ms"
set xlabel "s"
set ylabel "ahead of the host's clock, ms"
set grid
set key bottom left
plot "lost-time.dat" using 1:2 with lines linewidth 2 linecolor rgb "#b2182b" title "QEMU RTC, none", \
     "" using 1:3 with lines linewidth 2 linecolor rgb "#ef8a62" title "QEMU RTC, slew", \
     "" using 1:4 with lines linewidth 2 linecolor rgb "#004529" title "hvtimer rtc"
