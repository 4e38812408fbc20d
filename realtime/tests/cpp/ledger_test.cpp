#include "check.h"
#include "ledger.h"

#include <cstring>
#include <set>
#include <string>
#include <system_error>
#include <unistd.h>

using namespace qdeck;

static std::string shared_name() { return "quarterdeck-ledger-test-" + std::to_string(getpid()); }

static void another_mapping_sees_it() {
    const std::string name = shared_name();
    Ledger ledger(3, name, 4);
    ledger.head().sweeps.store(42);
    std::strcpy(ledger.patch(2).name, "left upper");
    ledger.patch(2).reaction.record(1234);
    const Region other = Region::open(name);
    CHECK(other.bytes() >= ledger.head().bytes);
    const auto *head = static_cast<const LedgerHead *>(other.data());
    CHECK(head->magic == LEDGER_MAGIC && head->version == LEDGER_VERSION && head->pid == uint64_t(getpid()));
    CHECK(head->sweeps == 42 && head->patches == 3);
    const auto *patch = reinterpret_cast<const PatchLedger *>(static_cast<const char *>(other.data()) +
                                                              head->head_bytes + 2 * head->patch_bytes);
    CHECK(!std::strcmp(patch->name, "left upper") && patch->reaction.count == 1);
}

static void it_goes_with_its_owner() {
    { Ledger ledger(1, shared_name()); }
    bool gone = false;
    try {
        Region::open(shared_name());
    } catch (const std::system_error &) {
        gone = true;
    }
    CHECK(gone);
}

static void the_last_misses_are_kept() {
    Ledger ledger(1, "", 4);
    const Stamps stamps{100, 200, 210, 20'000, 20'100};
    for (uint64_t shot = 0; shot < 6; shot++)
        ledger.miss(0, shot, 7, Cause::decode, stamps, divide(stamps, {}));
    CHECK(ledger.head().missed == 6);
    CHECK(ledger.record(0).shot == 4 && ledger.record(1).shot == 5 && ledger.record(2).shot == 2);
    CHECK(ledger.record(1).number == 12 && ledger.record(1).epoch == 7);
    CHECK(ledger.record(1).decode_ns == 19'790 && ledger.record(1).cause == uint64_t(Cause::decode));
}

static void the_layout_names_each_field_once() {
    std::set<std::string> names;
    std::set<size_t> places;
    for (const Field &field : ledger_layout()) {
        CHECK(names.insert(field.structure + "." + field.name).second);
        if (field.structure == "patch") CHECK(places.insert(field.offset).second && field.offset < sizeof(PatchLedger));
    }
    CHECK(names.count("head.magic") && names.count("patch.misses") && names.count("histogram.buckets"));
}

int main() {
    another_mapping_sees_it();
    it_goes_with_its_owner();
    the_last_misses_are_kept();
    the_layout_names_each_field_once();
}
