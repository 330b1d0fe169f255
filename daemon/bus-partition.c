/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One partition's object on the bus: see bus-partition.h. */
#include "daemon/bus-partition.h"

#include "common/hvtimer-dbus.h"
#include "common/status.h"
#include "daemon/bus-policy.h"
#include "daemon/injectors/model.h"

/*
 * The generated skeleton, but for one thing: it can't refuse a value that is written to a property.
 * Without a set_property function GIO hands org.freedesktop.DBus.Properties.Set to method_call
 * instead, where it can be answered later, and with an error.
 */
#define BUS_TYPE_PARTITION (bus_partition_get_type())
G_DECLARE_FINAL_TYPE(BusPartition, bus_partition, BUS, PARTITION, HvtDbusPartitionSkeleton)

struct _BusPartition {
    HvtDbusPartitionSkeleton parent;
    struct guest *guest; /* NULL: it has ended */
    const struct bus_sources *sources;
};

static void implement_methods(HvtDbusPartitionIface *interface);
G_DEFINE_TYPE_WITH_CODE(BusPartition, bus_partition, HVT_DBUS_TYPE_PARTITION_SKELETON,
                        G_IMPLEMENT_INTERFACE(HVT_DBUS_TYPE_PARTITION, implement_methods))

void bus_complete(const GError *error, gpointer user_data)
{
    GDBusMethodInvocation *invocation = user_data;

    if (error != NULL) {
        g_dbus_method_invocation_return_gerror(invocation, error);
    } else {
        g_dbus_method_invocation_return_value(invocation, NULL);
    }
}

static uint32_t property_code(const char *name)
{
    return g_str_equal(name, "EmulatedTimerPeriod") ? HvPartitionPropertyEmulatedTimerPeriod
                                                    : HvPartitionPropertyEmulatedTimerControl;
}

/* GIO has checked that the property exists, is writable, and that the value is of its type. */
static void set_property_called(BusPartition *self, GVariant *parameters,
                                GDBusMethodInvocation *invocation)
{
    g_autoptr(GVariant) value = NULL;
    const char *name;

    g_variant_get(parameters, "(&s&sv)", NULL, &name, &value);
    guest_set_property(self->guest, property_code(name), g_variant_get_uint64(value), bus_complete,
                       invocation);
}

static const GDBusInterfaceVTable *parent_vtable(void)
{
    return G_DBUS_INTERFACE_SKELETON_CLASS(bus_partition_parent_class)->get_vtable(NULL);
}

static void method_call(GDBusConnection *connection, const char *sender, const char *path,
                        const char *interface, const char *method, GVariant *parameters,
                        GDBusMethodInvocation *invocation, gpointer user_data)
{
    BusPartition *self = BUS_PARTITION(user_data);

    if (self->guest == NULL) {
        g_dbus_method_invocation_return_error_literal(
            invocation, HV_STATUS_ERROR, HV_STATUS_INVALID_PARTITION_ID, "the partition has ended");
    } else if (g_str_equal(interface, "org.freedesktop.DBus.Properties")) {
        set_property_called(self, parameters, invocation);
    } else {
        parent_vtable()->method_call(connection, sender, path, interface, method, parameters,
                                     invocation, user_data);
    }
}

static GDBusInterfaceVTable *get_vtable(G_GNUC_UNUSED GDBusInterfaceSkeleton *skeleton)
{
    static GDBusInterfaceVTable vtable;

    vtable = *parent_vtable();
    vtable.method_call = method_call;
    vtable.set_property = NULL;
    return &vtable;
}

static void bus_partition_class_init(BusPartitionClass *class)
{
    G_DBUS_INTERFACE_SKELETON_CLASS(class)->get_vtable = get_vtable;
}

static void bus_partition_init(BusPartition *self)
{
    (void)self;
}

/* ---- methods ---- */

