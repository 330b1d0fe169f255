/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a local APIC's registers say, and how a period is put into them. */
#include "daemon/attach/local-apic.h"

#include <glib.h>
#include <string.h>

static void set(struct kvm_lapic_state *state, unsigned offset, uint32_t value)
{
    memcpy(state->regs + offset, &value, sizeof(value));
}

static uint64_t to(unsigned destination)
{
    return 0x50 | (uint64_t)destination << 56;
}

static uint64_t to_logical(unsigned destination)
{
    return to(destination) | ATTACH_ENTRY_LOGICAL;
}

/* Every divider, by the table of the Intel SDM, volume 3, figure 11-10. */
static void test_divisors(void)
{
    static const struct {
        uint32_t tdcr;
        unsigned divisor;
    } table[] = {{0x0, 2},  {0x1, 4},  {0x2, 8},   {0x3, 16},
                 {0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1}};

    for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
        g_assert_cmpuint(local_apic_divisor(table[i].tdcr), ==, table[i].divisor);
    }
}

static void check_plan(uint64_t numerator, uint64_t denominator, uint32_t bus_ns,
                       uint64_t expected_ns)
{
    struct attach_timer timer;
    uint64_t tick_ns;

    g_assert_true(local_apic_plan_timer(numerator, denominator, bus_ns, 0x50, &timer, &tick_ns));
    g_assert_cmphex(timer.lvtt, ==, LOCAL_APIC_LVTT_PERIODIC | 0x50);
    g_assert_cmpuint(tick_ns, ==, expected_ns);
    g_assert_cmpuint(tick_ns, ==,
                     (uint64_t)timer.initial * local_apic_divisor(timer.divide) * bus_ns);
}

static void test_plans(void)
{
    struct attach_timer timer;
    uint64_t tick_ns;

    check_plan(1000000, 1, 1, 1000000);
    check_plan(1953125, 2, 1, 976563); /* 1/1024 s: never faster than asked for */
    check_plan(200000, 1, 1, 200000);
    check_plan(UINT32_MAX, 1, 1, UINT32_MAX);
    check_plan(UINT64_C(4294967296), 1, 1, UINT64_C(4294967296)); /* divided by 2 */
    check_plan(UINT64_C(60000000000), 1, 1, UINT64_C(60000000000));
    check_plan(UINT64_C(549755813760), 1, 1, UINT64_C(549755813760)); /* the longest */
    check_plan(1000000, 1, 40, 1000000);                              /* a bus of 25 MHz */
    check_plan(1000001, 1, 40, 1000040);
    g_assert_false(local_apic_plan_timer(UINT64_C(549755813761), 1, 1, 0x50, &timer, &tick_ns));
    g_assert_false(local_apic_plan_timer(0, 1, 1, 0x50, &timer, &tick_ns));
}

/* As fine as the counter allows: slower by less than a count, of the smallest divider that will do.
 */
static void test_plans_at_random(void)
{
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t denominator = (uint64_t)g_test_rand_int_range(1, 5000);
        uint64_t ns = (uint64_t)g_test_rand_int() << g_test_rand_int_range(0, 8);
        uint64_t numerator = MAX(1, ns) * denominator + (uint64_t)g_test_rand_int_range(0, 5000);
        struct attach_timer timer;
        uint64_t tick_ns;

        if (!local_apic_plan_timer(numerator, denominator, 1, 0x50, &timer, &tick_ns)) {
            g_assert_cmpuint(numerator / denominator, >=, UINT64_C(549755813760));
            continue;
        }
        uint64_t count_ns = local_apic_divisor(timer.divide);
        g_assert_cmpuint(tick_ns * denominator, >=, numerator);
        g_assert_cmpuint((tick_ns - count_ns) * denominator, <, numerator);
        g_assert_true(count_ns == 1 ||
                      numerator / denominator > (uint64_t)UINT32_MAX * count_ns / 2);
    }
}

