/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest's port accesses mean, for the RTC and the PIT: in rows worked out by hand, in the
 * way of Windows, and at random against models that are written in another way.
 */
#include "daemon/base-timer/pit-ports.h"
#include "daemon/base-timer/rtc-ports.h"

#include <glib.h>

#define OUT(port_, value_)                   \
    {                                        \
        .access = { 0, port_, true, value_ } \
    }
#define IN(port_, value_)                     \
    {                                         \
        .access = { 0, port_, false, value_ } \
    }
#define RATE(port_, value_, length_)                                                        \
    {                                                                                       \
        .access = {0, port_, true, value_}, .event = { BASE_EVENT_RATE, 0, length_, false } \
    }
#define RATE_IN(port_, value_, length_)                                                      \
    {                                                                                        \
        .access = {0, port_, false, value_}, .event = { BASE_EVENT_RATE, 0, length_, false } \
    }
#define HANDLED(value_, pending_)                                                           \
    {                                                                                       \
        .access = {0, 0x71, false, value_}, .event = { BASE_EVENT_HANDLED, 0, 0, pending_ } \
    }
#define CLOCK_SET(value_)                                                                 \
    {                                                                                     \
        .access = {0, 0x71, true, value_}, .event = { BASE_EVENT_CLOCK_SET, 0, 0, false } \
    }

/* An access, and what it means. */
struct row {
    struct port_access access;
    struct base_event event;
};

static void assert_event(const struct base_event *event, const struct base_event *expected,
                         uint64_t time_ns, unsigned row)
{
    if (event->kind != expected->kind || event->length != expected->length ||
        event->pending != expected->pending || event->time_ns != time_ns) {
        g_error("row %u: kind %d, length %u, pending %d; expected %d, %u, %d", row,
                (int)event->kind, event->length, event->pending, (int)expected->kind,
                expected->length, expected->pending);
    }
}

static void play_rtc(struct rtc_ports *ports, const struct row *rows, unsigned n_rows)
{
    for (unsigned i = 0; i < n_rows; i++) {
        struct port_access access = rows[i].access;
        struct base_event event = {.length = 0x5a5a5a5a, .pending = true};
        access.time_ns = 1000 + i;
        rtc_ports_access(ports, &access, &event);
        assert_event(&event, &rows[i].event, 1000 + i, i);
    }
}
#define PLAY_RTC(ports, ...)                           \
    play_rtc(ports, (const struct row[]){__VA_ARGS__}, \
             G_N_ELEMENTS(((const struct row[]){__VA_ARGS__})))

/* ---- The RTC ---- */

static void test_rtc_start(void)
{
    struct rtc_ports ports;

    /* The trace begins between the two accesses: nobody knows to which register. */
    rtc_ports_init(&ports);
    PLAY_RTC(&ports, OUT(0x71, 0x40), IN(0x71, 0xc0), IN(0x70, 0x0b), OUT(0x71, 0x40));

    /* Off is known from B alone; on takes A as well. */
    rtc_ports_init(&ports);
    PLAY_RTC(&ports, OUT(0x70, 0x0b), RATE(0x71, 0x02, 0), OUT(0x71, 0x82), OUT(0x71, 0x42),
             OUT(0x70, 0x0a), RATE(0x71, 0x26, 32));

    /* Without a rate there are none either, whatever B is. */
    rtc_ports_init(&ports);
    PLAY_RTC(&ports, OUT(0x70, 0x0a), RATE(0x71, 0x20, 0), OUT(0x71, 0x26), OUT(0x70, 0x0b),
             RATE(0x71, 0x42, 32));

    /* A first; bit 7 of the index is not of the index. */
    rtc_ports_init(&ports);
    PLAY_RTC(&ports, OUT(0x70, 0x8a), OUT(0x71, 0x2a), OUT(0x70, 0x8b), RATE(0x71, 0x42, 512));

    /* What is read tells as well: as of guests that change one bit of what there is. */
    rtc_ports_init(&ports);
    PLAY_RTC(&ports, OUT(0x70, 0x0a), IN(0x71, 0xa6), OUT(0x70, 0x0b), RATE_IN(0x71, 0x02, 0),
             RATE(0x71, 0x42, 32), IN(0x71, 0x42));
}

