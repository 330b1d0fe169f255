/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs that change a partition: set, enable, disable, rtc, pit, policy, reset-backlog.
 */
#include "common/status.h"
#include "common/values.h"
#include "hvapi/ctl-client.h"
#include "hvapi/ctl-print.h"
#include "hvapi/ctl.h"

/* After a change: for --json, what it has led to. */
static gboolean print_result(const struct ctl *ctl, CtlPartition *p, GError **error)
{
    if (!ctl->json) {
        return TRUE;
    }
    if (!ctl_partition_read(p, error)) {
        return FALSE;
    }
    ctl_print_status(p, TRUE);
    return TRUE;
}

/* ---- set ---- */

static gboolean parse_value(HV_PARTITION_PROPERTY_CODE code, const char *text, uint64_t *ret_value,
                            GError **error)
{
    if (code == HvPartitionPropertyEmulatedTimerControl) {
        return value_parse_control(text, ret_value, error);
    }
    return value_parse_number("EmulatedTimerPeriod", text, 0, UINT64_MAX, ret_value, error);
}

gboolean ctl_set(struct ctl *ctl, GError **error)
{
    g_auto(GStrv) arguments = ctl_parse(ctl, NULL, error);
    g_autoptr(CtlPartition) p = NULL;
    HV_PARTITION_PROPERTY_CODE code;
    uint64_t value;

    if (arguments == NULL || !ctl_property_from_name(arguments[1], &code, error) ||
        !parse_value(code, arguments[2], &value, error)) {
        return FALSE;
    }
    p = ctl_partition_find(ctl->bus, arguments[0], error);
    return p != NULL && ctl_partition_set(p, code, value, error) && print_result(ctl, p, error);
}

/* ---- enable, disable ---- */

#define LIVE_HELP   "Act on the running partition (the default)"
#define CONFIG_HELP "Act on the libvirt domain's persistent configuration"

/* --live and --config, as virsh has them. */
struct where_options {
    gboolean live;
    gboolean config;
};

/* As org.hvtimer1.Partition.Enable wants it. */
static uint32_t where_of(const struct where_options *where)
{
    return (where->live || !where->config ? 1u : 0u) | (where->config ? 2u : 0u);
}

struct enable_options {
    char *period, *vector, *destination, *delivery, *injector;
    struct where_options where;
};
typedef struct enable_options EnableOptions;

static void enable_options_clear(struct enable_options *o)
{
    g_free(o->period);
    g_free(o->vector);
    g_free(o->destination);
    g_free(o->delivery);
    g_free(o->injector);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(EnableOptions, enable_options_clear)

static char **parse_enable(struct ctl *ctl, struct enable_options *o, GError **error)
{
    const GOptionEntry options[] = {
        {"period", 0, 0, G_OPTION_ARG_STRING, &o->period,
         "Time between two ticks, such as 976.5625us, 1/1024s or 1024Hz", "PERIOD"},
        {"vector", 0, 0, G_OPTION_ARG_STRING, &o->vector, "Interrupt vector, 16 to 255", "N"},
        {"destination", 0, 0, G_OPTION_ARG_STRING, &o->destination,
         "Local APIC (default: physical:0)", "physical:N|logical:N"},
        {"delivery", 0, 0, G_OPTION_ARG_STRING, &o->delivery, "Delivery mode (default: fixed)",
         "fixed|lowest"},
        {"injector", 0, 0, G_OPTION_ARG_STRING, &o->injector,
         "How to deliver ticks (default: auto)", "auto|msi|pin|lapic|model"},
        {"live", 0, 0, G_OPTION_ARG_NONE, &o->where.live, LIVE_HELP, NULL},
        {"config", 0, 0, G_OPTION_ARG_NONE, &o->where.config, CONFIG_HELP, NULL},
        G_OPTION_ENTRY_NULL,
    };

    return ctl_parse(ctl, options, error);
}

/* Which of them is possible is the daemon's to say. */
static gboolean check_injector(const char *injector, GError **error)
{
    static const char *const injectors[] = {"auto", "msi", "pin", "lapic", "model", NULL};

    if (injector != NULL && !g_strv_contains(injectors, injector)) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "'%s' is not an injector; give auto, msi, pin, lapic or model", injector);
        return FALSE;
    }
    return TRUE;
}

