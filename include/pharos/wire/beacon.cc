// Encoding and decoding of beacons; the layout is pictured in beacon.hh. Bounds: claim_of() proves
// once that the length is what bitmap and endpoint count say, and every reader below runs behind
// it.
#include "pharos/wire/beacon.hh"

#include "pharos/base/assert.hh"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace pharos {

namespace {

// The first 8 bytes of BLAKE2b-256 over `kind` 0 `first` [0 `second`], as a big-endian number.
std::uint64_t name_digest(std::string_view kind, std::string_view first,
                          const std::string_view* second) noexcept {
  const auto add = [](crypto_generichash_state& state, std::string_view text) {
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(text.data()),
                              text.size());
  };
  const std::string_view zero("\0", 1);
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, 32);
  add(state, kind);
  add(state, zero);
  add(state, first);
  if (second != nullptr) {
    add(state, zero);
    add(state, *second);
  }
  std::array<unsigned char, 32> digest{};
  crypto_generichash_final(&state, digest.data(), digest.size());
  return load<Be64>(digest.data());
}

}  // namespace

std::uint64_t endpoint_hash(std::string_view service_id, std::string_view endpoint_id) noexcept {
  return name_digest("pharos endpoint", service_id, &endpoint_id);
}

namespace beacon {

namespace {

enum class Range { ratio, quantity };

// Bit n of the bitmap is line n. Append only: the order is the format.
struct Metric {
  std::optional<float> SiteMetrics::* field;
  Range range;
};
constexpr Metric metrics[] = {
    {&SiteMetrics::cpu_ratio, Range::ratio},
    {&SiteMetrics::cpu_pressure_ratio, Range::ratio},
    {&SiteMetrics::memory_ratio, Range::ratio},
    {&SiteMetrics::memory_pressure_ratio, Range::ratio},
    {&SiteMetrics::receive_bps, Range::quantity},
    {&SiteMetrics::transmit_bps, Range::quantity},
    {&SiteMetrics::link_bps, Range::quantity},
    {&SiteMetrics::requests_rps, Range::quantity},
    {&SiteMetrics::requests_in_flight, Range::quantity},
    {&SiteMetrics::error_ratio, Range::ratio},
    {&SiteMetrics::responder_rtt_us, Range::quantity},
    {&SiteMetrics::request_latency_us, Range::quantity},
};
static_assert(std::size(metrics) <= metric_count_max);
static_assert(sizeof(SiteMetrics) == std::size(metrics) * sizeof(std::optional<float>),
              "every metric of SiteMetrics has a bit");

bool plausible(float value, Range range) noexcept {
  return std::isfinite(value) && value >= 0.0F && (range == Range::quantity || value <= 1.0F);
}

const WireHeader& header_of(ConstBytes datagram) noexcept {
  return *reinterpret_cast<const WireHeader*>(datagram.data());
}

std::uint16_t flags_of(const SiteReport& report) noexcept {
  const auto copies = std::clamp(report.copies, 1U, copies_max) - 1;
  return static_cast<std::uint16_t>((report.leaving ? flag::leaving : 0U) |
                                    copies << flag::copies_shift);
}

constexpr std::size_t length_for(std::uint32_t present, unsigned endpoint_count) noexcept {
  return datagram_bytes_min + static_cast<unsigned>(std::popcount(present)) * 4U +
         endpoint_count * sizeof(WireEndpoint);
}

}  // namespace

std::uint64_t site_tag(std::string_view site_id) noexcept {
  return name_digest("pharos site", site_id, nullptr);
}

MacKey::MacKey(std::span<const std::uint8_t, secret_bytes> secret) noexcept {
  static_assert(sizeof key_ == crypto_shorthash_siphashx24_KEYBYTES);
  static_assert(mac_bytes == crypto_shorthash_siphashx24_BYTES);
  std::array<unsigned char, 32> derived{};
  constexpr std::string_view purpose = "pharos beacon mac 1";
  crypto_generichash(derived.data(), derived.size(),
                     reinterpret_cast<const unsigned char*>(purpose.data()), purpose.size(),
                     secret.data(), secret.size());
  std::copy_n(derived.begin(), key_.size(), key_.begin());
  fingerprint_ = load<std::uint64_t>(derived.data() + key_.size());
  sodium_memzero(derived.data(), derived.size());
}

MacKey::~MacKey() {
  sodium_memzero(key_.data(), key_.size());
}

MacKey::Mac MacKey::mac_of(ConstBytes bytes) const noexcept {
  Mac mac;
  crypto_shorthash_siphashx24(mac.data(), reinterpret_cast<const unsigned char*>(bytes.data()),
                              bytes.size(), key_.data());
  return mac;
}

std::size_t encode(const Stamp& stamp, const SiteReport& report, const MacKey& key,
                   Bytes out) noexcept {
  if (report.endpoints.size() > endpoint_count_max || report.interval_ms == 0) return 0;
  std::uint32_t present = 0;
  for (unsigned bit = 0; bit < std::size(metrics); ++bit) {
    const auto& value = report.metrics.*metrics[bit].field;
    if (!value) continue;
    if (!plausible(*value, metrics[bit].range)) return 0;
    present |= 1U << bit;
  }
  const auto length = length_for(present, static_cast<unsigned>(report.endpoints.size()));
  if (out.size() < length) return 0;

  WireHeader header{};
  header.magic = magic;
  header.format_version = format_version;
  header.key_id = stamp.key_id;
  header.flags = flags_of(report);
  header.site_tag = stamp.site_tag;
  header.boot_epoch = stamp.boot_epoch;
  header.sequence = stamp.sequence;
  header.sent_wall_ms = static_cast<std::uint64_t>(stamp.sent_wall_ms);
  header.interval_ms = report.interval_ms;
  header.present = present;
  header.endpoint_count = static_cast<std::uint16_t>(report.endpoints.size());
  store(out.data(), header);

  std::byte* at = out.data() + sizeof header;
  for (unsigned bit = 0; bit < std::size(metrics); ++bit) {
    if ((present >> bit & 1U) == 0) continue;
    const auto value =
        (report.metrics.*metrics[bit].field).value_or(0.0F);  // it has one: its bit is set
    store(at, Be32(std::bit_cast<std::uint32_t>(value)));
    at += 4;
  }
  for (const auto& endpoint : report.endpoints) {
    const auto& number = endpoint.probe ? endpoint.probe_us : endpoint.requests_rps;
    if (number && !plausible(*number, Range::quantity)) return 0;
    WireEndpoint wire{};
    wire.endpoint = endpoint.endpoint;
    wire.requests_rps = std::bit_cast<std::uint32_t>(number.value_or(0.0F));
    const auto has = endpoint.probe ? endpoint_state::has_time : endpoint_state::has_requests;
    wire.state = static_cast<std::uint16_t>((endpoint.up ? endpoint_state::up : 0) |
                                            (endpoint.probe ? endpoint_state::probe : 0) |
                                            (number ? has : 0));
    wire.notices_ds = endpoint.notices_ds;
    store(at, wire);
    at += sizeof wire;
  }
  ASSERT(at + mac_bytes == out.data() + length);
  store(at, key.mac_of(out.first(length - mac_bytes)));
  return length;
}

std::optional<Claim> claim_of(ConstBytes datagram) noexcept {
  if (datagram.size() < datagram_bytes_min || datagram.size() > datagram_bytes_max)
    return std::nullopt;
  const auto& header = header_of(datagram);
  if (header.magic != Be32(magic) || header.format_version != format_version) return std::nullopt;
  if (header.endpoint_count > endpoint_count_max) return std::nullopt;
  if (datagram.size() != length_for(header.present, header.endpoint_count)) return std::nullopt;
  return Claim{header.site_tag, header.key_id};
}

bool authentic(ConstBytes datagram, const MacKey& key) noexcept {
  ASSERT(datagram.size() >= datagram_bytes_min);
  const auto covered = datagram.size() - mac_bytes;
  const auto mac = key.mac_of(datagram.first(covered));
  const auto* told = datagram.data() + covered;
  static_assert(mac_bytes == 2 * sizeof(std::uint64_t));
  // In constant time: nothing depends on a byte before all are in. (sodium_memcmp takes one after the other.)
  return ((load<std::uint64_t>(mac.data()) ^ load<std::uint64_t>(told)) |
          (load<std::uint64_t>(mac.data() + 8) ^ load<std::uint64_t>(told + 8))) == 0;
}

Stamp stamp_of(ConstBytes datagram) noexcept {
  ASSERT(datagram.size() >= datagram_bytes_min);
  const auto& header = header_of(datagram);
  const std::uint64_t sent = header.sent_wall_ms;
  return {header.site_tag, header.boot_epoch, header.sequence, static_cast<std::int64_t>(sent),
          header.key_id};
}

bool decode(ConstBytes datagram, SiteReport& report) {
  ASSERT(claim_of(datagram).has_value());
  const auto& header = header_of(datagram);
  const std::uint32_t present = header.present;
  const std::byte* at = datagram.data() + sizeof header;
  report.metrics = {};
  report.interval_ms = header.interval_ms;
  report.leaving = (header.flags & flag::leaving) != 0;
  report.copies = std::min(((header.flags & flag::copies) >> flag::copies_shift) + 1U, copies_max);
  if (report.interval_ms == 0) return false;
  for (std::uint32_t left = present; left != 0; left &= left - 1) {
    const auto bit = static_cast<unsigned>(std::countr_zero(left));
    if (bit < std::size(metrics)) {
      const auto value = std::bit_cast<float>(std::uint32_t{load<Be32>(at)});
      if (!plausible(value, metrics[bit].range)) return false;
      report.metrics.*metrics[bit].field = value;
    }
    at += 4;
  }
  report.endpoints.resize(header.endpoint_count);
  for (auto& endpoint : report.endpoints) {
    const auto wire = load<WireEndpoint>(at);
    endpoint.endpoint = wire.endpoint;
    endpoint.up = (wire.state & endpoint_state::up) != 0;
    endpoint.probe = (wire.state & endpoint_state::probe) != 0;
    endpoint.notices_ds = wire.notices_ds;
    endpoint.requests_rps.reset();
    endpoint.probe_us.reset();
    const auto has = endpoint.probe ? endpoint_state::has_time : endpoint_state::has_requests;
    if ((wire.state & has) != 0) {
      auto& number = endpoint.probe ? endpoint.probe_us : endpoint.requests_rps;
      number = std::bit_cast<float>(std::uint32_t{wire.requests_rps});
      if (!plausible(*number, Range::quantity)) return false;
    }
    at += sizeof wire;
  }
  return true;
}

}  // namespace beacon

}  // namespace pharos
