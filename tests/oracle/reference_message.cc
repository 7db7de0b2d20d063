#include "reference_message.hh"

#include <algorithm>
#include <array>

namespace pharos::oracle {
namespace {

// RFC 7871, 6: exactly the octets that the source length needs, zero behind it.
[[nodiscard]] bool subnet_is_sound(const Octets& content) {
  Cursor cursor{content};
  const unsigned family = cursor.get16(), source_length = cursor.get8(), scope = cursor.get8();
  const unsigned most = family == 1 ? 32 : family == 2 ? 128 : 0;
  if (!cursor.good || family > 2 || source_length > most || scope != 0) return false;
  if (content.size() != 4 + (source_length + 7) / 8) return false;
  const unsigned rest = source_length % 8;
  return rest == 0 || (std::to_integer<unsigned>(content.back()) & (0xffU >> rest)) == 0;
}

}  // namespace

void put(Octets& out, const void* bytes, std::size_t count) {
  const auto* from = static_cast<const std::byte*>(bytes);
  out.insert(out.end(), from, from + count);
}
void put(Octets& out, const std::string& text) {
  put(out, text.data(), text.size());
}
void put16(Octets& out, std::size_t value) {
  out.push_back(static_cast<std::byte>(value >> 8));
  out.push_back(static_cast<std::byte>(value));
}
std::string name_wire(const Name& name) {
  std::string out;
  for (const auto& label : name) out += static_cast<char>(label.size()) + label;
  return out + '\0';
}

bool AncestorsFirst::operator()(const Name& x, const Name& y) const {
  return std::lexicographical_compare(x.rbegin(), x.rend(), y.rbegin(), y.rend());
}

unsigned Cursor::get8() {
  if (at >= bytes.size()) good = false;
  return good ? std::to_integer<unsigned>(bytes[at++]) : 0;
}
unsigned Cursor::get16() {
  const unsigned high = get8();
  return high << 8 | get8();
}
Octets Cursor::take(std::size_t count) {
  if (bytes.size() - at < count) good = false;
  if (!good) return {};
  at += count;
  return {bytes.begin() + static_cast<std::ptrdiff_t>(at - count),
          bytes.begin() + static_cast<std::ptrdiff_t>(at)};
}
Name Cursor::get_name() {
  Name name;
  for (std::size_t used = 1; good;) {
    const unsigned length = get8();
    if (length == 0) break;
    used += length + 1;
    if (length > 63 || used > 255) good = false;
    const auto label = take(length);
    name.emplace_back(reinterpret_cast<const char*>(label.data()), label.size());
  }
  return name;
}
bool Cursor::pass_owner() {
  const std::size_t start = at;
  for (;;) {
    const unsigned length = get8();
    if (!good || length == 0) return at == start + 1;
    if (length >= 0xc0) return get8() != 0 && false;
    if (length > 63 || at - start > 255) good = false;
    static_cast<void>(take(length));
  }
}

IpAddress ReferenceRequest::client() const {
  if (!subnet || (*subnet)[2] == std::byte{0}) return source;
  IpAddress address = (*subnet)[1] == std::byte{1} ? IpAddress::from_ipv4(0) : IpAddress{};
  std::size_t at = (*subnet)[1] == std::byte{1} ? 12 : 0;
  for (std::size_t i = 4; i < subnet->size(); ++i)
    address.bytes[at++] = std::to_integer<std::uint8_t>((*subnet)[i]);
  return address;
}

bool ReferenceRequest::read_options(const Octets& options) {
  Cursor cursor{options};
  unsigned count = 0;
  while (cursor.at < options.size()) {
    if (++count > 32) return false;  // as many as the packet path reads
    const unsigned code = cursor.get16();
    const std::size_t length = cursor.get16();
    const Octets content = cursor.take(length);
    if (!cursor.good) return false;
    if (code == 3) wants_nsid = true;
    if (code == 8 && !subnet) {
      if (!subnet_is_sound(content)) return false;
      subnet = content;
    }
    if (code == 10 && !cookie) {
      if (length != 8 && (length < 16 || length > 40)) return false;
      cookie = content;
    }
  }
  return true;
}

// All that is behind the question, up to the very end of the message.
void ReferenceRequest::read_additional(Cursor& cursor, unsigned count) {
  const auto bad = [&] { rcode = formerr; };
  if (count > 4) return bad();
  for (unsigned i = 0; i < count; ++i) {
    const bool root = cursor.pass_owner();
    const unsigned record_type = cursor.get16(), payload = cursor.get16();
    static_cast<void>(payload);
    static_cast<void>(cursor.get8());
    const unsigned version = cursor.get8();
    const unsigned high_flags = cursor.get16();
    const Octets data = cursor.take(cursor.get16());
    if (!cursor.good) return bad();
    if (record_type != type_opt) continue;
    if (edns || !root) return bad();
    edns = true;
    dnssec_ok = (high_flags & 0x8000) != 0;
    rcode = version != 0 ? badvers : read_options(data) ? noerror : formerr;
  }
  if (cursor.at != cursor.bytes.size()) bad();
}

void ReferenceRequest::read(const Octets& message) {
  Cursor cursor{message};
  id = static_cast<std::uint16_t>(cursor.get16());
  flags = static_cast<std::uint16_t>(cursor.get16());
  std::array<unsigned, 4> counts{};
  for (auto& count : counts) count = cursor.get16();
  if ((flags & 0x7800) != 0) {
    rcode = notimp;
    return;
  }
  rcode = formerr;
  if (counts[0] != 1) return;
  name = cursor.get_name();
  type = static_cast<std::uint16_t>(cursor.get16());
  klass = static_cast<std::uint16_t>(cursor.get16());
  if (!cursor.good) return;
  question.assign(message.begin() + 12, message.begin() + static_cast<std::ptrdiff_t>(cursor.at));
  const bool foreign = klass != 1 && klass != 3;
  const bool transfer = klass == 1 && (type == 251 || type == 252);
  const bool others = counts[1] != 0 || counts[2] != 0;
  if (foreign || transfer) {
    rcode = noerror;
    if (!others) read_additional(cursor, counts[3]);
    if (rcode == noerror) rcode = refused;
    return;
  }
  if (others) return;
  rcode = noerror;
  read_additional(cursor, counts[3]);
  if (rcode != noerror || klass != 1) return;
  if (type == type_opt) rcode = formerr;
  if (type == 249 || type == 250 || type == 253 || type == 254) rcode = notimp;
}

Octets ReferenceReply::wire(bool with_optional) const {
  Octets out;
  const std::size_t additional =
      required.size() + (with_optional ? optional.size() : 0) + (opt ? 1U : 0U);
  for (const std::size_t field :
       {std::size_t{id}, std::size_t{flags | (rcode & 15)}, std::size_t{question.empty() ? 0U : 1U},
        answer.size(), authority.size(), additional}) {
    put16(out, field);
  }
  put(out, question.data(), question.size());
  const auto add = [&](const std::vector<Record>& records) {
    for (const auto& record : records) {
      put(out, name_wire(record.owner));
      put16(out, record.type);
      put16(out, record.klass);
      put16(out, record.ttl_s >> 16);
      put16(out, record.ttl_s & 0xffff);
      put16(out, record.rdata.size());
      put(out, record.rdata);
    }
  };
  add(answer);
  add(authority);
  add(required);
  if (with_optional) add(optional);
  if (opt) put(out, opt->data(), opt->size());
  return out;
}

}  // namespace pharos::oracle
