/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What each kind of request does: see requests.h.
 *
 * Death of the helper here: eventfds and irqfds go by themselves. The IOAPIC is read and written
 * while the VMM stands still; a helper killed between the two leaves what was (worker_run());
 * killed after that, before the reply: a pin with an entry and nothing that could raise it.
 */
#include "daemon/attach/requests.h"

#include "daemon/attach/deadline.h"
#include "daemon/attach/haste.h"
#include "daemon/attach/kvm-calls.h"
#include "daemon/attach/lease.h"
#include "daemon/attach/leftovers.h"
#include "daemon/attach/request-check.h"
#include "daemon/attach/trace.h"
#include "daemon/attach/world.h"
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define PIN_LAST (ATTACH_PINS - 1)
/* A VMM that can't be stopped as a whole within that time goes on, and is not attached to. */
#define STALL_MAX_MS 100
/* A pin as the guest's firmware or system left it that has no use for it. */
#define UNTOUCHED ATTACH_ENTRY_MASKED

#define PIT_COUNT_MAX 65536u

struct session {
    const struct attach_request *request;
    struct failure failure;
    struct target target;
    struct code code;
    struct worker worker;
    struct lease lease;
    bool leasing; /* a lease is to be taken, changed or given back */
    struct attach_reply reply;
    int fds[ATTACH_FDS];
    int remotes[ATTACH_EVENTFDS];
    request_answer_func answer;
    void *data;
};

static bool failed(const struct session *session)
{
    return session->failure.status != ATTACH_OK;
}

/* ---- redirection entries ---- */

static bool same_route(uint64_t a, uint64_t b)
{
    return ((a ^ b) & ATTACH_ENTRY_ROUTE) == 0;
}

static bool is_unused(const struct kvm_ioapic_state *state, unsigned pin)
{
    uint64_t entry = state->redirtbl[pin].bits;

    return (entry & ATTACH_ENTRY_MASKED) != 0 && (entry & ATTACH_ENTRY_REMOTE_IRR) == 0 &&
           (state->irr >> pin & 1) == 0;
}

static uint64_t borrowed_entry(const struct attach_request *request)
{
    return (request->entry & ATTACH_ENTRY_ROUTE) |
           ((request->flags & ATTACH_EDGE) != 0 ? 0 : ATTACH_ENTRY_LEVEL);
}

/* Just as it is to be borrowed: left by a daemon that was killed, or restored with a guest that was
 * saved while it was borrowed. A tick may be in flight there. */
static bool is_left_over(const struct attach_request *request, const struct kvm_ioapic_state *state,
                         unsigned pin)
{
    return (state->redirtbl[pin].bits & ~(ATTACH_ENTRY_STATUS | ATTACH_ENTRY_REMOTE_IRR)) ==
           borrowed_entry(request);
}

static bool may_take(const struct attach_request *request, unsigned pin)
{
    return request->pins == 0 || (request->pins >> pin & 1) != 0;
}

/* The first that is left over; else the best one that the guest never touched; the highest, since
 * PCI takes them from below. */
static bool choose_pin(struct session *session, const struct kvm_ioapic_state *state)
{
    uint32_t wanted = session->request->pin, found = ATTACH_PIN_ANY;

    for (unsigned pin = PIN_LAST; wanted == ATTACH_PIN_ANY && pin >= ATTACH_PIN_FIRST; pin--) {
        if (may_take(session->request, pin) && is_unused(state, pin) &&
            (found == ATTACH_PIN_ANY || (state->redirtbl[pin].bits == UNTOUCHED &&
                                         state->redirtbl[found].bits != UNTOUCHED))) {
            found = pin;
        }
    }
    for (unsigned pin = PIN_LAST; wanted == ATTACH_PIN_ANY && pin >= ATTACH_PIN_FIRST; pin--) {
        found = may_take(session->request, pin) && is_left_over(session->request, state, pin)
                    ? pin
                    : found;
    }
    if (wanted != ATTACH_PIN_ANY &&
        (is_unused(state, wanted) || is_left_over(session->request, state, wanted))) {
        found = wanted;
    }
    session->reply.pin = found;
    if (found != ATTACH_PIN_ANY) {
        return true;
    }
    return wanted == ATTACH_PIN_ANY
               ? fail(&session->failure, ATTACH_PIN_IN_USE,
                      "the guest of process %d uses all IOAPIC pins from %u to %u: none can be "
                      "borrowed",
                      session->target.pid, ATTACH_PIN_FIRST, PIN_LAST)
               : fail(&session->failure, ATTACH_PIN_IN_USE,
                      "the guest of process %d uses IOAPIC pin %u: ask for another one",
                      session->target.pid, wanted);
}

