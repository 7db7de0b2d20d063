// Who asks the reference responder: locales by longest prefix, bit by bit, and the resolvers whose client subnets count.
#include <algorithm>

#include "reference_responder.hh"

namespace pharos::oracle {
namespace {

bool bit_of(const IpAddress& address, unsigned index) {
  return (address.bytes[index / 8] >> (7 - index % 8) & 1) != 0;
}

}  // namespace

bool ReferenceResponder::hears_subnet(const Rrset& rrset, const IpAddress& source) const {
  if (rrset.ecs != ReferenceEcs::listed) return rrset.ecs == ReferenceEcs::all;
  return std::ranges::any_of(ecs_resolvers, [&](const IpPrefix& prefix) {
    if (prefix.address.is_ipv4() != source.is_ipv4()) return false;
    const unsigned length = prefix.length + (source.is_ipv4() ? 96U : 0U);
    for (unsigned i = 0; i < length; ++i) {
      if (bit_of(prefix.address, i) != bit_of(source, i)) return false;
    }
    return true;
  });
}

// The locale of the longest prefix that holds all of the first `bits` of the client's address.
std::uint16_t ReferenceResponder::locale_of(const IpAddress& client, unsigned bits) const {
  int longest = -1;
  std::uint16_t locale = 0;
  for (const auto& entry : locales) {
    const bool ipv4 = entry.prefix.address.is_ipv4();
    const unsigned length = entry.prefix.length + (ipv4 ? 96U : 0U);
    if (length > bits || ipv4 != client.is_ipv4() || static_cast<int>(length) <= longest) continue;
    bool same = true;
    for (unsigned i = 0; i < length; ++i)
      same = same && bit_of(entry.prefix.address, i) == bit_of(client, i);
    if (!same) continue;
    longest = static_cast<int>(length);
    locale = entry.locale;
  }
  return locale;
}

// Whether all addresses that share the first `bits` with the client have one locale: none that differ further on.
bool ReferenceResponder::is_alike(const IpAddress& client, unsigned bits) const {
  bool divided = false;
  for (const auto& entry : locales) {
    const bool ipv4 = entry.prefix.address.is_ipv4();
    if (ipv4 != client.is_ipv4() || entry.prefix.length + (ipv4 ? 96U : 0U) <= bits) continue;
    bool same = true;
    for (unsigned i = 0; i < bits; ++i)
      same = same && bit_of(entry.prefix.address, i) == bit_of(client, i);
    divided = divided || same;
  }
  if (!divided) return true;
  IpAddress left = client, right = client;
  const auto mask = static_cast<std::uint8_t>(0x80U >> bits % 8);
  left.bytes[bits / 8] = static_cast<std::uint8_t>(left.bytes[bits / 8] & ~mask);
  right.bytes[bits / 8] = static_cast<std::uint8_t>(right.bytes[bits / 8] | mask);
  // Each half alike, and both the same: one of them is the client's own.
  const auto leftmost = [](IpAddress address, unsigned from) {
    for (unsigned i = from; i < 128; ++i) {
      const auto bit = static_cast<std::uint8_t>(0x80U >> i % 8);
      address.bytes[i / 8] = static_cast<std::uint8_t>(address.bytes[i / 8] & ~bit);
    }
    return address;
  };
  return is_alike(left, bits + 1) && is_alike(right, bits + 1) &&
         locale_of(leftmost(left, bits + 1), 128) == locale_of(leftmost(right, bits + 1), 128);
}

}  // namespace pharos::oracle
