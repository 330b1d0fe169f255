/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A configuration in a directory of its own: see config-files.h. */
#include "tests/support/config-files.h"

#include <glib/gstdio.h>
#include <string.h>

void config_files_set_up(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->directory = g_dir_make_tmp("hvtimer-test-config-XXXXXX", &error);
    g_assert_no_error(error);
    f->path = g_build_filename(f->directory, "hvtimerd.json", NULL);
    f->drop_ins = g_build_filename(f->directory, "hvtimerd.d", NULL);
    g_assert_cmpint(g_mkdir(f->drop_ins, 0700), ==, 0);
}

void config_files_remove(const char *path)
{
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        g_unlink(child);
    }
    g_rmdir(path);
}

void config_files_tear_down(struct config_files *f, G_GNUC_UNUSED gconstpointer data)
{
    config_files_remove(f->drop_ins);
    config_files_remove(f->directory);
    g_assert_false(g_file_test(f->directory, G_FILE_TEST_EXISTS));
    g_free(f->directory);
    g_free(f->drop_ins);
    g_free(f->path);
}

void config_files_write_bytes(const char *path, const char *bytes, gsize length)
{
    g_autoptr(GError) error = NULL;

    g_file_set_contents(path, bytes, (gssize)length, &error);
    g_assert_no_error(error);
}

void config_files_write(struct config_files *f, const char *text)
{
    config_files_write_bytes(f->path, text, strlen(text));
}

void config_files_write_drop_in(struct config_files *f, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(f->drop_ins, name, NULL);

    config_files_write_bytes(path, text, strlen(text));
}

struct config *config_files_load(struct config_files *f)
{
    g_autoptr(GError) error = NULL;
    struct config *config = config_load(f->path, TRUE, &error);

    g_assert_no_error(error);
    g_assert_nonnull(config);
    return config;
}

void config_files_assert_refused(struct config_files *f, GQuark domain, int code, const char *first,
                                 const char *second)
{
    g_autoptr(GError) error = NULL;
    struct config *config = config_load(f->path, TRUE, &error);

    g_assert_null(config);
    g_assert_error(error, domain, code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, first));
    g_assert_nonnull(strstr(error->message, second));
}
