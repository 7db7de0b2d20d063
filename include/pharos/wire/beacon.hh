// A beacon on the wire: one UDP datagram, version 1, at most 1200 bytes, all numbers in network
// order.
//
//   0        4  5  6     8          16           24         32           40       44       48  50  52
//   +--------+--+--+-----+----------+------------+----------+------------+--------+--------+---+---+
//   | "PHRB" |v |k |flags| site tag | boot epoch | sequence | sent, ms   |interval|present | E | 0 |
//   |        |  |  |     |          |            |          | since 1970 | ms     |bitmap  |   |   |
//   +--------+--+--+-----+----------+------------+----------+------------+--------+--------+---+---+
//   | metrics: one binary32 for each bit of the bitmap, lowest bit first   (4 B each, at most 32)  |
//   +----------------------------------------------------------------------------------------------+
//   | E endpoints: endpoint hash (8) | requests/s, binary32 (4) | state bits (2) | notices (2)     |
//   | or looks at them from outside, with microseconds in place of requests/s         (16 B each)  |
//   +----------------------------------------------------------------------------------------------+
//   | MAC over every byte before it (16 B)                                                         |
//   +----------------------------------------------------------------------------------------------+
//
// v version, k key id, flags: flag::, E endpoint count, notices: EndpointReport::notices_ds, 0 of agents that do
// not tell. The length is exactly what bitmap and E say. Metric bits that this version does not know
// are skipped: a sender may be newer. Reserved bytes are sent as zero and not looked at.
//
// Pure functions of their arguments, any thread. `open()` proves the MAC before it believes
// anything else; the three fields that it needs to find the key (length, site tag, key id) only
// pick which key must fit.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/wire/site_report.hh"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace pharos::beacon {

inline constexpr std::uint32_t magic = 0x50485242;  // "PHRB"
inline constexpr std::uint8_t format_version = 1;
// Fits the IPv6 minimum MTU with room for tunnels.
inline constexpr unsigned datagram_bytes_max = 1200;
inline constexpr unsigned metric_count_max = 32;  // bits of the bitmap
inline constexpr unsigned mac_bytes = 16;
inline constexpr unsigned secret_bytes = 32;

namespace flag {
inline constexpr std::uint16_t leaving = 1U << 0;
// Two bits: how often each beacon is sent, less one. Senders that do not tell send it once.
inline constexpr unsigned copies_shift = 1;
inline constexpr std::uint16_t copies = 3U << copies_shift;
}  // namespace flag
namespace endpoint_state {
inline constexpr std::uint16_t up = 1U << 0;
// Else the rate is absent and its bytes are zero.
inline constexpr std::uint16_t has_requests = 1U << 1;
// A look from outside; the number is then the time that it took, in microseconds, where `has_time` is set.
inline constexpr std::uint16_t probe = 1U << 2;
inline constexpr std::uint16_t has_time = 1U << 3;
}  // namespace endpoint_state

struct WireHeader {
  Be32 magic;
  std::uint8_t format_version;
  std::uint8_t key_id;
  Be16 flags;
  Be64 site_tag;
  Be64 boot_epoch;
  Be64 sequence;
  Be64 sent_wall_ms;
  Be32 interval_ms;
  Be32 present;
  Be16 endpoint_count;
  Be16 reserved;
};
static_assert(sizeof(WireHeader) == 52 && alignof(WireHeader) == 1);
static_assert(offsetof(WireHeader, site_tag) == 8 && offsetof(WireHeader, sequence) == 24 &&
              offsetof(WireHeader, interval_ms) == 40 &&
              offsetof(WireHeader, endpoint_count) == 48);
static_assert(std::is_trivially_copyable_v<WireHeader> &&
              std::has_unique_object_representations_v<WireHeader>);

