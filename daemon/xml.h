/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XML of whoever may edit a domain, read with libxml2: bounded in size (and by libxml2 in depth),
 * nothing is loaded or expanded for its sake, and libxml2 has nothing to say on stderr.
 */
#pragma once

#include <glib.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

/* @what: the document in errors, as "<assist>". @most: bytes. @length: of @xml in bytes; no NUL
 * needs to follow. NULL with G_MARKUP_ERROR. (transfer full) */
xmlDoc *xml_load(const char *what, const char *xml, gsize length, gsize most, GError **error);

#define XML_EXCERPT_MAX 80 /* characters */

/* As much of foreign text as an error and a line of a log can bear. (transfer full) */
char *xml_excerpt(const char *text);
