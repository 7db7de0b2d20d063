// Any bytes as a beacon: raw, and signed with a good key so that everything behind the MAC is reached as well.
#include "pharos/base/assert.hh"
#include "pharos/controlplane/ingest/beacon_gate.hh"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace {

using namespace pharos;
using controlplane::AcceptedBeacon;
using controlplane::BeaconGate;
using controlplane::BeaconSites;
using controlplane::BeaconVerdict;

constexpr std::array<std::uint8_t, 32> secret = {1, 2, 3};

BeaconSites sites() {
  config::SiteConfig site;
  site.id = "fra1";
  site.keys.push_back({.id = 1, .secret = secret});
  auto made = BeaconSites::make(std::span(&site, 1), 1);
  REQUIRE(made);
  return std::move(*made);
}

// Makes the bytes a datagram of fra1, signed with its key; what lies between stays.
void sign(std::vector<std::byte>& bytes, const beacon::MacKey& key) {
  store(bytes.data(), Be32(beacon::magic));
  bytes[4] = std::byte{beacon::format_version};
  bytes[5] = std::byte{1};
  store(bytes.data() + offsetof(beacon::WireHeader, site_tag), Be64(beacon::site_tag("fra1")));
  const auto covered = bytes.size() - beacon::mac_bytes;
  store(bytes.data() + covered, key.mac_of(ConstBytes(bytes).first(covered)));
}

// What was accepted must encode again, and decode to the same.
void check_round_trip(const SiteReport& report, const beacon::MacKey& key) {
  std::array<std::byte, beacon::datagram_bytes_max> buffer;
  const auto length =
      beacon::encode({.site_tag = 1, .boot_epoch = 1, .sequence = 1}, report, key, buffer);
  REQUIRE(length != 0);
  const auto again = ConstBytes(buffer).first(length);
  REQUIRE(beacon::claim_of(again).has_value() && beacon::authentic(again, key));
  SiteReport decoded;
  REQUIRE(beacon::decode(again, decoded));
  REQUIRE(decoded.metrics.cpu_ratio == report.metrics.cpu_ratio);
  REQUIRE(decoded.metrics.responder_rtt_us == report.metrics.responder_rtt_us);
  REQUIRE(decoded.interval_ms == report.interval_ms && decoded.leaving == report.leaving &&
          decoded.copies == report.copies);
  REQUIRE(decoded.endpoints.size() == report.endpoints.size());
  for (std::size_t i = 0; i < report.endpoints.size(); ++i) {
    REQUIRE(decoded.endpoints[i].probe == report.endpoints[i].probe);
    REQUIRE(decoded.endpoints[i].probe_us == report.endpoints[i].probe_us);
    REQUIRE(decoded.endpoints[i].requests_rps == report.endpoints[i].requests_rps);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const beacon::MacKey key(secret);
  // A copy of exactly this size, so that a sanitizer sees any read behind it.
  std::vector<std::byte> bytes(size);
  if (size != 0) std::memcpy(bytes.data(), data, size);
  BeaconGate gate(sites(), seconds(30));
  AcceptedBeacon out;
  const Instant received{1'000'000'000};
  const WallTime wall{1'700'000'000'000'000'000};
  if (gate.admit(bytes, received, wall, out) == BeaconVerdict::accepted) {
    REQUIRE(beacon::authentic(bytes, key));
  } else {
    REQUIRE(gate.freshness().empty());
  }
  if (size < beacon::datagram_bytes_min) return 0;
  sign(bytes, key);
  const auto verdict = gate.admit(bytes, received, wall, out);
  REQUIRE(verdict != BeaconVerdict::bad_mac && verdict != BeaconVerdict::unknown_site);
  if (verdict == BeaconVerdict::accepted) {
    check_round_trip(out.report, key);
    REQUIRE(gate.admit(bytes, received, wall, out) == BeaconVerdict::duplicate);
  }
  return 0;
}
