/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hvtimerd's command line: see options.h. */
#include "daemon/options.h"

/* As the key "libvirt" of the configuration has it. */
static gboolean check_libvirt(const char *uri, GError **error)
{
    if (uri != NULL && !g_str_equal(uri, "none") && !g_uri_is_valid(uri, G_URI_FLAGS_NONE, NULL)) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--libvirt: '%s' is not the URI of a libvirt connection; give one, such as "
                    "qemu:///system, or none",
                    uri);
        return FALSE;
    }
    return TRUE;
}

gboolean options_parse(struct options *ret_options, int argc, char **argv, GError **error)
{
    struct options *o = ret_options;
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &o->config_file,
         "Configuration (" SYSCONFDIR "/hvtimer/hvtimerd.json)", "FILE"},
        {"bus", 'b', 0, G_OPTION_ARG_STRING, &o->bus, "Bus to serve (system)",
         "system|session|ADDRESS"},
        {"libvirt", 'l', 0, G_OPTION_ARG_STRING, &o->libvirt,
         "libvirt connection whose domains to serve", "URI|none"},
        {"check-config", 0, 0, G_OPTION_ARG_NONE, &o->check_config,
         "Check the configuration, and end", NULL},
        {"version", 'V', 0, G_OPTION_ARG_NONE, &o->version, "Print the version, and end", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("- Hyper-V's periodic timer assist for KVM guests");

    *o = (struct options){0};
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error)) {
        return FALSE;
    }
    if (argc > 1) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION,
                    "\"%s\" is not an option; --help shows them", argv[1]);
        return FALSE;
    }
    return check_libvirt(o->libvirt, error);
}

void options_clear(struct options *options)
{
    g_free(options->config_file);
    g_free(options->bus);
    g_free(options->libvirt);
}