static void test_rtc_changes(void)
{
    struct rtc_ports ports;

    rtc_ports_init(&ports);
    PLAY_RTC(&ports, OUT(0x70, 0x0a), OUT(0x71, 0x26), OUT(0x70, 0x0b), RATE(0x71, 0x42, 32),
             /* other bits; the same again */
             OUT(0x71, 0xf2), OUT(0x71, 0x7a), OUT(0x71, 0x42), OUT(0x70, 0x0a), OUT(0x71, 0x76),
             OUT(0x71, 0x26), RATE(0x71, 0x2f, 16384), OUT(0x71, 0x7f),
             /* off: a rate is then no news until it is on */
             OUT(0x70, 0x0b), RATE(0x71, 0x02, 0), OUT(0x71, 0x82), OUT(0x70, 0x0a),
             OUT(0x71, 0x23), OUT(0x70, 0x0b), RATE(0x71, 0x42, 4),
             /* no rate */
             OUT(0x70, 0x0a), RATE(0x71, 0x20, 0), OUT(0x71, 0x70), RATE(0x71, 0x21, 128),
             OUT(0x71, 0x28), RATE(0x71, 0x22, 256), OUT(0x71, 0x29),
             /* on the way to other ports and registers */
             OUT(0x72, 0x0b), OUT(0x73, 0), OUT(0x40, 0), OUT(0x70, 0x0d), OUT(0x71, 0),
             OUT(0x70, 0x0c), OUT(0x71, 0), OUT(0x70, 0x2a), OUT(0x71, 0x26), OUT(0x70, 0x7f),
             OUT(0x71, 0));
}

/* Each rate code: 32768 Hz >> (code - 1), but for 0, 1 and 2. MC146818 data sheet, table 5. */
static void test_rtc_rates(void)
{
    static const unsigned hz[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                    256, 128, 64,  32,   16,   8,    4,    2};

    for (unsigned code = 0; code < 16; code++) {
        struct rtc_ports ports;
        struct base_event event;
        struct port_access access = {0, 0x71, true, (uint8_t)(0x20 | code)};

        rtc_ports_init(&ports);
        PLAY_RTC(&ports, OUT(0x70, 0x0b), OUT(0x71, 0x42), OUT(0x70, 0x0a));
        rtc_ports_access(&ports, &access, &event);
        g_assert_cmpint(event.kind, ==, BASE_EVENT_RATE);
        g_assert_cmpuint(event.length, ==, hz[code] == 0 ? 0 : RTC_CLOCK_HZ / hz[code]);
    }
}

static void test_rtc_handled(void)
{
    struct rtc_ports ports;

    rtc_ports_init(&ports);
    PLAY_RTC(&ports, OUT(0x70, 0x0c), HANDLED(0xc0, true), HANDLED(0x00, false),
             HANDLED(0x90, false), HANDLED(0x40, true), OUT(0x71, 0xff), OUT(0x70, 0x8c),
             HANDLED(0xf0, true), OUT(0x70, 0x0d), IN(0x71, 0x80), OUT(0x70, 0x0b));
}

static void test_rtc_clock_set(void)
{
    static const gboolean of_the_clock[128] = {
        [0] = TRUE, [2] = TRUE, [4] = TRUE, [7] = TRUE, [8] = TRUE, [9] = TRUE};
    struct rtc_ports ports;

    rtc_ports_init(&ports);
    for (unsigned i = 0; i < 128; i++) {
        const struct row rows[] = {OUT(0x70, (uint8_t)i), IN(0x71, 0x12)};
        if (i >= 0x0a && i <= 0x0c) {
            continue;
        }
        play_rtc(&ports, rows, 2);
        if (of_the_clock[i]) {
            PLAY_RTC(&ports, CLOCK_SET(0x12), CLOCK_SET(0x12), IN(0x71, 0x12));
        } else {
            PLAY_RTC(&ports, OUT(0x71, 0x12));
        }
    }
}