static void tell_entries(struct session *session, const struct kvm_ioapic_state *state)
{
    for (unsigned pin = 0; pin < ATTACH_PINS; pin++) {
        session->reply.entries[pin] = state->redirtbl[pin].bits;
    }
    if (session->reply.pin < ATTACH_PINS) {
        session->reply.old_entry = state->redirtbl[session->reply.pin].bits;
        if (session->request->kind == ATTACH_BORROW &&
            is_left_over(session->request, state, session->reply.pin)) {
            session->reply.old_entry = UNTOUCHED; /* not to be returned to what nobody raises */
        }
    }
}

/* ---- changes, made while the VMM stands still ---- */

typedef bool (*change_func)(struct session *session, struct kvm_ioapic_state *state);

static bool borrow_pin(struct session *session, struct kvm_ioapic_state *state)
{
    uint32_t pin = session->reply.pin;

    if (is_left_over(session->request, state, pin)) {
        return true;
    }
    if (!is_unused(state, pin)) {
        return fail(&session->failure, ATTACH_PIN_IN_USE,
                    "the guest of process %d has just begun to use IOAPIC pin %u: try again",
                    session->target.pid, pin);
    }
    state->redirtbl[pin].bits = borrowed_entry(session->request);
    return true;
}

/* A level-triggered tick that was accepted for the old vector keeps its pin busy until the EOI,
 * which is told by the vector. If that changes, the EOI will not be seen: the pin has to be set
 * free. */
static void drop_tick(struct session *session, struct kvm_ioapic_state *state, uint64_t *entry)
{
    uint32_t pin = session->reply.pin;
    uint64_t old = state->redirtbl[pin].bits;
    bool same_vector = ((old ^ *entry) & ATTACH_ENTRY_VECTOR) == 0;
    bool masked = (*entry & ATTACH_ENTRY_MASKED) != 0;

    *entry &= ~(ATTACH_ENTRY_REMOTE_IRR | ATTACH_ENTRY_STATUS);
    if ((old & ATTACH_ENTRY_REMOTE_IRR) == 0) {
        return;
    }
    if (same_vector && !masked) {
        *entry |= ATTACH_ENTRY_REMOTE_IRR;
    } else {
        state->irr &= ~(UINT32_C(1) << pin);
        session->reply.flags |= ATTACH_TICK_DROPPED;
    }
}

static bool replace_entry(struct session *session, struct kvm_ioapic_state *state)
{
    const struct attach_request *request = session->request;
    uint64_t old = state->redirtbl[request->pin].bits;
    uint64_t entry = request->kind == ATTACH_RETURN
                         ? request->entry
                         : (request->entry & ATTACH_ENTRY_ROUTE) | (old & ATTACH_ENTRY_LEVEL);

    if (!same_route(old, request->expected) || (old & ATTACH_ENTRY_MASKED) != 0) {
        return fail(&session->failure, ATTACH_PIN_LOST,
                    "the guest of process %d has taken IOAPIC pin %u back (its entry is %#" PRIx64
                    "), as a reset does: borrow one again",
                    session->target.pid, request->pin, old);
    }
    drop_tick(session, state, &entry);
    state->redirtbl[request->pin].bits = entry;
    return true;
}

static bool put_back(struct session *session, struct kvm_ioapic_state *state)
{
    uint32_t pin = session->reply.pin;
    uint64_t entry = session->reply.old_entry;

    if (same_route(state->redirtbl[pin].bits, borrowed_entry(session->request))) {
        drop_tick(session, state, &entry);
        state->redirtbl[pin].bits = entry;
    }
    return true;
}

