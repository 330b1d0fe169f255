/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What 'hvtimerctl verify' says of hvtimerd, its configuration and its engine, and of libvirt. */
#include "tests/unit/test-verify.h"

#include "hvapi/verify/domain-facts.h"
#include <sched.h>
#include <string.h>

/* ---- hvtimerd ---- */

static void assert_silence(struct fake *f, GQuark domain, int code, enum finding_level level,
                           const char *word)
{
    set_hvtimerd_error(f, g_error_new_literal(domain, code, "the reason\nand more \033[31m"));
    assert_finding(f, "hvtimerd", level, word);
}

static void test_hvtimerd(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    assert_finding(f, "hvtimerd", FINDING_WARN, "systemctl enable --now hvtimerd");
    assert_no_finding(f, "engine");
    assert_silence(f, G_DBUS_ERROR, G_DBUS_ERROR_ACCESS_DENIED, FINDING_INFO, "as root");
    assert_silence(f, G_IO_ERROR, G_IO_ERROR_TIMED_OUT, FINDING_WARN, "no answer within");
    assert_silence(f, G_DBUS_ERROR, G_DBUS_ERROR_NO_REPLY, FINDING_WARN, "no answer within");
    assert_silence(f, G_IO_ERROR, G_IO_ERROR_FAILED, FINDING_WARN, "the reason and more ?[31m");
    write_hvtimerd(f, 0, SCHED_FIFO, "0-7");
    assert_finding(f, "hvtimerd", FINDING_OK, PACKAGE_VERSION " runs (process 4711)");
    g_free(f->services.hvtimerd->version);
    f->services.hvtimerd->version = g_strdup("0.0.9");
    assert_finding(f, "hvtimerd", FINDING_WARN, "0.0.9 runs");
    assert_finding(f, "hvtimerd", FINDING_WARN, "systemctl restart hvtimerd");
}

static void test_configuration(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_file(f, CONFIG, "{\"#\": \"a comment\", \"engine\": {\"cpu\": \"no number\"}}");
    assert_no_finding(f, "configuration"); /* hvtimerd --check-config's business */
    write_file(f, CONFIG, "{\"engine\": {\"cpu\": 3}");
    assert_finding(f, "configuration", FINDING_WARN, CONFIG " is not a JSON object");
    assert_finding(f, "configuration", FINDING_WARN, "hvtimerd --check-config");
    write_file(f, CONFIG, "{}");
    write_file(f, DROP_IN "x.json", "[]");
    assert_finding(f, "configuration", FINDING_WARN, "x.json");
}

static void test_engine(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    write_hvtimerd(f, 998, SCHED_FIFO, "0-7");
    assert_finding(f, "engine", FINDING_OK, "SCHED_FIFO 50");
    write_file(f, DAEMON "status", "Name:\thvtimerd\nVmLck:\t       0 kB\n");
    assert_finding(f, "engine", FINDING_WARN, "LimitMEMLOCK");
    write_file(f, CONFIG, "{\"engine\": {\"lock_memory\": false}}");
    assert_finding(f, "engine", FINDING_OK, "SCHED_FIFO 50");
    write_hvtimerd(f, 998, SCHED_OTHER, "0-7");
    assert_finding(f, "engine", FINDING_WARN, "LimitRTPRIO");
    write_file(f, "/sys/fs/cgroup/cpu/system.slice/hvtimerd.service/cpu.rt_runtime_us", "0\n");
    assert_finding(f, "engine", FINDING_WARN, "hvtimerd.service/cpu.rt_runtime_us is 0");
    write_file(f, CONFIG, "{\"engine\": {\"priority\": 0}}");
    assert_finding(f, "engine", FINDING_INFO, "as engine.priority has it");
    write_file(f, DAEMON "task/4713/stat", "4713 (hvt-engine) S 1");
    assert_finding(f, "engine", FINDING_INFO, "unknown");
    remove_path(f, DAEMON);
    assert_finding(f, "engine", FINDING_INFO, "unknown");
}

/* ---- libvirt ---- */

static void test_libvirt(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    assert_no_finding(f, "libvirt"); /* it was not asked */
    assert_no_finding(f, "domains");
    set_libvirt(f, g_error_new_literal(G_IO_ERROR, G_IO_ERROR_FAILED, "no such socket"));
    assert_finding(f, "libvirt", FINDING_WARN, "qemu:///system: no such socket");
    assert_finding(f, "libvirt", FINDING_WARN, "systemctl start libvirtd");
    assert_no_finding(f, "domains");
    set_libvirt(f, g_error_new_literal(G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "no answer"));
    assert_finding(f, "libvirt", FINDING_WARN, "systemctl restart libvirtd");
    set_libvirt(f, NULL);
    assert_finding(f, "libvirt", FINDING_OK, "libvirt 9.0.0, QEMU 7.2.22");
    assert_finding(f, "domains", FINDING_OK, "none runs");
}

