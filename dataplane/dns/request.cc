#include "pharos/dataplane/dns/request.hh"

#include "pharos/wire/checksum.hh"

#include <algorithm>
#include <cstring>

namespace pharos::dataplane {

namespace {

constexpr unsigned record_fixed_bytes = 10;  // TYPE, CLASS, TTL, RDLENGTH
constexpr unsigned pointer_bytes = 2;

[[nodiscard]] std::uint16_t be16(const std::byte* at) noexcept {
  return load<Be16>(at);
}

// RFC 7871, 6: family, source and scope length, and just the octets that the source length needs, zero behind it.
// Family 0 is what some clients send with a source length of 0; it is taken for that.
[[nodiscard]] bool parse_client_subnet(const std::byte* data, unsigned length,
                                       EdnsOptions& options) noexcept {
  if (length < 4) return false;
  const std::uint16_t family = be16(data);
  const auto source_length = static_cast<std::uint8_t>(data[2]);
  const auto scope_length = static_cast<std::uint8_t>(data[3]);
  const unsigned bits_max = family == 1 ? 32 : family == 2 ? 128 : 0;
  if (family > 2 || source_length > bits_max || scope_length != 0) return false;
  const unsigned address_bytes = (source_length + 7U) / 8;
  if (length - 4 != address_bytes) return false;
  if (source_length % 8 != 0) {
    const unsigned behind = 0xffU >> (source_length % 8);
    if ((static_cast<unsigned>(data[3 + address_bytes]) & behind) != 0) return false;
  }
  options.subnet = family == 2 ? IpAddress{} : IpAddress::from_ipv4(0);
  std::memcpy(options.subnet.bytes.data() + (family == 2 ? 0 : 12), data + 4, address_bytes);
  options.subnet_family = family;
  options.subnet_length = source_length;
  return true;
}

// RFC 7873, 5.2.2: a client cookie of 8 bytes, alone or with a server cookie of 8 to 32.
[[nodiscard]] bool parse_cookie(const std::byte* data, unsigned length,
                                EdnsOptions& options) noexcept {
  const bool alone = length == client_cookie_bytes;
  const bool both = length >= client_cookie_bytes + server_cookie_bytes_min &&
                    length <= client_cookie_bytes + server_cookie_bytes_max;
  if (!alone && !both) return false;
  std::memcpy(options.client_cookie.data(), data, client_cookie_bytes);
  options.server_cookie_bytes = static_cast<std::uint8_t>(length - client_cookie_bytes);
  std::memcpy(options.server_cookie.data(), data + client_cookie_bytes,
              options.server_cookie_bytes);
  return true;
}

// The OPT record whose fixed fields begin at `record` (RFC 6891, 6.1.2); its data is known to lie in the message.
[[nodiscard]] Parsed parse_opt(const std::byte* record, Request& request,
                               EdnsOptions& options) noexcept {
  request.edns = edns_flag::present;
  request.client_payload = std::max<std::uint16_t>(be16(record + 2), dns::udp_payload_min_bytes);
  if ((record[6] & std::byte{0x80}) != std::byte{0}) request.edns |= edns_flag::dnssec_ok;
  if (record[5] != std::byte{0}) return Parsed::badvers;
  return parse_edns_options(record + record_fixed_bytes, be16(record + 8), request, options)
             ? Parsed::lookup
             : Parsed::formerr;
}

// Scans `count` records behind the question for one OPT, up to the message's very end.
[[nodiscard]] Parsed parse_additional(const std::byte* message, unsigned length, unsigned count,
                                      Request& request, EdnsOptions& options) noexcept {
  if (count > additional_records_max) return Parsed::formerr;
  unsigned at = request.question_end;
  Parsed result = Parsed::lookup;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned owner_bytes = owner_bytes_at(message + at, length - at);
    if (owner_bytes == 0 || length - at - owner_bytes < record_fixed_bytes) return Parsed::formerr;
    const auto* record = message + at + owner_bytes;
    const unsigned data_bytes = be16(record + 8);
    if (length - at - owner_bytes - record_fixed_bytes < data_bytes) return Parsed::formerr;
    if (be16(record) == static_cast<std::uint16_t>(dns::Type::opt)) {
      const bool second = (request.edns & edns_flag::present) != 0;
      if (second || owner_bytes != 1) return Parsed::formerr;
      result = parse_opt(record, request, options);
    }
    at += owner_bytes + record_fixed_bytes + data_bytes;
  }
  return at == length ? result : Parsed::formerr;
}

// What a well-formed question deserves by its class and type (RFC 6895, 3.1 and 3.2).
[[nodiscard]] Parsed judge_question(std::uint16_t type, std::uint16_t klass) noexcept {
  if (klass == static_cast<std::uint16_t>(dns::Class::ch)) return Parsed::chaos;
  if (klass != static_cast<std::uint16_t>(dns::Class::in)) return Parsed::refused;
  switch (static_cast<dns::Type>(type)) {
    case dns::Type::opt:
      return Parsed::formerr;
    case dns::Type::axfr:
    case dns::Type::ixfr:
      return Parsed::refused;
    case dns::Type::tkey:
    case dns::Type::tsig:
    case dns::Type::maila:
    case dns::Type::mailb:
      return Parsed::notimp;
    default:
      return Parsed::lookup;
  }
}

}  // namespace

