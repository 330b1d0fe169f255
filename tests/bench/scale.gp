# The cost of a tick by the number of partitions, and of supervised ones: files scale.dat, scale-supervised.dat.
set terminal svg size 1000,420 dynamic font "sans,11" background "white"
set output "scale.svg"
set datafile separator "\t"
set key autotitle columnhead
set logscale xy
set xlabel "partitions"
set grid
rows(threads, window) = sprintf("< awk -F'\\t' '$2 == 1024 && $3 == %d && $4 == %d' scale.dat", threads, window)
set multiplot layout 1,2
set key top right font ",9" noautotitle
set title "CPU time of a tick at 1024 Hz"
set ylabel "bare eventfd writes"
plot rows(1, 0) using 1:7 with linespoints lw 2 title "a wake-up for each deadline", \
     rows(1, 50) using 1:7 with linespoints lw 2 title "window of 50 us", \
     rows(2, 50) using 1:7 with linespoints lw 2 title "the same, 2 threads", \
     3 with lines dt 2 lc "gray" title "bar at 1000"
set title "CPU"
set ylabel "% of one"
plot rows(1, 0) using 1:6 with linespoints lw 2 title "paced, 1024 Hz", \
     rows(1, 50) using 1:6 with linespoints lw 2 title "paced, window of 50 us", \
     "< tail -n +2 scale-supervised.dat" using 1:2 with linespoints lw 2 title "supervised, 1024 Hz"
unset multiplot
