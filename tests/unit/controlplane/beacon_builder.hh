// Makes sites and signed beacons for the tests and benchmarks of ingest.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/config/model.hh"
#include "pharos/wire/beacon.hh"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace pharos::controlplane::testing {

inline config::KeyConfig key_of(std::uint8_t id, std::uint8_t fill) {
  config::KeyConfig key;
  key.id = id;
  key.secret.fill(fill);
  return key;
}

inline config::SiteConfig site_of(const std::string& id, std::vector<config::KeyConfig> keys) {
  config::SiteConfig site;
  site.id = id;
  site.keys = std::move(keys);
  return site;
}

inline SiteReport simple_report() {
  SiteReport report;
  report.metrics.cpu_ratio = 0.5F;
  report.interval_ms = 1000;
  return report;
}

struct BeaconSpec {
  std::string site = "fra1";
  config::KeyConfig key = key_of(1, 0x11);
  std::uint64_t boot_epoch = 1000;
  std::uint64_t sequence = 1;
  WallTime sent{1'700'000'000'000'000'000};
  SiteReport report = simple_report();
};

inline std::vector<std::byte> datagram_of(const BeaconSpec& spec) {
  std::vector<std::byte> bytes(beacon::datagram_bytes_max);
  const beacon::Stamp stamp{.site_tag = beacon::site_tag(spec.site),
                            .boot_epoch = spec.boot_epoch,
                            .sequence = spec.sequence,
                            .sent_wall_ms = spec.sent.ns / 1'000'000,
                            .key_id = spec.key.id};
  bytes.resize(beacon::encode(stamp, spec.report, beacon::MacKey(spec.key.secret), bytes));
  if (bytes.empty()) throw std::logic_error("a test made a beacon that cannot be encoded");
  return bytes;
}

}  // namespace pharos::controlplane::testing