unsigned owner_bytes_at(const std::byte* name, unsigned available) noexcept {
  unsigned at = 0;
  while (at < available && at < dns::name_bytes_max) {
    const auto octet = static_cast<unsigned>(name[at]);
    if (octet == 0) return at + 1;
    if ((octet & 0xc0) == 0xc0) return at + pointer_bytes <= available ? at + pointer_bytes : 0;
    if (octet > dns::label_bytes_max) return 0;
    at += 1 + octet;
  }
  return 0;
}

namespace {

// Lengths of four labels of one octet each, in eight bytes of a name.
constexpr std::uint64_t four_lengths = 0x00ff'00ff'00ff'00ff;
constexpr std::uint64_t four_ones = 0x0001'0001'0001'0001;

}  // namespace

unsigned name_bytes_at(const std::byte* name, unsigned available, LabelMap& labels) noexcept {
  const unsigned end = std::min(available, dns::name_bytes_max);
  unsigned at = 0;
  unsigned count = 0;
  // Eight bytes at a time: from one short label to the next it is a shift, not a load that waits for the last. The
  // shortest labels of all, of which a name has the most, are four to the word.
  while (at < end) {
    auto word = load<std::uint64_t>(name + at);
    if ((word & four_lengths) == four_ones && at + 8 <= end) {
      store(labels.offsets.data() + count, at * 0x0101'0101U + 0x0604'0200U);
      count += 4;
      at += 8;
      continue;
    }
    const unsigned word_end = std::min(at + 8, end);
    for (;;) {
      const auto octet = static_cast<unsigned>(word & 0xff);
      if (octet > dns::label_bytes_max) return 0;
      labels.offsets[count] = static_cast<std::uint8_t>(at);
      at += 1 + octet;
      if (octet == 0) {
        labels.count = count;
        return at;
      }
      ++count;
      if (at >= word_end) break;
      word >>= 8 * (1 + octet);
    }
  }
  return 0;
}

bool parse_edns_options(const std::byte* data, unsigned length, Request& request,
                        EdnsOptions& options) noexcept {
  unsigned at = 0;
  for (unsigned count = 0; at < length; ++count) {
    if (length - at < 4 || count == edns_options_max) return false;
    const unsigned code = be16(data + at);
    const unsigned bytes = be16(data + at + 2);
    if (length - at - 4 < bytes) return false;
    const auto* content = data + at + 4;
    if (code == dns::option::nsid) {
      request.edns |= edns_flag::nsid;
    } else if (code == dns::option::tcp_keepalive) {
      request.edns |=
          edns_flag::tcp_keepalive;  // its content means nothing in a query (RFC 7828, 3.2)
    } else if (code == dns::option::client_subnet &&
               (request.edns & edns_flag::client_subnet) == 0) {
      if (!parse_client_subnet(content, bytes, options)) return false;
      request.edns |= edns_flag::client_subnet;
      if (options.subnet_length != 0) request.edns |= edns_flag::subnet_used;
    } else if (code == dns::option::cookie && (request.edns & edns_flag::cookie) == 0) {
      if (!parse_cookie(content, bytes, options)) return false;
      request.edns |= edns_flag::cookie;
    }
    at += 4 + bytes;
  }
  return true;
}

Parsed parse_request(const std::byte* message, unsigned length, Request& request,
                     EdnsOptions& options, LabelMap& labels) noexcept {
  request = Request{};
  request.question_end = dns::header_bytes;
  if (length < dns::header_bytes) return Parsed::too_short;
  const auto header = load<dns::Header>(message);
  if ((header.flags & dns::flag::qr) != 0) return Parsed::response;
  if ((header.flags & dns::flag::opcode_mask) != 0) return Parsed::notimp;
  if (header.question_count != 1) return Parsed::formerr;  // RFC 9619

  const unsigned name_bytes =
      name_bytes_at(message + dns::header_bytes, length - dns::header_bytes, labels);
  const unsigned question_end = dns::header_bytes + name_bytes + dns::question_tail_bytes;
  if (name_bytes == 0 || question_end > length) return Parsed::formerr;
  request.name_bytes = static_cast<std::uint8_t>(name_bytes);
  request.question_end = static_cast<std::uint16_t>(question_end);
  request.type = be16(message + question_end - 4);
  request.question_sum = checksum::fold(
      checksum::scalar::sum(message + dns::header_bytes, question_end - dns::header_bytes));

  // IXFR carries its SOA in the authority section (RFC 1995, 3): refused before that is looked at.
  const Parsed judged = judge_question(request.type, be16(message + question_end - 2));
  if (header.answer_count != 0 || header.authority_count != 0) {
    return judged == Parsed::refused ? judged : Parsed::formerr;
  }
  const Parsed edns = parse_additional(message, length, header.additional_count, request, options);
  return edns == Parsed::lookup ? judged : edns;
}

}  // namespace pharos::dataplane
