/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hvtimerd's life cycle: options -> configuration -> engine -> bus -> sources -> loop, and the
 * reverse. The parts are put together in daemon.c.
 */
#include "daemon/daemon.h"

#include <locale.h>
#include <stdlib.h>

static int run(const struct options *options, GError **error)
{
    if (options->version) {
        g_print("hvtimerd %s\n", PACKAGE_VERSION);
        return EXIT_SUCCESS;
    }
    if (options->check_config) {
        return daemon_check_config(options, error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    struct daemon *daemon = daemon_new(options, error);
    gboolean ok = daemon != NULL && daemon_run(daemon, error);
    daemon_free(daemon);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct options options;
    g_autoptr(GError) error = NULL;
    int status = 2; /* usage */

    setlocale(LC_CTYPE, ""); /* names are logged in the user's character set */
    g_set_prgname("hvtimerd");
    g_log_writer_default_set_use_stderr(TRUE); /* under systemd that is the journal */
    if (options_parse(&options, argc, argv, &error)) {
        status = run(&options, &error);
    }
    if (error != NULL) {
        g_printerr("hvtimerd: %s\n", error->message);
    }
    options_clear(&options);
    return status;
}