static void test_rtc_reset(void)
{
    struct rtc_ports ports;

    /* Nothing was known: as QEMU starts. */
    rtc_ports_init(&ports);
    rtc_ports_reset(&ports);
    PLAY_RTC(&ports, OUT(0x71, 0x42), OUT(0x70, 0x0b), OUT(0x71, 0x02), RATE(0x71, 0x42, 32));

    /* B's interrupts are off, and A is what it was, as is the register selected. */
    PLAY_RTC(&ports, OUT(0x70, 0x0a), RATE(0x71, 0x2a, 512));
    rtc_ports_reset(&ports);
    PLAY_RTC(&ports, OUT(0x71, 0x2b), OUT(0x71, 0x2a));
    rtc_ports_reset(&ports);
    PLAY_RTC(&ports, OUT(0x70, 0x0b), OUT(0x71, 0x06), RATE(0x71, 0x42, 512));

    /* A was never seen. */
    rtc_ports_init(&ports);
    PLAY_RTC(&ports, OUT(0x70, 0x0b), OUT(0x71, 0x7a));
    rtc_ports_reset(&ports);
    g_assert_cmphex(ports.b, ==, 0x12);
    PLAY_RTC(&ports, RATE(0x71, 0x42, 32));
}

static void test_rtc_assume(void)
{
    static const uint32_t none[] = {1, 2, 3, 5, 31, 33, 24576, 32768, 65536, UINT32_MAX};
    struct rtc_ports ports;

    /* All the rates; what was assumed is no news when it is seen, and either register is enough. */
    for (uint32_t length = 4; length <= 16384; length *= 2) {
        uint8_t code = (uint8_t)(g_bit_storage(length)); /* length is 1 << (code - 1) */
        rtc_ports_init(&ports);
        rtc_ports_assume(&ports, length);
        PLAY_RTC(&ports, OUT(0x70, 0x0b), OUT(0x71, 0x42), OUT(0x70, 0x0a),
                 OUT(0x71, (uint8_t)(0x20 | code)), RATE(0x71, 0x20, 0));
        rtc_ports_init(&ports);
        rtc_ports_assume(&ports, length);
        PLAY_RTC(&ports, OUT(0x70, 0x0b), RATE(0x71, 0x02, 0), RATE(0x71, 0x42, length));
    }
    rtc_ports_init(&ports);
    rtc_ports_assume(&ports, 512);
    PLAY_RTC(&ports, OUT(0x70, 0x0a), RATE(0x71, 0x26, 32));

    /* B is on, A was not known. */
    rtc_ports_init(&ports);
    PLAY_RTC(&ports, OUT(0x70, 0x0b), OUT(0x71, 0x42));
    rtc_ports_assume(&ports, 512);
    PLAY_RTC(&ports, OUT(0x71, 0x42), RATE(0x71, 0x02, 0), RATE(0x71, 0x42, 512));

    rtc_ports_assume(&ports, 0);
    PLAY_RTC(&ports, OUT(0x71, 0x02), RATE(0x71, 0x42, 512));

    for (unsigned i = 0; i < G_N_ELEMENTS(none); i++) {
        rtc_ports_assume(&ports, none[i]);
        PLAY_RTC(&ports, OUT(0x71, 0x42));
        rtc_ports_init(&ports);
        rtc_ports_assume(&ports, none[i]);
        g_assert_false(ports.a_known || ports.b_known);
        rtc_ports_assume(&ports, 512);
        PLAY_RTC(&ports, OUT(0x70, 0x0b));
    }
}

/* A guest as Windows: 64 Hz, and 1024 Hz as long as an application asks for it, toggled between
 * ticks; every handler reads register C; now and then the clock is set. Totals must come out. */