static void test_group(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    set_libvirt(f, NULL);
    write_file(f, "/etc/group",
               "root:x:0:\nlibvirt-qemu:x:64055:hvtimer\nlibvirt:x:123:hvtimers\n");
    assert_no_finding(f, "libvirt-group"); /* no such user */
    write_file(f, "/etc/passwd", "root:x:0:0::/:/bin/sh\nhvtimer:x:998:998::/:/bin/false\n");
    assert_finding(f, "libvirt-group", FINDING_WARN, "usermod -aG libvirt hvtimer");
    write_file(f, "/etc/group", "libvirt:x:123:someone,hvtimer\n");
    assert_finding(f, "libvirt-group", FINDING_OK, "is in the group");
    write_file(f, "/etc/passwd", "hvtimer:x:998:123::/:/bin/false\n");
    write_file(f, "/etc/group", "libvirt:x:123:\n");
    assert_finding(f, "libvirt-group", FINDING_OK, "is in the group");
}

/* ---- domains ---- */

/* What a domain's XML has of it. */
#define DOMAIN(features, clock, metadata)                                             \
    "<domain type='kvm' id='3'><name>d</name><metadata>" metadata                     \
    "</metadata><os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>"      \
    "<features><acpi/><apic/>" features "</features><clock offset='localtime'>" clock \
    "</clock></domain>"
#define ASSIST(content) \
    "<hvtimer:assist xmlns:hvtimer='urn:hvtimer:domain:1.0'>" content "</hvtimer:assist>"
#define CATCHUP "<timer name='pit' tickpolicy='delay'/><timer name='rtc' tickpolicy='catchup'/>"

static const char plain[] = DOMAIN("", "", "");
static const char split[] = DOMAIN("<ioapic driver='qemu'/>", "", "");
static const char kernel[] = DOMAIN("<ioapic driver='kvm'/>", CATCHUP, "");

static void assert_facts(const char *xml, struct domain_facts expected)
{
    g_autoptr(GError) error = NULL;
    struct domain_facts facts;

    domain_facts_read(xml, &facts, &error);
    g_assert_no_error(error);
    g_assert_cmpint(facts.kvm, ==, expected.kvm);
    g_assert_cmpint(facts.split, ==, expected.split);
    g_assert_cmpint(facts.qemu_slews_rtc, ==, expected.qemu_slews_rtc);
    g_assert_cmpint(facts.kvm_slews_pit, ==, expected.kvm_slews_pit);
    g_assert_cmpint(facts.wants_rtc, ==, expected.wants_rtc);
    g_assert_cmpint(facts.wants_pit, ==, expected.wants_pit);
}

#define FACTS(...) ((struct domain_facts){.kvm = TRUE, __VA_ARGS__})

static void test_facts(void)
{
    assert_facts(plain, FACTS(.kvm_slews_pit = TRUE));
    assert_facts(split, FACTS(.split = TRUE));
    assert_facts(kernel, FACTS(.qemu_slews_rtc = TRUE, .kvm_slews_pit = TRUE));
    assert_facts(DOMAIN("", "<timer name='pit' tickpolicy='discard'/>", ""), FACTS(0));
    assert_facts(DOMAIN("", "<timer name='pit' present='no'/>", ""), FACTS(0));
    assert_facts(DOMAIN("", "<timer name='rtc' tickpolicy='delay'/>", ""),
                 FACTS(.kvm_slews_pit = TRUE));
    assert_facts("<domain type='qemu'/>", (struct domain_facts){.kvm_slews_pit = TRUE});
    /* QEMU's default for one machine, unless it is told otherwise. */
    assert_facts("<domain type='kvm'><os><type machine='pc-q35-4.0'/></os></domain>",
                 FACTS(.split = TRUE));
    assert_facts("<domain type='kvm'><os><type machine='pc-q35-4.0'/></os><features><ioapic "
                 "driver='kvm'/></features></domain>",
                 FACTS(.kvm_slews_pit = TRUE));
    assert_facts("<domain type='kvm'><os><type machine='pc-q35-4.0.1'/></os></domain>",
                 FACTS(.kvm_slews_pit = TRUE));
}

static void test_facts_wishes(void)
{
    assert_facts(DOMAIN("", "", ASSIST("<hvtimer:rtc mode='slew'/>")),
                 FACTS(.kvm_slews_pit = TRUE, .wants_rtc = TRUE));
    assert_facts(DOMAIN("", "", ASSIST("<hvtimer:pit mode='slew' force='no'/>")),
                 FACTS(.kvm_slews_pit = TRUE, .wants_pit = TRUE));
    assert_facts(DOMAIN("", "", ASSIST("<hvtimer:rtc mode='slew' force='yes'/>")),
                 FACTS(.kvm_slews_pit = TRUE));
    assert_facts(DOMAIN("", "", ASSIST("<hvtimer:rtc mode='observe'/>")),
                 FACTS(.kvm_slews_pit = TRUE));
    assert_facts(DOMAIN("", "", "<x:assist xmlns:x='urn:other'><x:rtc mode='slew'/></x:assist>"),
                 FACTS(.kvm_slews_pit = TRUE));
}