static bool get_and_tell(struct session *session, struct kvm_ioapic_state *ret_state)
{
    if (!kvm_finish_get_ioapic(&session->worker, ret_state, &session->failure)) {
        return false;
    }
    tell_entries(session, ret_state);
    return true;
}

static bool change_and_set(struct session *session, struct kvm_ioapic_state *state,
                           change_func change)
{
    return change(session, state) && kvm_set_ioapic(&session->worker, state, &session->failure);
}

/* The pin alone will do, and the reason is told. */
static bool do_without_lease(struct session *session)
{
    struct failure *failure = &session->failure;

    if (failure->status != ATTACH_NO_LEASE || (session->request->flags & ATTACH_OR_PIN) == 0) {
        return false;
    }
    memcpy(session->reply.reason, failure->reason, sizeof(session->reply.reason));
    *failure = (struct failure){.status = ATTACH_OK};
    session->leasing = false;
    return true;
}

static bool take_lease(struct session *session, struct kvm_ioapic_state *state)
{
    if (lease_take(&session->lease, &session->failure)) {
        session->reply.flags |= ATTACH_LEASED;
        return true;
    }
    if (!do_without_lease(session)) {
        put_back(session, state);
        kvm_set_ioapic(&session->worker, state, &(struct failure){.status = ATTACH_OK});
        return false;
    }
    return true;
}

/* The pin comes first, so that the first tick's EOI is heard. */
static bool borrow_stopped(struct session *session)
{
    struct kvm_ioapic_state state;

    bool swept = false;

    if (!get_and_tell(session, &state) ||
        !lease_sweep(&session->lease, &state, &swept, &session->failure) ||
        (session->leasing && !lease_find(&session->lease, &session->failure) &&
         !do_without_lease(session))) {
        return false;
    }
    session->reply.flags |= swept ? ATTACH_LEFT_OVER : 0;
    return change_and_set(session, &state, borrow_pin) &&
           (!session->leasing || take_lease(session, &state));
}

static bool move_lease(struct session *session, struct kvm_ioapic_state *state, uint64_t old_entry)
{
    if (lease_move(&session->lease, &session->reply.unseen, &session->failure)) {
        return true;
    }
    state->redirtbl[session->request->pin].bits = old_entry;
    kvm_set_ioapic(&session->worker, state, &(struct failure){.status = ATTACH_OK});
    return false;
}

static bool reroute_stopped(struct session *session)
{
    struct kvm_ioapic_state state;

    if (!get_and_tell(session, &state) ||
        (session->leasing && !lease_find_move(&session->lease, &session->failure))) {
        return false;
    }
    uint64_t old_entry = state.redirtbl[session->request->pin].bits;
    return change_and_set(session, &state, replace_entry) &&
           (!session->leasing || move_lease(session, &state, old_entry));
}

/* Whatever has become of the pin, the lease is given back; and of a pin that is lost nothing is to
 * be put back. */
static bool return_stopped(struct session *session)
{
    const struct attach_request *request = session->request;
    struct kvm_ioapic_state state;

    if (!get_and_tell(session, &state) ||
        (session->leasing && !lease_return(&session->lease, &request->lease, &session->reply.unseen,
                                           &session->failure))) {
        return false;
    }
    bool lost = !same_route(state.redirtbl[request->pin].bits, request->expected) ||
                (state.redirtbl[request->pin].bits & ATTACH_ENTRY_MASKED) != 0;
    return (session->leasing && lost && request->kind == ATTACH_RETURN) ||
           change_and_set(session, &state, replace_entry);
}

static bool put_back_stopped(struct session *session)
{
    struct kvm_ioapic_state state;

    return kvm_finish_get_ioapic(&session->worker, &state, &session->failure) &&
           ((session->reply.flags & ATTACH_LEASED) == 0 ||
            lease_return(&session->lease, &session->reply.lease, &session->reply.unseen,
                         &session->failure)) &&
           change_and_set(session, &state, put_back);
}

static bool read_stopped(struct session *session)
{
    struct kvm_ioapic_state state;

    return get_and_tell(session, &state) && lease_read(&session->lease, &session->failure);
}