/* An Enable or Disable, and what of the domain's metadata is to say the same. */
struct timer_change {
    GDBusMethodInvocation *invocation;
    const struct bus_sources *sources;
    struct guest *guest;
    gboolean enable;
    struct period period;
    uint64_t control;
    char injector[16];
    struct supervision supervision; /* of a Supervise */
};

static const char *change_assist(struct assist *assist, gpointer user_data)
{
    const struct timer_change *change = user_data;

    if (!change->enable) {
        assist->control &= ~HV_EMULATED_TIMER_CONTROL_ENABLED;
        return NULL;
    }
    assist->timer = TRUE;
    assist->period = change->period;
    assist->control = change->control;
    g_strlcpy(assist->injector, change->injector, sizeof assist->injector);
    return NULL;
}

/* The running partition has changed; a domain's live metadata follow it, so that they go along
 * where it goes. */
static void finish_change(const GError *error, struct timer_change *change,
                          libvirt_change_func change_element)
{
    g_autofree struct timer_change *owned = change;
    g_autoptr(GError) problem = NULL;

    if (error == NULL && g_str_equal(guest_identity(change->guest)->source, "libvirt") &&
        !libvirt_source_write(change->sources->libvirt, change->guest, LIBVIRT_LIVE, change_element,
                              owned, &problem)) {
        g_warning("%s", problem->message);
    }
    bus_complete(error, change->invocation);
}

static void on_timer_changed(const GError *error, gpointer user_data)
{
    finish_change(error, user_data, change_assist);
}

static void change_timer(BusPartition *self, const struct timer_change *change, uint32_t where)
{
    const struct partition *partition = guest_partition(self->guest);
    g_autoptr(GError) error = NULL;

    if (change->enable &&
        !guest_check_values(self->guest, change->period, change->control, &error)) {
        bus_complete(error, change->invocation);
    } else if ((where & LIBVIRT_CONFIG) != 0 &&
               !libvirt_source_write(self->sources->libvirt, self->guest, LIBVIRT_CONFIG,
                                     change_assist, (gpointer)change, &error)) {
        bus_complete(error, change->invocation);
    } else if (where == LIBVIRT_CONFIG) {
        bus_complete(NULL, change->invocation);
    } else if (change->enable) {
        guest_enable(self->guest, change->period, change->control, change->injector,
                     on_timer_changed, g_memdup2(change, sizeof *change));
    } else {
        guest_set_property(self->guest, HvPartitionPropertyEmulatedTimerControl,
                           partition->control & ~HV_EMULATED_TIMER_CONTROL_ENABLED,
                           on_timer_changed, g_memdup2(change, sizeof *change));
    }
}

