/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which of libvirt's running domains hvtimer can serve, and where another makes up lost ticks. */
#include "hvapi/verify/domain-facts.h"
#include "hvapi/verify/verify.h"

#include <string.h>

#define SUBJECT_ONE  "domain"
#define SUBJECT_QEMU "rtc-catchup"
#define SUBJECT_ALL  "domains"

#define THEN_RESTART "then shut it down and start it (a reboot is not enough)"

static void add(const struct verify *verify, enum finding_level level, const char *name,
                const char *found, const char *meaning, const char *remedy)
{
    findings_add(verify->findings, SUBJECT_ONE, level, g_strdup_printf("%s: %s", name, found),
                 meaning, remedy);
}

/* The name as a word for a shell, which remedies are copied to: libvirt lets a name have blanks,
 * and characters that mean something there. (transfer full) */
static char *as_word(const char *name)
{
    for (const char *c = name; *c != '\0'; c++) {
        if (!g_ascii_isalnum(*c) && strchr("._-+:@", *c) == NULL) {
            return g_shell_quote(name);
        }
    }
    return g_strdup(name);
}

/* KVM refuses KVM_IRQFD_FLAG_RESAMPLE there, and has no IOAPIC to be read (KVM_GET_IRQCHIP). */
static void add_split(const struct verify *verify, const char *name,
                      const struct domain_facts *facts)
{
    g_autofree char *word = as_word(name);
    g_autofree char *remedy =
        g_strdup_printf("virsh edit %s: <ioapic driver='kvm'/> in <features>, " THEN_RESTART
                        "; QEMU's own is needed only where an <iommu> remaps interrupts",
                        word);

    add(verify, FINDING_WARN, name, "its IOAPIC is QEMU's, not KVM's (split irqchip)",
        facts->qemu_slews_rtc
            ? "there is no pin to borrow: hvtimer refuses it; and QEMU's tickpolicy 'catchup' "
              "raises far too many RTC ticks in it"
            : "there is no pin to borrow, and no EOI to be heard of: hvtimer refuses it",
        remedy);
}

static void add_two_correctors(const struct verify *verify, const char *name, gboolean rtc)
{
    g_autofree char *word = as_word(name);
    g_autofree char *remedy =
        g_strdup_printf("virsh edit %s: %s, " THEN_RESTART
                        "; or leave it to %s: hvtimerctl %s %s observe --live --config",
                        word,
                        rtc ? "no tickpolicy='catchup' in <timer name='rtc'>"
                            : "tickpolicy='discard' in <timer name='pit'>",
                        rtc ? "QEMU" : "KVM", rtc ? "rtc" : "pit", word);

    add(verify, FINDING_WARN, name,
        rtc ? "its metadata ask hvtimer to slew the RTC, and its tickpolicy 'catchup' QEMU"
            : "its metadata ask hvtimer to slew the PIT, and without tickpolicy 'discard' KVM does",
        "two correctors would add up, so hvtimer only observes", remedy);
}

/* Managers ask for it in each Windows guest, so it is said once for all. QEMU slews in IOAPIC mode
 * only, and over twenty times as fast as the guest's ticks: tried with QEMU 7.2. */
static void add_slewing_qemu(const struct verify *verify, GPtrArray *names)
{
    g_autofree char *list = NULL;

    g_ptr_array_add(names, NULL);
    list = g_strjoinv(", ", (char **)names->pdata);
    findings_add(
        verify->findings, SUBJECT_QEMU, FINDING_INFO,
        g_strdup_printf("QEMU makes up the RTC's lost ticks (tickpolicy 'catchup') of %s", list),
        "hvtimer would only observe there; QEMU does it at up to twenty times the speed, "
        "and not for guests that take the ticks by the PIC (a HAL without APIC)",
        "where hvtimer is to do it: virsh edit DOMAIN: no tickpolicy='catchup' in <timer "
        "name='rtc'>; hvtimerctl rtc DOMAIN slew --config; " THEN_RESTART);
}

/* Returns: whether hvtimer can serve it. @slewing: names, of those where only QEMU makes up. */
static gboolean judge(const struct verify *verify, const struct services_domain *domain,
                      GPtrArray *slewing)
{
    g_autoptr(GError) error = NULL;
    struct domain_facts facts;

    if (domain->xml == NULL || !domain_facts_read(domain->xml, &facts, &error)) {
        add(verify, FINDING_INFO, domain->name,
            error != NULL ? error->message : "libvirt does not hand out its XML",
            "whether hvtimer can serve it shows when a timer is enabled", NULL);
        return FALSE;
    }
    if (!facts.kvm) {
        add(verify, FINDING_INFO, domain->name, "KVM does not run it",
            "hvtimer serves KVM's guests only", NULL);
        return FALSE;
    }
    if (facts.split) {
        add_split(verify, domain->name, &facts);
        return FALSE;
    }
    if (facts.qemu_slews_rtc && facts.wants_rtc) {
        add_two_correctors(verify, domain->name, TRUE);
    } else if (facts.kvm_slews_pit && facts.wants_pit) {
        add_two_correctors(verify, domain->name, FALSE);
    } else if (facts.qemu_slews_rtc) {
        g_ptr_array_add(slewing, domain->name);
    }
    return TRUE;
}

void verify_domains(const struct verify *verify)
{
    const struct services_libvirt *libvirt = verify->services->libvirt;
    g_autoptr(GPtrArray) slewing = g_ptr_array_new();
    guint served = 0;

    if (libvirt == NULL || libvirt->error != NULL) {
        return;
    }
    for (guint i = 0; i < libvirt->domains->len; i++) {
        served += judge(verify, libvirt->domains->pdata[i], slewing) ? 1 : 0;
    }
    if (slewing->len > 0) {
        add_slewing_qemu(verify, slewing);
    }
    if (served > 0) {
        findings_add(
            verify->findings, SUBJECT_ALL, FINDING_OK,
            g_strdup_printf("%u of %u that run have KVM's irqchip", served, libvirt->domains->len),
            "hvtimer can give them ticks: 'hvtimerctl list' shows them", NULL);
    } else if (libvirt->domains->len == 0) {
        findings_add(verify->findings, SUBJECT_ALL, FINDING_OK, g_strdup("none runs"),
                     "what hvtimer can do for one shows here while it runs", NULL);
    }
}