static void test_physical(void)
{
    struct kvm_lapic_state state = {{0}};

    set(&state, 0x20, UINT32_C(3) << 24);
    g_assert_true(local_apic_is_destination(&state, to(3)));
    g_assert_false(local_apic_is_destination(&state, to(4)));
    g_assert_true(local_apic_is_destination(&state, to(0xff)));
    set(&state, 0x20, 3); /* as KVM gives it with KVM_X2APIC_API_USE_32BIT_IDS */
    g_assert_true(local_apic_is_destination(&state, to(3)));
    set(&state, 0x20, 0x103);
    g_assert_false(local_apic_is_destination(&state, to(3)));
    set(&state, 0x20, 0);
    g_assert_true(local_apic_is_destination(&state, to(0)));
}

static void test_logical(void)
{
    struct kvm_lapic_state state = {{0}};

    set(&state, 0xe0, UINT32_MAX); /* flat */
    set(&state, 0xd0, UINT32_C(0x04) << 24);
    g_assert_true(local_apic_is_destination(&state, to_logical(0x04)));
    g_assert_true(local_apic_is_destination(&state, to_logical(0x0c)));
    g_assert_false(local_apic_is_destination(&state, to_logical(0x03)));
    g_assert_true(local_apic_is_destination(&state, to_logical(0xff)));
    set(&state, 0xd0, 0);
    g_assert_false(local_apic_is_destination(&state, to_logical(0xff)));

    set(&state, 0xe0, 0x0fffffff); /* clusters */
    set(&state, 0xd0, UINT32_C(0x24) << 24);
    g_assert_true(local_apic_is_destination(&state, to_logical(0x24)));
    g_assert_true(local_apic_is_destination(&state, to_logical(0x2f)));
    g_assert_false(local_apic_is_destination(&state, to_logical(0x14)));
    g_assert_false(local_apic_is_destination(&state, to_logical(0x2b)));

    set(&state, 0xd0, 1u << 3); /* x2APIC: cluster 0, and cluster 1 */
    g_assert_true(local_apic_is_destination(&state, to_logical(0x0c)));
    g_assert_false(local_apic_is_destination(&state, to_logical(0x04)));
    set(&state, 0xd0, 0x10000 | 1u << 3);
    g_assert_false(local_apic_is_destination(&state, to_logical(0x0c)));
}

static void test_unfinished(void)
{
    struct kvm_lapic_state state = {{0}};

    g_assert_cmpuint(local_apic_unfinished(&state, 0x50), ==, 0);
    set(&state, 0x200 + 0x20, 1u << 16); /* IRR, vectors 0x40 to 0x5f */
    g_assert_cmpuint(local_apic_unfinished(&state, 0x50), ==, 1);
    set(&state, 0x100 + 0x20, 1u << 16); /* ISR */
    g_assert_cmpuint(local_apic_unfinished(&state, 0x50), ==, 2);
    g_assert_cmpuint(local_apic_unfinished(&state, 0x51), ==, 0);
    g_assert_cmpuint(local_apic_unfinished(&state, 0x30), ==, 0);
    set(&state, 0x270, 1u << 31);
    g_assert_cmpuint(local_apic_unfinished(&state, 0xff), ==, 1);
}

static void test_enabled(void)
{
    struct kvm_lapic_state state = {{0}};

    set(&state, 0xf0, 0xff);
    g_assert_false(local_apic_is_enabled(&state));
    set(&state, 0xf0, 0x1ff);
    g_assert_true(local_apic_is_enabled(&state));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/local-apic/divisors", test_divisors);
    g_test_add_func("/local-apic/plans", test_plans);
    g_test_add_func("/local-apic/plans-at-random", test_plans_at_random);
    g_test_add_func("/local-apic/physical", test_physical);
    g_test_add_func("/local-apic/logical", test_logical);
    g_test_add_func("/local-apic/unfinished", test_unfinished);
    g_test_add_func("/local-apic/enabled", test_enabled);
    return g_test_run();
}