static void test_rtc_windows(void)
{
    static const struct row fast[] = {OUT(0x70, 0x0a), IN(0x71, 0x2a), OUT(0x70, 0x0a),
                                      RATE(0x71, 0x26, 32)};
    static const struct row slow[] = {OUT(0x70, 0x0a), IN(0x71, 0xa6), OUT(0x70, 0x0a),
                                      RATE(0x71, 0x2a, 512)};
    static const struct row set[] = {
        OUT(0x70, 0x0b), OUT(0x71, 0xc2), OUT(0x70, 0x00), CLOCK_SET(0x30), OUT(0x70, 0x02),
        CLOCK_SET(0x59), OUT(0x70, 0x04), CLOCK_SET(0x23), OUT(0x70, 0x06), OUT(0x71, 0x07),
        OUT(0x70, 0x07), CLOCK_SET(0x31), OUT(0x70, 0x08), CLOCK_SET(0x12), OUT(0x70, 0x09),
        CLOCK_SET(0x99), OUT(0x70, 0x0b), OUT(0x71, 0x42)};
    static const struct row tick[] = {OUT(0x70, 0x0c), HANDLED(0xc0, true)};
    static const struct row topped_up[] = {OUT(0x70, 0x0c), HANDLED(0x00, false)};
    static const struct row begin[] = {OUT(0x70, 0x8a), OUT(0x71, 0x2a), OUT(0x70, 0x8b),
                                       RATE(0x71, 0x42, 512)};
    struct rtc_ports ports;

    rtc_ports_init(&ports);
    play_rtc(&ports, begin, G_N_ELEMENTS(begin));
    for (unsigned i = 0; i < 1000; i++) {
        play_rtc(&ports, tick, G_N_ELEMENTS(tick));
        play_rtc(&ports, i % 2 == 0 ? fast : slow, G_N_ELEMENTS(fast));
        for (unsigned j = i % 7; j > 0; j--) {
            play_rtc(&ports, topped_up, G_N_ELEMENTS(topped_up));
        }
        if (i % 50 == 0) {
            play_rtc(&ports, set, G_N_ELEMENTS(set));
        }
    }
}

/* Registers as a list of numbers, -1: not known; lengths from the frequencies. */
struct rtc_model {
    int index, registers[128];
};

static int model_length(const struct rtc_model *model)
{
    static const int lengths[16] = {0,   128, 256, 4,    8,    16,   32,   64,
                                    128, 256, 512, 1024, 2048, 4096, 8192, 16384};
    int a = model->registers[10], b = model->registers[11];

    if ((b >= 0 && !(b & 0x40)) || (a >= 0 && a % 16 == 0)) {
        return 0;
    }
    return a < 0 || b < 0 ? -1 : lengths[a % 16];
}

static struct base_event model_access(struct rtc_model *model, const struct port_access *access)
{
    struct base_event event = {.kind = BASE_EVENT_NONE};
    int before = model_length(model), after;

    if (access->port == 0x70 && access->write) {
        model->index = access->value % 128;
    }
    if (access->port != 0x71 || model->index < 0) {
        return event;
    }
    if (model->index == 12 && !access->write) {
        event = (struct base_event){BASE_EVENT_HANDLED, 0, 0, access->value / 64 % 2 == 1};
    }
    if (access->write && model->index < 10 && (1 << model->index & 0x395) != 0) {
        event.kind = BASE_EVENT_CLOCK_SET;
    }
    model->registers[model->index] = access->value;
    after = model_length(model);
    if (after != before && after >= 0) {
        event = (struct base_event){BASE_EVENT_RATE, 0, (uint32_t)after, false};
    }
    return event;
}

static uint16_t pick(GRand *random, const uint16_t *from, int n)
{
    return from[g_rand_int_range(random, 0, n)];
}

static struct port_access random_rtc_access(GRand *random)
{
    static const uint16_t ports_of[] = {0x70, 0x70, 0x70, 0x71, 0x71, 0x71, 0x72, 0x40};
    static const uint16_t indices[] = {0x0a, 0x0b, 0x0a, 0x8b, 0x0c, 0x00, 0x08, 0x89, 0x06, 0x37};
    static const uint16_t values[] = {0x26, 0x2a, 0x42, 0x02, 0x20, 0x21, 0x00, 0xc0};
    uint16_t port = pick(random, ports_of, G_N_ELEMENTS(ports_of));
    unsigned value = g_rand_boolean(random) ? g_rand_int(random)
                     : port == 0x70         ? pick(random, indices, G_N_ELEMENTS(indices))
                                            : pick(random, values, G_N_ELEMENTS(values));

