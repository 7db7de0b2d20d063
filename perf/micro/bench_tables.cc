#include "bench_tables.hh"

#include <cstdio>
#include <cstdlib>

#include "packets/world.hh"

namespace pharos::bench {
namespace {

using packets::Octets;

constexpr std::uint16_t locales = 4;

constexpr unsigned type_a = 1, type_ns = 2, type_soa = 6, type_aaaa = 28;

// Of 20 patterns 16 are domains and all below, 3 are single names, and one is an expression.
config::Config policies_of(unsigned patterns) {
  config::Config config;
  if (patterns == 0) return config;
  auto& policy = config.policies.emplace_back();
  policy.id = "bench";
  policy.action = catalog::PolicyAction::refuse;
  policy.files = {"bench"};
  std::mt19937 random(3);
  for (unsigned i = 0; i < patterns; ++i) {
    const auto word = "w" + std::to_string(random() % 1000000007U);
    auto text = "." + word + ".example";
    if (i % 20 >= 16) text = "www." + word + ".bench.example";
    const bool regex = i % 20 == 19;
    if (regex) text = "^" + word + "[0-9]+\\.([a-z]+\\.)*example$";
    policy.patterns.push_back({std::move(text), regex, 0, 1});
  }
  return config;
}

unsigned addresses_of(unsigned host, bool more_records) {
  if (!more_records) return 1;
  return host % 4 == 1 ? 4 : host % 4 == 2 ? 8 : 1;
}

controlplane::ZoneData make_zone(const TableOptions& options) {
  controlplane::ZoneData zone(*dns::parse_name("bench.example."));
  const auto add = [&](const std::string& name, unsigned type, const Octets& rdata) {
    if (!zone.add(packets::name(name), static_cast<std::uint16_t>(type), 300, rdata)) std::abort();
  };
  Octets soa = packets::name("ns1.bench.example");
  packets::put(soa, packets::name("hostmaster.bench.example"));
  for (const std::uint32_t value : {1U, 7200U, 3600U, 86400U, 60U}) packets::put32(soa, value);
  add("bench.example", type_soa, soa);
  add("bench.example", type_ns, packets::name("ns1.bench.example"));
  add("ns1.bench.example", type_a, packets::hex("c0000201"));
  add("*.wild.bench.example", type_a, packets::hex("c0000263"));
  for (unsigned i = 0; i < options.names; ++i) {
    for (unsigned n = 0; n < addresses_of(i, options.more_records); ++n) {
      Octets address;
      packets::put32(address, 0x0a000000U + i * 8 + n);
      add(host_name(i), type_a, address);
    }
    if (options.more_records) {
      Octets address = packets::hex("20010db8 00000000 00000000");
      packets::put32(address, i);
      add(host_name(i), type_aaaa, address);
    }
  }
  if (const auto report = zone.finish(); !report.errors.empty()) {
    std::fprintf(stderr, "%s\n", report.text().c_str());
    std::abort();
  }
  return zone;
}

}  // namespace

std::unique_ptr<const dataplane::TableRoot> make_tables(const TableOptions& options) {
  packets::World world;
  world.zone(make_zone(options));
  for (unsigned locale = 1; locale < locales; ++locale) {
    std::vector<std::string> prefixes;
    for (unsigned i = 0; i < 60; ++i) {
      prefixes.push_back(std::to_string(20 + locale * 50) + "." + std::to_string(i * 4) +
                         ".0.0/15");
    }
    world.locale("l" + std::to_string(locale), prefixes);
  }
  for (unsigned service = 0; service < services; ++service) {
    const auto pool = world.pool(service_name(service) + ".", type_a);
    for (std::uint16_t locale = 0; locale < locales; ++locale) {
      const std::string net = "10.9." + std::to_string(service) + ".";
      world.answer(pool, locale, type_a, 20,
                   {{net + std::to_string(locale * 4 + 1), net + std::to_string(locale * 4 + 2)}});
    }
  }
  world.policies(policies_of(options.patterns));
  return world.build();
}

}  // namespace pharos::bench
