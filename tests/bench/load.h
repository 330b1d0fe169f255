/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Something for every CPU to do. */
#pragma once

struct load;

/* As many busy processes of ordinary priority as there are CPUs; they end with this one. */
struct load *load_start(void);
void load_stop(struct load *load); /* nullable */