struct WireEndpoint {
  Be64 endpoint;
  Be32 requests_rps;  // binary32; of a probe, its time
  Be16 state;
  Be16 notices_ds;
};
static_assert(sizeof(WireEndpoint) == 16 && alignof(WireEndpoint) == 1);
static_assert(offsetof(WireEndpoint, requests_rps) == 8 && offsetof(WireEndpoint, state) == 12);
static_assert(std::has_unique_object_representations_v<WireEndpoint>);

inline constexpr unsigned datagram_bytes_min = sizeof(WireHeader) + mac_bytes;
// Whatever the bitmap says, so many endpoints fit: (1200 - 52 - 32 * 4 - 16) / 16 = 62.
inline constexpr unsigned endpoint_count_max =
    (datagram_bytes_max - datagram_bytes_min - metric_count_max * 4) / sizeof(WireEndpoint);
static_assert(endpoint_count_max == 62);

// What a site is called on the wire: the first 8 bytes of BLAKE2b-256("pharos site" 0 id). It hides
// nothing; it is a short, fixed-size name. A set of sites in which two share a tag is refused where
// keys are loaded.
[[nodiscard]] std::uint64_t site_tag(std::string_view site_id) noexcept;

// SipHash-2-4-128 under a key that is derived from a site's secret (BLAKE2b, keyed; see
// controlplane/ingest/README.md for the choice). Fixed size, nothing to free; wiped when it goes.
class MacKey {
 public:
  MacKey() noexcept = default;
  explicit MacKey(std::span<const std::uint8_t, secret_bytes> secret) noexcept;
  MacKey(const MacKey&) noexcept = default;
  MacKey& operator=(const MacKey&) noexcept = default;
  ~MacKey();

  using Mac = std::array<std::uint8_t, mac_bytes>;
  [[nodiscard]] Mac mac_of(ConstBytes bytes) const noexcept;
  // Names the secret without telling it: for "is this still the same key?" in stored state.
  [[nodiscard]] std::uint64_t fingerprint() const noexcept { return fingerprint_; }

 private:
  std::array<std::uint8_t, 16> key_{};
  std::uint64_t fingerprint_ = 0;
};

// Who speaks, and when.
struct Stamp {
  std::uint64_t site_tag = 0;
  std::uint64_t boot_epoch = 0;
  std::uint64_t sequence = 0;
  std::int64_t sent_wall_ms = 0;
  std::uint8_t key_id = 0;
};

// Writes a beacon into `out`; returns its length in bytes, or 0 where the report cannot be sent:
// more than endpoint_count_max endpoints, `out` too small, a metric that is negative or not finite,
// a ratio above 1.
[[nodiscard]] std::size_t encode(const Stamp& stamp, const SiteReport& report, const MacKey& key,
                                 Bytes out) noexcept;

// What picks the key, read before the MAC is checked: good for nothing else. Nothing for a datagram
// that is no beacon of this version: wrong magic, version, or length.
struct Claim {
  std::uint64_t site_tag;
  std::uint8_t key_id;
};
[[nodiscard]] std::optional<Claim> claim_of(ConstBytes datagram) noexcept;

// Whether the last 16 bytes are the MAC of all before them. Constant time. The datagram has passed
// claim_of().
[[nodiscard]] bool authentic(ConstBytes datagram, const MacKey& key) noexcept;

// The stamp of an authentic datagram.
[[nodiscard]] Stamp stamp_of(ConstBytes datagram) noexcept;

// Decodes an authentic datagram into `report` (its endpoint vector is reused). False where a value
// is out of range: then `report` holds nothing of use.
[[nodiscard]] bool decode(ConstBytes datagram, SiteReport& report);

}  // namespace pharos::beacon

namespace pharos {

// EndpointReport::endpoint: the first 8 bytes of BLAKE2b-256("pharos endpoint" 0 service id 0
// endpoint id).
[[nodiscard]] std::uint64_t endpoint_hash(std::string_view service_id,
                                          std::string_view endpoint_id) noexcept;

}  // namespace pharos