static gboolean on_enable(HvtDbusPartition *object, GDBusMethodInvocation *invocation,
                          guint64 numerator, guint64 denominator, guint64 control,
                          const char *injector, guint32 where)
{
    BusPartition *self = BUS_PARTITION(object);
    struct timer_change change = {.invocation = invocation,
                                  .sources = self->sources,
                                  .guest = self->guest,
                                  .enable = TRUE,
                                  .control = control};

    g_strlcpy(change.injector, injector, sizeof change.injector);
    if (!period_make(numerator, denominator, &change.period)) {
        g_dbus_method_invocation_return_error(
            invocation, HV_STATUS_ERROR, HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
            "%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " ns is no period", numerator, denominator);
        return TRUE;
    }
    change_timer(self, &change, where);
    return TRUE;
}

static gboolean on_disable(HvtDbusPartition *object, GDBusMethodInvocation *invocation,
                           guint32 where)
{
    BusPartition *self = BUS_PARTITION(object);
    struct timer_change change = {
        .invocation = invocation, .sources = self->sources, .guest = self->guest};

    change_timer(self, &change, where);
    return TRUE;
}

/* ---- supervision ---- */

/* What is off is so for the timer that was named, and not for the other one. */
static const char *change_supervision(struct assist *assist, gpointer user_data)
{
    static const struct supervision none = SUPERVISION_NONE;
    const struct supervision *wanted = &((const struct timer_change *)user_data)->supervision;

    if (assist->supervision.timer == wanted->timer) {
        assist->supervision = none;
    }
    return assist_supervise(assist, wanted);
}

static void on_supervised(const GError *error, gpointer user_data)
{
    finish_change(error, user_data, change_supervision);
}

static gboolean parse_supervision(const char *timer, const char *mode, gboolean force,
                                  struct supervision *ret, GError **error)
{
    *ret = (struct supervision){.force = force};
    if (!base_timer_from_name(timer, &ret->timer) ||
        !supervision_mode_from_name(mode, &ret->mode)) {
        g_set_error(error, HV_STATUS_ERROR, HV_STATUS_INVALID_PARAMETER,
                    "no %s can be set to %s: a timer is rtc or pit, a mode slew, observe or off",
                    timer, mode);
        return FALSE;
    }
    return TRUE;
}

static gboolean on_supervise(HvtDbusPartition *object, GDBusMethodInvocation *invocation,
                             const char *timer, const char *mode, gboolean force, guint32 where)
{
    BusPartition *self = BUS_PARTITION(object);
    struct timer_change change = {
        .invocation = invocation, .sources = self->sources, .guest = self->guest};
    g_autoptr(GError) error = NULL;

    gboolean ok = parse_supervision(timer, mode, force, &change.supervision, &error);
    if (ok && (where & LIBVIRT_CONFIG) != 0) {
        ok = libvirt_source_write(self->sources->libvirt, self->guest, LIBVIRT_CONFIG,
                                  change_supervision, &change, &error);
    }
    if (!ok || where == LIBVIRT_CONFIG) {
        bus_complete(error, invocation);
        return TRUE;
    }
    guest_supervise(self->guest, &change.supervision, on_supervised,
                    g_memdup2(&change, sizeof change));
    return TRUE;
}

static gboolean on_set_policy(HvtDbusPartition *object, GDBusMethodInvocation *invocation,
                              GVariant *changes)
{
    BusPartition *self = BUS_PARTITION(object);
    struct ticker_policy policy = *guest_policy(self->guest);
    g_autoptr(GError) error = NULL;

    if (bus_policy_apply(changes, &policy, &error)) {
        guest_set_policy(self->guest, &policy, &error);
    }
    bus_complete(error, invocation);
    return TRUE;
}

static gboolean on_reset_backlog(HvtDbusPartition *object, GDBusMethodInvocation *invocation)
{
    BusPartition *self = BUS_PARTITION(object);
    guest_reset_backlog(self->guest);
    bus_complete(NULL, invocation);
    return TRUE;
}

static void update_base_timer(BusPartition *self)
{
    struct injector *injector = guest_injector(self->guest);
    const char *known_by = "", *name = injector != NULL ? injector->ops->base_timer : "none";

    if (injector != NULL && injector->ops->find_base_timer != NULL) {
        name = injector->ops->find_base_timer(injector, &known_by);
    }
    g_object_set(self, "base-timer", name, "base-timer-source", known_by, NULL);
}

static gboolean on_get_statistics(HvtDbusPartition *object, GDBusMethodInvocation *invocation)
{
    BusPartition *self = BUS_PARTITION(object);
    struct engine_reading r;

    update_base_timer(self);
    guest_read(self->guest, &r);
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"due", r.ticks.due},
        {"injected", r.ticks.injected},
        {"acknowledged", r.ticks.acknowledged},
        {"in_flight", r.ticks.in_flight},
        {"backlog", r.ticks.backlog},
        {"skipped", r.ticks.skipped},
        {"clock_behind_ns", r.behind_ns},
        {"lateness_p50_ns", r.lateness.p50_ns},
        {"lateness_p99_ns", r.lateness.p99_ns},
        {"lateness_max_ns", r.lateness.max_ns},
    };
    GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{st}"));
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_variant_builder_add(&builder, "{st}", rows[i].key, rows[i].value);
    }
    g_dbus_method_invocation_return_value(invocation, g_variant_new("(a{st})", &builder));
    return TRUE;
}