static void test_facts_hostile(void)
{
    g_autofree char *deep = g_strnfill(100000, '<');
    const char *const texts[] = {"",
                                 "x",
                                 "<domain",
                                 "<network/>",
                                 "<x:domain xmlns:x='urn:x'/>",
                                 "<!DOCTYPE d [<!ENTITY a SYSTEM '/etc/passwd'>]><d>&a;</d>",
                                 deep};

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        struct domain_facts facts;

        g_assert_false(domain_facts_read(texts[i], &facts, &error));
        g_assert_error(error, G_MARKUP_ERROR, G_MARKUP_ERROR_PARSE);
    }
}

/* The one of @name. */
static void assert_domain(struct fake *f, const char *name, const char *xml,
                          enum finding_level level, const char *found, const char *remedy)
{
    g_autoptr(GPtrArray) findings = NULL;
    const struct finding *finding;

    services_add_domain(set_libvirt(f, NULL), name, xml);
    findings = verify_fake(f);
    finding = find(findings, "domain");
    g_assert_nonnull(finding);
    g_assert_cmpint(finding->level, ==, level);
    g_assert_true(g_str_has_prefix(finding->found, name));
    g_assert_nonnull(strstr(finding->found, found));
    g_assert_true(remedy == NULL || strstr(finding->remedy, remedy) != NULL);
}

static void test_domain(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    write_intel(f);
    assert_domain(f, "old", split, FINDING_WARN, "split", "virsh edit old: <ioapic driver='kvm'/>");
    assert_domain(f, "w", DOMAIN("", CATCHUP, ASSIST("<hvtimer:rtc mode='slew'/>")), FINDING_WARN,
                  "'catchup' QEMU", "hvtimerctl rtc w observe");
    assert_domain(f, "p", DOMAIN("", "", ASSIST("<hvtimer:pit mode='slew'/>")), FINDING_WARN,
                  "KVM does", "tickpolicy='discard'");
    assert_domain(f, "t", "<domain type='qemu'/>", FINDING_INFO, "KVM does not run it", NULL);
    assert_domain(f, "x", "<nonsense", FINDING_INFO, "not that of a domain", NULL);
    assert_domain(f, "y", NULL, FINDING_INFO, "does not hand out", NULL);
    /* It is printed. */
    services_add_domain(set_libvirt(f, NULL), "evil\033[2J", split);
    assert_finding(f, "domain", FINDING_WARN, "evil?[2J: ");
    assert_finding(f, "domain", FINDING_WARN, "virsh edit 'evil?[2J': ");
    /* Its remedy goes into a shell. */
    services_add_domain(set_libvirt(f, NULL), "x$(id)", split);
    assert_finding(f, "domain", FINDING_WARN, "virsh edit 'x$(id)': ");
    assert_domain(f, "old box", DOMAIN("", CATCHUP, ASSIST("<hvtimer:rtc mode='slew'/>")),
                  FINDING_WARN, "old box: ", "hvtimerctl rtc 'old box' observe");
}

static void test_domains(struct fake *f, G_GNUC_UNUSED gconstpointer data)
{
    g_autoptr(GPtrArray) findings = NULL;
    struct services_libvirt *libvirt;

    write_intel(f);
    libvirt = set_libvirt(f, NULL);
    services_add_domain(libvirt, "a", plain);
    services_add_domain(libvirt, "b", split);
    services_add_domain(libvirt, "c", split);
    services_add_domain(libvirt, "win7", kernel);
    services_add_domain(libvirt, "xp", kernel);
    assert_finding(f, "domains", FINDING_OK, "3 of 5 that run");
    assert_finding(f, "rtc-catchup", FINDING_INFO, "of win7, xp");
    findings = verify_fake(f);
    g_assert_cmpstr(find(findings, "domain")->found, ==,
                    "b: its IOAPIC is QEMU's, not KVM's (split irqchip)");
    /* Fifty guests make one line of it. */
    for (unsigned i = 0; i < 50; i++) {
        services_add_domain(libvirt, "a-domain-with-a-long-name", kernel);
    }
    assert_finding(f, "rtc-catchup", FINDING_INFO, "...");
}

void add_service_tests(void)
{
    g_test_add_func("/verify/domain-facts/clocks", test_facts);
    g_test_add_func("/verify/domain-facts/wishes", test_facts_wishes);
    g_test_add_func("/verify/domain-facts/hostile", test_facts_hostile);
    add_verify_test("services/hvtimerd", test_hvtimerd);
    add_verify_test("services/configuration", test_configuration);
    add_verify_test("services/engine", test_engine);
    add_verify_test("services/libvirt", test_libvirt);
    add_verify_test("services/libvirt-group", test_group);
    add_verify_test("services/domain", test_domain);
    add_verify_test("services/domains", test_domains);
}