static gboolean parse_route(const struct enable_options *o, struct period *ret_period,
                            uint64_t *ret_control, GError **error)
{
    struct period period;
    uint64_t vector, destination, delivery;

    if (o->period == NULL || o->vector == NULL) {
        g_set_error_literal(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                            "enable takes --period and --vector; give both");
        return FALSE;
    }
    if (!value_parse_period(o->period, &period, error) ||
        !value_parse_number("--vector", o->vector, 16, 255, &vector, error) ||
        !value_parse_destination(o->destination != NULL ? o->destination : "physical:0",
                                 &destination, error) ||
        !value_parse_delivery(o->delivery != NULL ? o->delivery : "fixed", &delivery, error) ||
        !check_injector(o->injector, error)) {
        return FALSE;
    }
    *ret_period = period;
    *ret_control = vector | destination | delivery | HV_EMULATED_TIMER_CONTROL_ENABLED;
    return TRUE;
}

gboolean ctl_enable(struct ctl *ctl, GError **error)
{
    g_auto(EnableOptions) o = {0};
    g_auto(GStrv) arguments = parse_enable(ctl, &o, error);
    g_autoptr(CtlPartition) p = NULL;
    struct period period;
    uint64_t control;

    if (arguments == NULL || !parse_route(&o, &period, &control, error)) {
        return FALSE;
    }
    p = ctl_partition_find(ctl->bus, arguments[0], error);
    return p != NULL &&
           hvt_dbus_partition_call_enable_sync(p->proxy, period.numerator, period.denominator,
                                               control, o.injector != NULL ? o.injector : "auto",
                                               where_of(&o.where), NULL, error) &&
           print_result(ctl, p, error);
}

gboolean ctl_disable(struct ctl *ctl, GError **error)
{
    struct where_options where = {0};
    const GOptionEntry options[] = {
        {"live", 0, 0, G_OPTION_ARG_NONE, &where.live, LIVE_HELP, NULL},
        {"config", 0, 0, G_OPTION_ARG_NONE, &where.config, CONFIG_HELP, NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(GStrv) arguments = ctl_parse(ctl, options, error);
    g_autoptr(CtlPartition) p =
        arguments != NULL ? ctl_partition_find(ctl->bus, arguments[0], error) : NULL;

    return p != NULL &&
           hvt_dbus_partition_call_disable_sync(p->proxy, where_of(&where), NULL, error) &&
           print_result(ctl, p, error);
}

/* ---- rtc, pit ---- */

static gboolean check_mode(const char *mode, GError **error)
{
    static const char *const modes[] = {"slew", "observe", "off", NULL};

    if (!g_strv_contains(modes, mode)) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "'%s' is not a mode; give slew, observe or off", mode);
        return FALSE;
    }
    return TRUE;
}