/* Is the caller the VMM that handed this partition over? If not, it is told so. */
static gboolean check_owner(BusPartition *self, GDBusMethodInvocation *invocation)
{
    g_autoptr(GError) error = NULL;

    if (vmm_source_find(self->sources->vmms, guest_identity(self->guest)->id,
                        g_dbus_method_invocation_get_sender(invocation), &error) == NULL) {
        g_dbus_method_invocation_return_gerror(invocation, error);
        return FALSE;
    }
    return TRUE;
}

static gboolean on_set_running(HvtDbusPartition *object, GDBusMethodInvocation *invocation,
                               gboolean running)
{
    BusPartition *self = BUS_PARTITION(object);
    if (check_owner(self, invocation)) {
        guest_set_running(self->guest, running);
        bus_complete(NULL, invocation);
    }
    return TRUE;
}

static gboolean on_guest_reset(HvtDbusPartition *object, GDBusMethodInvocation *invocation)
{
    BusPartition *self = BUS_PARTITION(object);
    if (check_owner(self, invocation)) {
        guest_reset(self->guest, bus_complete, invocation);
    }
    return TRUE;
}

/* Of the class: as signals' handlers of every object, they would take 2 KB of each. */
static void implement_methods(HvtDbusPartitionIface *interface)
{
    interface->handle_enable = on_enable;
    interface->handle_disable = on_disable;
    interface->handle_supervise = on_supervise;
    interface->handle_set_policy = on_set_policy;
    interface->handle_reset_backlog = on_reset_backlog;
    interface->handle_get_statistics = on_get_statistics;
    interface->handle_set_running = on_set_running;
    interface->handle_guest_reset = on_guest_reset;
}

static gboolean on_hold(HvtDbusModel *model, GDBusMethodInvocation *invocation,
                        guint64 microseconds, BusPartition *self)
{
    if (self->guest != NULL && injector_as_model(guest_injector(self->guest)) != NULL) {
        injector_model_hold(guest_injector(self->guest), microseconds);
    }
    hvt_dbus_model_complete_hold(model, invocation);
    return TRUE;
}

static gboolean on_count_taken(HvtDbusModel *model, GDBusMethodInvocation *invocation,
                               BusPartition *self)
{
    uint64_t taken = self->guest != NULL ? injector_model_taken(guest_injector(self->guest)) : 0;

    hvt_dbus_model_complete_count_taken(model, invocation, taken);
    return TRUE;
}

/* ---- the object ---- */

char *bus_partition_path(uint64_t id)
{
    return g_strdup_printf("/org/hvtimer1/partition/%" G_GUINT64_FORMAT, id);
}

static BusPartition *partition_of(GDBusObjectSkeleton *object)
{
    g_autoptr(GDBusInterface) interface =
        g_dbus_object_get_interface(G_DBUS_OBJECT(object), "org.hvtimer1.Partition");

    return BUS_PARTITION(interface); /* the object keeps it */
}

static void set_identity(BusPartition *self)
{
    const struct guest_identity *identity = guest_identity(self->guest);

    g_object_set(self, "id", identity->id, "name", identity->name, "uuid", identity->uuid, "source",
                 identity->source, NULL);
}

static void add_model(GDBusObjectSkeleton *object, BusPartition *self, struct bus_access *access)
{
    g_autoptr(HvtDbusModel) model = bus_access_new_skeleton(access, HVT_DBUS_TYPE_MODEL_SKELETON);

    g_signal_connect_object(model, "handle-hold", G_CALLBACK(on_hold), self, 0);
    g_signal_connect_object(model, "handle-count-taken", G_CALLBACK(on_count_taken), self, 0);
    g_dbus_object_skeleton_add_interface(object, G_DBUS_INTERFACE_SKELETON(model));
}

