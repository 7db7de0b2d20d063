#include "random_request.hh"

#include <algorithm>

namespace pharos::oracle {

Octets RandomRequest::operator()(const IpAddress& source) {
  static constexpr std::uint16_t types[] = {1,  1,  2,  5,  6,  12, 15,  16, 28,
                                            28, 33, 39, 43, 64, 65, 255, 99};
  static constexpr std::uint16_t rare_types[] = {41, 249, 250, 251, 252, 253, 254, 0, 65535};
  Octets question;
  put(question,
      mixed_case(name_wire(random_.chance(60) ? Name{"version", "bind"} : responders_.name())));
  put16(question, random_.chance(40) ? random_.of(rare_types) : random_.of(types));
  put16(question, random_.chance(40) ? random_.below(5) : 1);
  Octets records;
  unsigned count = 0;
  for (unsigned chance = 1; random_.below(4) < 3 && count < chance + random_.below(2); ++count) {
    add_record(records, source, count > 0);
  }
  const unsigned opcode = random_.chance(50) ? random_.below(16) : 0;
  const unsigned flags = opcode << 11 | (random_.below(2) << 8) |
                         (random_.chance(8) ? random_.below(128) : 0) |
                         (random_.chance(60) ? 0x8000U : 0U) | (random_.chance(20) ? 0x0600U : 0U);
  Octets request;
  put16(request, random_.below(65536));
  put16(request, flags);
  put16(request, random_.chance(60) ? random_.below(3) : 1);
  put16(request, random_.chance(60) ? 1 : 0);
  put16(request, random_.chance(60) ? 1 : 0);
  put16(request, random_.chance(60) ? count + 1 : count);
  put(request, question.data(), question.size());
  put(request, records.data(), records.size());
  if (random_.chance(60)) request.push_back(std::byte{0});
  return request;
}

std::string RandomRequest::mixed_case(std::string wire) {
  for (char& c : wire) {
    if (c >= 'a' && c <= 'z' && random_.chance(4)) c = static_cast<char>(c - 32);
  }
  return wire;
}

// OPT, or now and then something else.
void RandomRequest::add_record(Octets& out, const IpAddress& source, bool second) {
  if (random_.chance(30))
    put(out, name_wire({"odd"}));
  else
    out.push_back(std::byte{0});
  put16(out, second && !random_.chance(4) ? 250 : 41);
  static constexpr std::uint16_t sizes[] = {0, 1, 511, 512, 513, 1232, 4096, 65535};
  put16(out, random_.of(sizes));
  out.push_back(static_cast<std::byte>(random_.chance(30) ? random_.below(256) : 0));
  out.push_back(static_cast<std::byte>(random_.chance(30) ? 1 : 0));
  put16(out, random_.chance(3) ? 0x8000 : random_.chance(10) ? random_.below(65536) : 0);
  Octets options;
  while (random_.below(5) < 2) add_option(options, source);
  for (unsigned more = random_.chance(100) ? 30 + random_.below(4) : 0; more > 0; --more) {
    put16(options, 65001);
    put16(options, 0);
  }
  if (random_.chance(60)) options.push_back(std::byte{8});
  put16(out, random_.chance(60) ? options.size() + 1 : options.size());
  put(out, options.data(), options.size());
}

void RandomRequest::add_option(Octets& out, const IpAddress& source) {
  static constexpr std::uint16_t codes[] = {3, 8, 8, 8, 10, 10, 10, 11, 12, 15, 65001};
  const unsigned code = random_.of(codes);
  Octets content = code == 8    ? subnet()
                   : code == 10 ? cookie(source)
                                : random_.octets(random_.below(5));
  if (random_.chance(20) && !content.empty()) content.pop_back();
  if (random_.chance(20)) content.push_back(std::byte{1});
  put16(out, code);
  put16(out, content.size());
  put(out, content.data(), content.size());
}

Octets RandomRequest::subnet() {
  const IpAddress client = responders_.client();
  const unsigned most = client.is_ipv4() ? 32 : 128;
  const unsigned length = random_.chance(8) ? most + 1 : random_.below(most + 1);
  Octets content;
  put16(content, random_.chance(20) ? random_.below(5) : client.is_ipv4() ? 1 : 2);
  content.push_back(static_cast<std::byte>(length));
  content.push_back(static_cast<std::byte>(random_.chance(20) ? 1 : 0));
  const auto wire = client.wire();
  for (unsigned i = 0; i < std::min((length + 7) / 8, most / 8); ++i) content.push_back(wire[i]);
  const unsigned rest = length % 8;
  if (rest != 0 && content.size() > 4 && !random_.chance(10))
    content.back() &= static_cast<std::byte>(0xff00U >> rest);
  return content;
}

// A client cookie, alone, with rubbish, or with a server cookie of some age.
Octets RandomRequest::cookie(const IpAddress& source) {
  Octets content = random_.octets(8);
  const unsigned kind = random_.below(4);
  if (kind == 1) {
    const Octets rubbish = random_.octets(8 + random_.below(33));
    put(content, rubbish.data(), rubbish.size());
  }
  if (kind < 2) return content;
  static constexpr std::int32_t ages[] = {0, 1, 1799, 1800, 1801, 3600, 3601, -300, -301, 86400};
  ReferenceResponder then = responders_.reference;
  then.wall_s = wall_s - static_cast<std::uint32_t>(random_.of(ages));
  const Octets request = packets::query({.name = "."}, {.options = packets::option(10, content)});
  const auto reply = then.answer(request, source);
  if (reply && reply->opt) put(content, reply->opt->data() + reply->opt->size() - 16, 16);
  if (random_.chance(4)) content.back() ^= std::byte{1};
  return content;
}

}  // namespace pharos::oracle