/* What matters is how long @act takes: all that can be done before was done. */
static bool with_all_stopped(struct session *session, bool (*act)(struct session *session))
{
    struct worker *worker = &session->worker;
    struct failure *failure = &session->failure;
    struct world world;

    haste_prepare(worker->thread.tid);
    bool done = (worker->gate >= 0 || kvm_make_gate(worker, failure)) &&
                world_open(&world, worker, failure) && kvm_prepare_get_ioapic(worker, failure);
    deadline_narrow(STALL_MAX_MS);
    done = done && world_stop(&world, failure);
    if (done) {
        haste_begin();
        deadline_widen(); /* what is begun now is brought to its end */
        done = act(session);
        world_let_go(&world);
        session->reply.stall_ns = world.stall_ns;
    }
    deadline_widen();
    world_close(&world);
    return done;
}

/* ---- kinds ---- */

static bool make_eventfds(struct session *session, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!kvm_eventfd(&session->worker, &session->fds[i], &session->remotes[i],
                         &session->failure)) {
            return false;
        }
        session->reply.fds++;
    }
    return true;
}

static bool make_listener(struct session *session, uint32_t gsi, unsigned first)
{
    return kvm_irqfd(&session->worker, session->remotes[first], gsi, session->remotes[first + 1],
                     &session->failure);
}

static bool make_pulse(struct session *session, uint32_t gsi, unsigned trigger)
{
    return kvm_irqfd(&session->worker, session->remotes[trigger], gsi, -1, &session->failure);
}

static bool tell_pics(struct session *session)
{
    for (unsigned pic = 0; pic < ATTACH_PICS; pic++) {
        struct kvm_pic_state state;

        if (!kvm_get_pic(&session->worker, pic, &state, &session->failure)) {
            return false;
        }
        session->reply.pic_base[pic] = state.irq_base;
        session->reply.pic_mask[pic] = state.imr;
    }
    return true;
}

/* Modes 2 and 3 are periodic, and 6 and 7 the same; KVM keeps a count of 65536 as it is, or as 0.
 */
static bool tell_pit(struct session *session)
{
    struct kvm_pit_state2 state;

    if (!kvm_get_pit(&session->worker, &state, &session->failure)) {
        return false;
    }
    uint32_t count = state.channels[0].count;
    bool periodic = state.channels[0].mode < 8 && (state.channels[0].mode & 2) != 0;
    session->reply.pit_length = !periodic ? 0 : count == 0 ? PIT_COUNT_MAX : count;
    return true;
}

static bool run_read(struct session *session)
{
    struct kvm_ioapic_state state;

    if (!kvm_get_ioapic(&session->worker, &state, &session->failure)) {
        return false;
    }
    session->reply.pin = session->request->pin;
    tell_entries(session, &state);
    return tell_pics(session) && tell_pit(session) &&
           (!session->leasing || with_all_stopped(session, read_stopped));
}

/* What is told is read while the listener is there already: a change from then on may be noticed by
 * what it hears. */
static bool run_listen(struct session *session)
{
    bool pulse = (session->request->flags & ATTACH_WITH_PULSE) != 0;
    uint32_t gsi = session->request->pin;

    return make_eventfds(session, pulse ? 3 : 2) && make_listener(session, gsi, 0) &&
           (!pulse || make_pulse(session, gsi, 2)) && run_read(session);
}

static bool run_pulse(struct session *session)
{
    return make_eventfds(session, 1) && make_pulse(session, session->request->pin, 0);
}

static bool run_borrow(struct session *session)
{
    bool edge = (session->request->flags & ATTACH_EDGE) != 0;
    struct kvm_ioapic_state state;

    if (!kvm_get_ioapic(&session->worker, &state, &session->failure) ||
        !choose_pin(session, &state) || !make_eventfds(session, edge ? 3 : 2)) {
        return false;
    }
    if (edge && !make_pulse(session, session->reply.pin, 0)) {
        return false;
    }
    return make_listener(session, session->reply.pin, edge ? 1 : 0) &&
           with_all_stopped(session, borrow_stopped);
}