static gboolean supervise(struct ctl *ctl, const char *timer, GError **error)
{
    struct where_options where = {0};
    gboolean force = FALSE;
    const GOptionEntry options[] = {
        {"force", 0, 0, G_OPTION_ARG_NONE, &force,
         "With slew: make up even where the VMM does so itself", NULL},
        {"live", 0, 0, G_OPTION_ARG_NONE, &where.live, LIVE_HELP, NULL},
        {"config", 0, 0, G_OPTION_ARG_NONE, &where.config, CONFIG_HELP, NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(GStrv) arguments = ctl_parse(ctl, options, error);
    g_autoptr(CtlPartition) p = NULL;

    if (arguments == NULL || !check_mode(arguments[1], error)) {
        return FALSE;
    }
    p = ctl_partition_find(ctl->bus, arguments[0], error);
    return p != NULL &&
           hvt_dbus_partition_call_supervise_sync(p->proxy, timer, arguments[1], force,
                                                  where_of(&where), NULL, error) &&
           print_result(ctl, p, error);
}

gboolean ctl_rtc(struct ctl *ctl, GError **error)
{
    return supervise(ctl, "rtc", error);
}

gboolean ctl_pit(struct ctl *ctl, GError **error)
{
    return supervise(ctl, "pit", error);
}

/* ---- policy, reset-backlog ---- */

struct policy_options {
    char *policy, *threshold, *slew, *limit, *on_resume;
};
typedef struct policy_options PolicyOptions;

static void policy_options_clear(struct policy_options *o)
{
    g_free(o->policy);
    g_free(o->threshold);
    g_free(o->slew);
    g_free(o->limit);
    g_free(o->on_resume);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PolicyOptions, policy_options_clear)

static char **parse_policy(struct ctl *ctl, struct policy_options *o, GError **error)
{
    const GOptionEntry options[] = {
        {"policy", 0, 0, G_OPTION_ARG_STRING, &o->policy, "What becomes of missed ticks",
         "catchup|lazy|observe"},
        {"threshold", 0, 0, G_OPTION_ARG_STRING, &o->threshold,
         "Backlog at which catching up starts, in ticks", "N"},
        {"slew", 0, 0, G_OPTION_ARG_STRING, &o->slew, "Speed-up while catching up, in percent",
         "PCT"},
        {"limit", 0, 0, G_OPTION_ARG_STRING, &o->limit, "Longest time to make up, in milliseconds",
         "MS"},
        {"on-resume", 0, 0, G_OPTION_ARG_STRING, &o->on_resume,
         "What becomes of the time that a guest was suspended", "freeze|catchup"},
        G_OPTION_ENTRY_NULL,
    };

    return ctl_parse(ctl, options, error);
}

static gboolean add_number(GVariantDict *changes, const char *key, const char *option,
                           const char *text, GError **error)
{
    uint64_t number;

    if (text == NULL) {
        return TRUE;
    }
    if (!value_parse_number(option, text, 0, UINT32_MAX, &number, error)) {
        return FALSE;
    }
    g_variant_dict_insert(changes, key, "u", (guint32)number);
    return TRUE;
}

/* What the options ask for, as SetPolicy takes it; which words and ranges it takes is the
 * daemon's to say. Empty without options. (transfer full) */
static GVariant *make_changes(const struct policy_options *o, GError **error)
{
    g_auto(GVariantDict) changes = G_VARIANT_DICT_INIT(NULL);

    if (o->policy != NULL) {
        g_variant_dict_insert(&changes, "policy", "s", o->policy);
    }
    if (o->on_resume != NULL) {
        g_variant_dict_insert(&changes, "on_resume", "s", o->on_resume);
    }
    if (!add_number(&changes, "threshold", "--threshold", o->threshold, error) ||
        !add_number(&changes, "slew", "--slew", o->slew, error) ||
        !add_number(&changes, "limit_ms", "--limit", o->limit, error)) {
        return NULL;
    }
    return g_variant_ref_sink(g_variant_dict_end(&changes));
}

gboolean ctl_policy(struct ctl *ctl, GError **error)
{
    g_auto(PolicyOptions) o = {0};
    g_auto(GStrv) arguments = parse_policy(ctl, &o, error);
    g_autoptr(GVariant) changes = arguments != NULL ? make_changes(&o, error) : NULL;
    g_autoptr(CtlPartition) p =
        changes != NULL ? ctl_partition_find(ctl->bus, arguments[0], error) : NULL;

    if (p == NULL) {
        return FALSE;
    }
    if (g_variant_n_children(changes) > 0) {
        return hvt_dbus_partition_call_set_policy_sync(p->proxy, changes, NULL, error) &&
               print_result(ctl, p, error);
    }
    if (!ctl_partition_read(p, error)) {
        return FALSE;
    }
    ctl_print_policy(p, ctl->json);
    return TRUE;
}

gboolean ctl_reset_backlog(struct ctl *ctl, GError **error)
{
    g_auto(GStrv) arguments = ctl_parse(ctl, NULL, error);
    g_autoptr(CtlPartition) p =
        arguments != NULL ? ctl_partition_find(ctl->bus, arguments[0], error) : NULL;

    return p != NULL && hvt_dbus_partition_call_reset_backlog_sync(p->proxy, NULL, error) &&
           print_result(ctl, p, error);
}
