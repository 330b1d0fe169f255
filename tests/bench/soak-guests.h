/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guests of a soak, and what they themselves say: two that are given ticks, by a borrowed pin
 * and by a leased timer, and four that keep time by counting those of their RTC.
 */
#pragma once

#include "tests/bench/soak.h"

/* Starts them; hvtimerd is there. */
void soak_guests_up(struct soak *soak);
/* Not one of them may have met an exception. */
void soak_guests_down(struct soak *soak);

/* What is asked of hvtimerd for each of them; it keeps that. FALSE: something was refused. */
gboolean soak_guests_enable(struct soak *soak);
/* It is in force: after a restart, too. FALSE: not within reason. */
gboolean soak_guests_await(struct soak *soak);

/* All is well: ledgers are opened, references taken. */
void soak_guests_begin(struct soak *soak);
/* The disturbances are over: they catch up, and what they say is judged. */
void soak_guests_judge(struct soak *soak);
/* The last word: nothing ticks any more. */
void soak_guests_judge_end(struct soak *soak);

/* Its vector, or its RTC. */
guint32 soak_guest_counted(const struct soak_guest *guest);