static bool run_replace(struct session *session)
{
    session->reply.pin = session->request->pin;
    bool moves = session->request->kind == ATTACH_REROUTE &&
                 (session->request->flags & ATTACH_END_LEASE) == 0;

    return with_all_stopped(session, moves ? reroute_stopped : return_stopped);
}

static bool run_kind(struct session *session)
{
    switch ((enum attach_kind)session->request->kind) {
    case ATTACH_READ:
        return run_read(session);
    case ATTACH_LISTEN:
        return run_listen(session);
    case ATTACH_PULSE:
        return run_pulse(session);
    case ATTACH_BORROW:
        return run_borrow(session);
    case ATTACH_REROUTE:
    case ATTACH_RETURN:
        return run_replace(session);
    case ATTACH_CHECK:
    case ATTACH_TRACE: /* don't come here: they need no worker */
        break;
    }
    return fail(&session->failure, ATTACH_BAD_REQUEST, "kind %u of request is unknown",
                session->request->kind);
}

/* ---- the request as a whole ---- */

static bool answer(struct session *session)
{
    struct attach_reply *reply = &session->reply;

    reply->magic = ATTACH_MAGIC;
    reply->version = ATTACH_VERSION;
    reply->status = session->failure.status;
    if (failed(session)) {
        memcpy(reply->reason, session->failure.reason, sizeof(reply->reason));
        reply->fds = 0;
    }
    return session->answer(reply, session->fds, session->data);
}

static bool prepare_lease(struct session *session)
{
    session->leasing = (session->request->flags & ATTACH_LEASE) != 0;
    return (!session->leasing && session->request->kind != ATTACH_BORROW) ||
           lease_prepare(&session->lease, &session->worker, session->request, &session->reply.lease,
                         &session->failure) ||
           do_without_lease(session);
}

/* With the worker still there, so that what nobody gets can be put back. */
static void run_with_worker(struct session *session)
{
    bool done = kvm_check_machine(&session->worker, &session->failure) &&
                leftovers_close(&session->worker, &session->failure) && prepare_lease(session) &&
                run_kind(session);

    if (done && !answer(session) && session->request->kind == ATTACH_BORROW) {
        with_all_stopped(session, put_back_stopped);
    }
    worker_end(&session->worker);
    if (!done) {
        answer(session);
    }
}

/* That is needed in the VMM's table. */
static int last_descriptor(const struct session *session)
{
    bool vcpus =
        session->request->kind == ATTACH_BORROW || (session->request->flags & ATTACH_LEASE) != 0;

    return vcpus ? target_last_fd(&session->target) : session->target.vm_fd;
}

static void run_attached(struct session *session)
{
    const struct attach_request *request = session->request;

    if (target_open(&session->target, request->pid, request->start_time, TARGET_ATTACH,
                    &session->failure)) {
        if (code_find(&session->target, &session->code, &session->failure) &&
            worker_start(&session->worker, &session->target, &session->code,
                         last_descriptor(session), &session->failure)) {
            run_with_worker(session);
        } else {
            answer(session);
        }
        target_close(&session->target);
    } else {
        answer(session);
    }
}

/* Nothing is done to the VMM. */
static void run_looking(struct session *session)
{
    const struct attach_request *request = session->request;

    if (target_open(&session->target, request->pid, request->start_time, TARGET_LOOK,
                    &session->failure)) {
        if (request->kind == ATTACH_TRACE) {
            trace_open(&session->target, request, &session->reply, session->fds, &session->failure);
        }
        target_close(&session->target);
    }
    answer(session);
}

void request_run(const struct attach_request *request, request_answer_func answer_func, void *data)
{
    struct session session = {.request = request, .answer = answer_func, .data = data};

    session.reply.pin = ATTACH_PIN_ANY;
    if (!request_check(request, &session.failure)) {
        answer(&session);
    } else if (request->kind == ATTACH_CHECK || request->kind == ATTACH_TRACE) {
        run_looking(&session);
    } else {
        run_attached(&session);
    }
    for (unsigned i = 0; i < session.reply.fds; i++) {
        close(session.fds[i]);
    }
}
