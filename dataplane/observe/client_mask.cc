#include "pharos/dataplane/observe/client_mask.hh"

#include "pharos/dataplane/dns/request.hh"
#include "pharos/wire/dns.hh"

#include <algorithm>
#include <array>
#include <cstring>

namespace pharos::dataplane {

namespace {

constexpr unsigned record_fixed_bytes = 10;  // TYPE, CLASS, TTL, RDLENGTH
constexpr unsigned option_head_bytes = 4;    // OPTION-CODE, OPTION-LENGTH
constexpr unsigned subnet_head_bytes = 4;    // FAMILY, SOURCE and SCOPE PREFIX-LENGTH

// Options that say nothing of who asks: LLQ and UL are not among them. DAU, DHU, N3U (RFC 6975), EXPIRE (RFC 7314), CHAIN
// (RFC 7901), key tags (RFC 8145), extended errors, and those of dns::option. A cookie is known to client and server only.
constexpr std::array<std::uint16_t, 12> harmless_options = {dns::option::nsid,
                                                            5,
                                                            6,
                                                            7,
                                                            9,
                                                            dns::option::cookie,
                                                            dns::option::tcp_keepalive,
                                                            dns::option::padding,
                                                            13,
                                                            14,
                                                            dns::option::extended_error,
                                                            18};

[[nodiscard]] unsigned be16(const std::byte* at) noexcept {
  return load<Be16>(at);
}

// Zeroes all but the first `bits` of `bytes`.
void keep_bits(Bytes bytes, unsigned bits) noexcept {
  for (unsigned i = bits / 8; i < bytes.size(); ++i) {
    const unsigned kept = bits > i * 8 ? bits - i * 8 : 0;
    bytes[i] &= static_cast<std::byte>(0xff00U >> kept);
  }
}

// RFC 7871, 6. Of a family that we do not know nothing stays.
[[nodiscard]] bool mask_subnet(Bytes data, const ClientMask& mask) noexcept {
  if (data.size() < subnet_head_bytes) return false;
  const unsigned family = be16(data.data());
  const bool known = family == 1 || family == 2;
  keep_bits(data.subspan(subnet_head_bytes), known ? mask.prefix_bits(family == 1) : 0);
  return true;
}

[[nodiscard]] bool mask_options(Bytes options, const ClientMask& mask) noexcept {
  std::size_t at = 0;
  while (at < options.size()) {
    if (options.size() - at < option_head_bytes) return false;
    const auto code = static_cast<std::uint16_t>(be16(options.data() + at));
    const std::size_t bytes = be16(options.data() + at + 2);
    at += option_head_bytes;
    if (options.size() - at < bytes) return false;
    const auto data = options.subspan(at, bytes);
    if (code == dns::option::client_subnet) {
      if (!mask_subnet(data, mask)) return false;
    } else if (std::ranges::find(harmless_options, code) == harmless_options.end()) {
      std::ranges::fill(data, std::byte{0});
    }
    at += bytes;
  }
  return true;
}

// Past one record of any section; 0 where it is broken.
[[nodiscard]] std::size_t mask_record(Bytes message, std::size_t at,
                                      const ClientMask& mask) noexcept {
  const auto available = static_cast<unsigned>(message.size() - at);
  const unsigned owner_bytes = owner_bytes_at(message.data() + at, available);
  if (owner_bytes == 0 || available - owner_bytes < record_fixed_bytes) return 0;
  const std::byte* record = message.data() + at + owner_bytes;
  const unsigned data_bytes = be16(record + 8);
  const std::size_t data_at = at + owner_bytes + record_fixed_bytes;
  if (message.size() - data_at < data_bytes) return 0;
  if (be16(record) == static_cast<unsigned>(dns::Type::opt) &&
      !mask_options(message.subspan(data_at, data_bytes), mask))
    return 0;
  return data_at + data_bytes;
}

}  // namespace

IpAddress ClientMask::truncate(const IpAddress& client) const noexcept {
  const bool ipv4 = client.is_ipv4();
  IpAddress kept = client;
  keep_bits(std::as_writable_bytes(std::span(kept.bytes)), prefix_bits(ipv4) + (ipv4 ? 96U : 0U));
  return kept;
}

IpAddress ClientMask::apply(const IpAddress& client) const noexcept {
  if (!key) return truncate(client);
  const auto low = siphash_2_4(client.wire(), *key);
  if (client.is_ipv4())
    return IpAddress::from_ipv4(0xf000'0000U | (static_cast<std::uint32_t>(low) & 0x0fff'ffffU));
  // The second half is of the address and one octet behind it.
  std::array<std::byte, 17> longer{};
  std::ranges::copy(client.wire(), longer.begin());
  const auto high = siphash_2_4(longer, *key);
  IpAddress pseudonym;
  store(pseudonym.bytes.data(), high);
  store(pseudonym.bytes.data() + 8, low);
  pseudonym.bytes[0] = 0xfd;
  return pseudonym;
}

bool mask_message(Bytes message, const ClientMask& mask) noexcept {
  if (message.size() < dns::header_bytes || message.size() > dns::message_bytes_max) return false;
  const auto header = load<dns::Header>(message.data());
  std::size_t at = dns::header_bytes;
  for (unsigned i = 0; i < header.question_count; ++i) {
    const auto available = static_cast<unsigned>(message.size() - at);
    const unsigned name_bytes = owner_bytes_at(message.data() + at, available);
    if (name_bytes == 0 || available - name_bytes < dns::question_tail_bytes) return false;
    at += name_bytes + dns::question_tail_bytes;
  }
  // Each record takes 11 bytes of the message: it ends soon, whatever the counts say.
  const unsigned records =
      unsigned{header.answer_count} + header.authority_count + header.additional_count;
  for (unsigned i = 0; i < records; ++i) {
    at = mask_record(message, at, mask);
    if (at == 0) return false;
  }
  return at == message.size();
}

}  // namespace pharos::dataplane
