/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For check-vmx: asks hvtimerd for one partition's figures, and disables its timer, without a
 * process having to start just then, which takes a good deal of the one processor from the guest.
 *
 *     vmx-client PARTITION
 *
 * Prints "ready"; then, for each line it reads, the figures, as KEY=VALUE.
 */
#include "hvapi/hvapi.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <signal.h>

static void check(HV_STATUS status, const char *what)
{
    if (status != HV_STATUS_SUCCESS) {
        fprintf(stderr, "vmx-client: %s: %s: %s\n", what, hvapi_status_name(status),
                hvapi_last_error());
        exit(1);
    }
}

static void print_ticks(HV_PARTITION_ID id)
{
    hvapi_statistics s;

    check(hvapi_get_statistics(id, &s), "reading the figures");
    printf("due=%" PRIu64 " injected=%" PRIu64 " acknowledged=%" PRIu64 " in_flight=%" PRIu64
           " backlog=%" PRIu64 " skipped=%" PRIu64 "\n",
           s.due, s.injected, s.acknowledged, s.in_flight, s.backlog, s.skipped);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    HV_PARTITION_ID id;
    char line[16];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc != 2) {
        fputs("vmx-client: give it one partition\n", stderr);
        return 2;
    }
    check(hvapi_lookup_partition(argv[1], &id), argv[1]);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        print_ticks(id);
    }
    return 0;
}