    return (struct port_access){g_rand_int(random), port, g_rand_int_range(random, 0, 4) > 0,
                                (uint8_t)value};
}

#define ROUNDS 500u
#define ROUND  1000u

static void test_rtc_random(void)
{
    guint32 seed = (guint32)g_test_rand_int();
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    unsigned kinds[BASE_EVENT_CLOCK_SET + 1] = {0};

    g_test_message("seed %u", seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rtc_model model = {.index = -1};
        struct rtc_ports ports;

        rtc_ports_init(&ports);
        for (unsigned i = 0; i < G_N_ELEMENTS(model.registers); i++) {
            model.registers[i] = -1;
        }
        for (unsigned i = 0; i < ROUND; i++) {
            struct port_access access = random_rtc_access(random);
            struct base_event event, expected = model_access(&model, &access);
            rtc_ports_access(&ports, &access, &event);
            assert_event(&event, &expected, access.time_ns, i);
            kinds[event.kind]++;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_assert_cmpuint(kinds[i], >, 1000);
    }
}

/* ---- The PIT ---- */

static void play_pit(struct pit_ports *ports, const struct row *rows, unsigned n_rows)
{
    for (unsigned i = 0; i < n_rows; i++) {
        struct port_access access = rows[i].access;
        struct base_event event = {.length = 0x5a5a5a5a, .pending = true};
        access.time_ns = 1000 + i;
        pit_ports_access(ports, &access, &event);
        assert_event(&event, &rows[i].event, 1000 + i, i);
    }
}
#define PLAY_PIT(ports, ...)                           \
    play_pit(ports, (const struct row[]){__VA_ARGS__}, \
             G_N_ELEMENTS(((const struct row[]){__VA_ARGS__})))

static void test_pit_access(void)
{
    struct pit_ports ports;

    /* Before there was a control word the byte may be either. */
    pit_ports_init(&ports);
    PLAY_PIT(&ports, OUT(0x40, 0x9c), OUT(0x40, 0x2e), OUT(0x43, 0x34), OUT(0x40, 0x9c),
             RATE(0x40, 0x2e, 0x2e9c), OUT(0x40, 0x9c), RATE(0x40, 0x2e, 0x2e9c), OUT(0x40, 0x00),
             RATE(0x40, 0x00, 0x10000),
             /* a control word in between: low comes first again */
             OUT(0x40, 0x11), OUT(0x43, 0x36), OUT(0x40, 0x22), RATE(0x40, 0x33, 0x3322),
             /* low byte only, high byte only */
             OUT(0x43, 0x14), RATE(0x40, 0x80, 0x80), RATE(0x40, 0x00, 0x10000), OUT(0x43, 0x24),
             RATE(0x40, 0x80, 0x8000), RATE(0x40, 0x00, 0x10000),
             /* BCD is not heeded */
             OUT(0x43, 0x35), OUT(0x40, 0x00), RATE(0x40, 0x10, 0x1000));
}

static void test_pit_not_ours(void)
{
    struct pit_ports ports;

    pit_ports_init(&ports);
    PLAY_PIT(&ports, OUT(0x43, 0x34), OUT(0x40, 0x01),
             /* latched, read, read back; other channels; a status is no count */
             OUT(0x43, 0x00), IN(0x40, 0x55), IN(0x40, 0x55), OUT(0x43, 0x04), OUT(0x43, 0xc2),
             OUT(0x43, 0xf2), IN(0x40, 0x34), OUT(0x43, 0x74), OUT(0x41, 0x12), OUT(0x43, 0xb6),
             OUT(0x42, 0x12), OUT(0x42, 0x34), OUT(0x61, 0x03), OUT(0x70, 0x36), IN(0x43, 0x00),
             RATE(0x40, 0x02, 0x0201));
}

/* Rates end with a count loaded in another mode, not with the control word. */
static void test_pit_modes(void)
{
    for (unsigned mode = 0; mode < 8; mode++) {
        gboolean periodic = mode % 4 == 2 || mode % 4 == 3;
        uint8_t control = (uint8_t)(0x30 | mode << 1);
        struct pit_ports ports;

        pit_ports_init(&ports);
        PLAY_PIT(&ports, OUT(0x43, 0x34), OUT(0x40, 0x00), RATE(0x40, 0x10, 0x1000),
                 OUT(0x43, control), OUT(0x40, 0x00), RATE(0x40, 0x20, periodic ? 0x2000 : 0),
                 OUT(0x40, 0x00), RATE(0x40, 0x00, periodic ? 0x10000 : 0));
    }
}

/* The bytes still to come, as letters; the count as it was gathered. */
struct pit_model {
    const char *access;
    unsigned mode, next, count;
};

static struct base_event pit_model_access(struct pit_model *model, const struct port_access *access)
{
    static const char *const accesses[] = {NULL, "l", "h", "lh"};
    struct base_event event = {.kind = BASE_EVENT_NONE};
    unsigned value = access->value;

    if (access->write && access->port == 0x43 && value < 0x40 && value >= 0x10) {
        model->access = accesses[value / 16];
        model->mode = value / 2 % 8;
        model->next = model->count = 0;
    } else if (access->write && access->port == 0x40 && model->access != NULL) {
        model->count += model->access[model->next++] == 'h' ? value * 256 : value;
        if (model->access[model->next] == '\0') {
            event.kind = BASE_EVENT_RATE;
            event.length = model->count == 0 ? 65536 : model->count;
            if (model->mode == 0 || model->mode == 1 || model->mode == 4 || model->mode == 5) {
                event.length = 0;
            }
            model->next = model->count = 0;
        }
    }
    return event;
}

static struct port_access random_pit_access(GRand *random)
{
    static const uint16_t ports_of[] = {0x40, 0x40, 0x40, 0x40, 0x41, 0x42, 0x43, 0x44};
    uint16_t port = pick(random, ports_of, G_N_ELEMENTS(ports_of));
    gboolean zero = port != 0x43 && g_rand_int_range(random, 0, 3) == 0;

    return (struct port_access){g_rand_int(random), port, g_rand_int_range(random, 0, 4) > 0,
                                zero ? 0 : (uint8_t)g_rand_int(random)};
}

static void test_pit_random(void)
{
    guint32 seed = (guint32)g_test_rand_int();
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    unsigned rates = 0, stops = 0;

    g_test_message("seed %u", seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct pit_model model = {.access = NULL};
        struct pit_ports ports;

        pit_ports_init(&ports);
        for (unsigned i = 0; i < ROUND; i++) {
            struct port_access access = random_pit_access(random);
            struct base_event event, expected = pit_model_access(&model, &access);
            pit_ports_access(&ports, &access, &event);
            assert_event(&event, &expected, access.time_ns, i);
            rates += event.kind == BASE_EVENT_RATE && event.length > 0;
            stops += event.kind == BASE_EVENT_RATE && event.length == 0;
        }
    }
    g_assert_cmpuint(rates, >, 1000);
    g_assert_cmpuint(stops, >, 1000);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ports/rtc/start", test_rtc_start);
    g_test_add_func("/ports/rtc/changes", test_rtc_changes);
    g_test_add_func("/ports/rtc/rates", test_rtc_rates);
    g_test_add_func("/ports/rtc/handled", test_rtc_handled);
    g_test_add_func("/ports/rtc/clock-set", test_rtc_clock_set);
    g_test_add_func("/ports/rtc/reset", test_rtc_reset);
    g_test_add_func("/ports/rtc/assume", test_rtc_assume);
    g_test_add_func("/ports/rtc/windows", test_rtc_windows);
    g_test_add_func("/ports/rtc/random", test_rtc_random);
    g_test_add_func("/ports/pit/access", test_pit_access);
    g_test_add_func("/ports/pit/not-ours", test_pit_not_ours);
    g_test_add_func("/ports/pit/modes", test_pit_modes);
    g_test_add_func("/ports/pit/random", test_pit_random);
    return g_test_run();
}