GDBusObjectSkeleton *bus_partition_new(struct guest *guest, const struct bus_sources *sources,
                                       struct bus_access *access)
{
    g_autofree char *path = bus_partition_path(guest_identity(guest)->id);
    GDBusObjectSkeleton *object = g_dbus_object_skeleton_new(path);
    g_autoptr(BusPartition) self = bus_access_new_skeleton(access, BUS_TYPE_PARTITION);

    self->guest = guest;
    self->sources = sources;
    set_identity(self);
    g_dbus_object_skeleton_add_interface(object, G_DBUS_INTERFACE_SKELETON(self));
    if (g_str_equal(guest_identity(guest)->source, "model")) {
        add_model(object, self, access);
    }
    bus_partition_update(object);
    return object;
}

static const char *const routing_names[] = {
    [BASE_ROUTING_UNKNOWN] = "unknown",
    [BASE_ROUTING_NONE] = "none",
    [BASE_ROUTING_IOAPIC] = "ioapic",
    [BASE_ROUTING_PIC] = "pic",
};

static const char *const learned_names[] = {
    [LEARNED_NOT] = "no",
    [LEARNED_TRACE] = "trace",
    [LEARNED_STATE] = "state",
    [LEARNED_ACKNOWLEDGEMENTS] = "acknowledgements",
};

static GVariant *supervision_to_variant(struct guest *guest)
{
    const struct supervision *supervision = guest_supervision(guest);
    GVariantBuilder builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_VARDICT);
    struct engine_reading reading;

    guest_read(guest, &reading);
    const struct {
        const char *key, *value;
    } rows[] = {
        {"timer", base_timer_name(supervision->timer)},
        {"mode", supervision_mode_name(supervision->mode)},
        {"effective", supervision_mode_name(guest_supervision_mode(guest))},
        {"learned", learned_names[reading.learned]},
        {"routing", routing_names[guest_base_routing(guest)]},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_variant_builder_add(&builder, "{sv}", rows[i].key, g_variant_new_string(rows[i].value));
    }
    g_variant_builder_add(&builder, "{sv}", "force", g_variant_new_boolean(supervision->force));
    return g_variant_builder_end(&builder);
}

static const char *const state_names[] = {
    [GUEST_OFF] = "shutoff",
    [GUEST_RUNNING] = "running",
    [GUEST_PAUSED] = "paused",
};

static void update_delivery(BusPartition *self)
{
    const struct injector *injector = guest_injector(self->guest);
    struct engine_reading reading;

    update_base_timer(self);
    if (injector == NULL) {
        g_object_set(self, "injector", "none", "accounting", "none", "attach-stall-us", (guint64)0,
                     NULL);
        return;
    }
    guest_read(self->guest, &reading);
    g_object_set(self, "injector", injector->ops->name, "accounting",
                 reading.closed_loop ? "closed-loop" : "open-loop", "attach-stall-us",
                 injector->attach_stall_us, NULL);
}

void bus_partition_update(GDBusObjectSkeleton *object)
{
    BusPartition *self = partition_of(object);
    const struct partition *partition = guest_partition(self->guest);

    g_object_set(self, "state", state_names[guest_state(self->guest)], "pid",
                 guest_pid(self->guest), "emulated-timer-period",
                 period_to_units(partition->period), "emulated-timer-control", partition->control,
                 "period-ns", period_ns(partition->period), "policy",
                 bus_policy_to_variant(guest_policy(self->guest)), "supervision",
                 supervision_to_variant(self->guest), "problem",
                 guest_problem(self->guest) != NULL ? guest_problem(self->guest) : "", NULL);
    update_delivery(self);
}

void bus_partition_end(GDBusObjectSkeleton *object)
{
    partition_of(object)->guest = NULL;
}
