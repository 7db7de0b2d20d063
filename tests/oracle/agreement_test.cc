// The packet path against the reference responder: random zones and services, random questions, random EDNS, UDP and
// TCP, every truncation of a request and of a reply.
//
// What must agree: header, question octet by octet, every record with its TTL, OPT with all options; records of one RRset
// in any order, but those of services, whose order is the answer. The reference knows no size, so that truncation is
// held against the packet path's own whole reply: whole where it fits, without optional records where only that fits,
// else empty with TC, and never shorter than it needs to be.
//
// PHAROS_AGREEMENT_SECONDS=N runs longer (10 by default), PHAROS_AGREEMENT_SEED=N starts elsewhere. The test ends with
// the first difference and prints seed, zones, question and both replies.
#include "pharos/controlplane/zone/load_zone.hh"
#include "pharos/dataplane/dns/serve.hh"
#include "pharos/shared/client_hash.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>

#include "../packets/message_text.hh"
#include "../packets/octets.hh"
#include "../packets/world.hh"
#include "random_zone.hh"
#include "reference_responder.hh"

namespace pharos::oracle {
namespace {

using dataplane::Transport;
using Lines = std::vector<std::string>;

constexpr std::uint32_t wall_s = 1'800'000'000;
constexpr std::uint16_t payload_bytes_max = 4096;
constexpr unsigned questions_a_world = 400;

std::uint64_t number_from(const char* variable, std::uint64_t fallback) {
  const char* text = std::getenv(variable);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  unsigned below(unsigned limit) { return static_cast<unsigned>(engine_() % limit); }
  bool chance(unsigned one_in) { return below(one_in) == 0; }
  Octets octets(std::size_t count) {
    Octets bytes(count);
    for (auto& b : bytes) b = static_cast<std::byte>(below(256));
    return bytes;
  }
  template <typename T, std::size_t n>
  const T& of(const T (&values)[n]) {
    return values[below(n)];
  }

 private:
  std::mt19937_64 engine_;
};

// One set of zones and services, in both forms.
class TwoResponders {
 public:
  explicit TwoResponders(std::uint64_t seed) : random_(seed) {
    reference.payload_bytes = payload_bytes_max;
    reference.nsid = "pop1";
    reference.version_text = "pharos";
    reference.wall_s = wall_s;
    for (unsigned i = 0; i < 16; ++i) reference.cookie_secret[i] = static_cast<std::byte>(i * 11);
    add_zones(seed);
    add_locales();
    for (int i = 0; i < 8; ++i) add_service();
    root_ = world_.build();
    reference.slot_of = [key = root_->catalog.summary().client_key](const IpAddress& client,
                                                                    std::size_t count) {
      return ranking::client_hash(client, key) % count;
    };
    dataplane::ServeOptions options;
    options.udp_payload_max_bytes = payload_bytes_max;
    options.nsid = reference.nsid;
    options.version_text = reference.version_text;
    options.cookie_secrets = {reference.cookie_secret};
    state_ = std::make_unique<dataplane::ServeState>(options);
    state_->set_time(wall_s, Instant{});
  }

  // Nothing where the packet path sends none.
  std::optional<Octets> served(const Octets& request, const IpAddress& source,
                               Transport transport) {
    Octets buffer = request;
    buffer.resize(std::max<std::size_t>(request.size(), 65535) + dataplane::query_slack_bytes);
    dataplane::Query query;
    query.message = buffer.data();
    query.length = static_cast<std::uint16_t>(request.size());
    query.capacity = 65535;
    query.transport = transport;
    query.source = source;
    dataplane::serve_burst(*state_, *root_, {&query, 1}, counters_);
    if (query.verdict != dataplane::Verdict::answered) return std::nullopt;
    buffer.resize(query.reply_bytes);
    return buffer;
  }

  // A name of few labels in or near the zones.
  Name name() {
    static constexpr const char* labels[] = {"a", "b", "c", "d", "*", "A", "zz", "many", "x"};
    Name name = random_.chance(12) ? Name{"elsewhere"} : origins_[random_.below(4)];
    if (random_.chance(40)) name = {};
    const unsigned depth = random_.below(6);
    for (unsigned i = 0; i < depth; ++i) name.insert(name.begin(), labels[random_.below(9)]);
    // Now and then as long as a name can be: DNAMEs overflow.
    while (random_.chance(30) && name_wire(name).size() < 190)
      name.insert(name.begin(), std::string(50, 'l'));
    return name;
  }
  IpAddress client() {
    if (random_.chance(4)) {
      IpAddress address = *IpAddress::parse("2001:db8::");
      for (unsigned i = 4; i < 16; ++i)
        address.bytes[i] = static_cast<std::uint8_t>(random_.chance(2) ? 0 : random_.below(4) << 6);
      return address;
    }
    return IpAddress::from_ipv4(0x0a000000U | random_.below(4) << 22 | random_.below(4) << 14 |
                                random_.below(256));
  }

  ReferenceResponder reference;
  std::string zone_text;

 private:
  void add_zones(std::uint64_t seed) {
    const std::string origins[] = {"test.", "b.test.", "c.d.test.", "other."};
    if (random_.chance(4)) add_zone(".", random_zone(".", seed * 10 + 9, 12));
    for (unsigned i = 0; i < 4; ++i) {
      std::string text = random_zone(origins[i], seed * 10 + i, 40);
      if (i == 0) text = without_dname_above_zone(text) + large_rrsets();
      add_zone(origins[i], text);
    }
  }
  // A DNAME at d.test would hide the zone c.d.test, which the catalog refuses.
  static std::string without_dname_above_zone(std::string text) {
    constexpr std::string_view start = "\nd DNAME ";
    for (auto at = text.find(start); at != std::string::npos; at = text.find(start))
      text.erase(at, text.find('\n', at + 1) - at);
    return text;
  }
  // Answers that no plain reply holds.
  std::string large_rrsets() {
    std::string text;
    for (unsigned i = 0; i < 30 + random_.below(90); ++i)
      text += "many A 198.18.0." + std::to_string(i) + "\n";
    for (unsigned i = 0; i < 12; ++i) {
      const auto host = "h" + std::to_string(i) + ".many";
      text += "many MX " + std::to_string(i) + " " + host + "\n" + host +
              " AAAA 2001:db8::" + std::to_string(i) + "\n";
    }
    for (unsigned i = 0; i < 20; ++i)
      text += "step" + std::to_string(i) + " CNAME step" + std::to_string(i + 1) + "\n";
    return text + "step20 A 192.0.2.1\nstep CNAME step" + std::to_string(1 + random_.below(8)) +
           "\nx TXT " + std::string(3, ' ') + "\"" + std::string(200, 't') + "\" \"" +
           std::string(250, 'u') + "\"\n";
  }
  void add_zone(const std::string& origin, const std::string& text) {
    const auto name = dns::parse_name(origin);
    auto loaded = controlplane::parse_zone(*name, text, origin);
    if (!loaded) throw std::runtime_error(loaded.error().text());
    origins_.push_back(name_of(name->view()));
    zone_text += "$ORIGIN " + origin + "\n" + text;
    reference.add_zone(loaded->data);
    world_.zone(std::move(loaded->data));
  }
  static Name name_of(ConstBytes wire) {
    Name name;
    for (std::size_t at = 0; wire[at] != std::byte{0};) {
      const auto length = std::to_integer<std::size_t>(wire[at]);
      name.emplace_back(as_text(wire.subspan(at + 1, length)));
      at += 1 + length;
    }
    return name;
  }
  void add_locales() {
    for (unsigned i = 1; i <= 3; ++i) {
      Lines prefixes;
      for (unsigned n = 0; n < 4; ++n) {
        IpPrefix prefix{client(), 0};
        const bool ipv4 = prefix.address.is_ipv4();
        prefix.length =
            static_cast<std::uint8_t>(ipv4 ? 8 + random_.below(25) : 30 + random_.below(60));
        for (unsigned bit = prefix.length + (ipv4 ? 96U : 0U); bit < 128; ++bit) {
          auto& byte = prefix.address.bytes[bit / 8];
          byte = static_cast<std::uint8_t>(byte & ~(0x80U >> bit % 8));
        }
        const bool taken = std::ranges::any_of(
            reference.locales, [&](const auto& other) { return other.prefix == prefix; });
        if (taken) continue;
        prefixes.push_back(prefix.text());
        zone_text += "; locale " + std::to_string(i) + " " + prefix.text() + "\n";
        reference.locales.push_back({prefix, static_cast<std::uint16_t>(i)});
      }
      world_.locale("locale" + std::to_string(i), prefixes);
    }
  }
  void add_service() {
    Name at = name();
    if (random_.chance(3)) at.insert(at.begin(), "*");
    const bool ipv6 = random_.chance(3);
    const std::uint16_t type = ipv6 ? 28 : 1;
    std::string text;
    for (const auto& label : at) text += label + ".";
    if (text.empty()) text = ".";
    if (!reference.has_room(at, type)) return;
    const auto pool = world_.pool(text, type);
    std::map<std::uint16_t, ReferenceCell> cells;
    for (std::uint16_t locale = 0; locale < 4; ++locale) {
      if (random_.chance(4)) continue;  // the pool answers nothing there
      const unsigned slot_count = random_.chance(3) ? 4 : 1;
      std::vector<Lines> slots(slot_count);
      ReferenceCell& cell = cells[locale];
      cell.ttl_s = 5 + random_.below(60);
      cell.slots.resize(slot_count);
      for (unsigned slot = 0; slot < slot_count; ++slot) {
        for (unsigned i = 0; i <= random_.below(3); ++i) {
          const auto address = *IpAddress::parse((ipv6 ? "2001:db8:5::" : "203.0.113.") +
                                                 std::to_string(slot * 10 + i));
          slots[slot].push_back(address.text());
          cell.slots[slot].emplace_back(as_text(address.wire()));
        }
      }
      // Slots that repeat are one: the data plane answers them alike for the whole locale.
      if (slot_count == 4 && cell.slots[0] == cell.slots[2] && cell.slots[1] == cell.slots[3]) {
        cell.slots.resize(cell.slots[0] == cell.slots[1] ? 1 : 2);
        slots.resize(cell.slots.size());
      }
      world_.answer(pool, locale, type, cell.ttl_s, slots);
      zone_text += "; " + text + " for locale " + std::to_string(locale) + ", " +
                   std::to_string(slots.size()) + " slots, TTL " + std::to_string(cell.ttl_s) +
                   "\n";
    }
    zone_text += "; service " + text + " " + std::to_string(type) + "\n";
    reference.add_service(at, type, std::move(cells));
  }

  Random random_;
  std::vector<Name> origins_;
  packets::World world_;
  packets::World::Root root_;
  std::unique_ptr<dataplane::ServeState> state_;
  dataplane::CoreCounters counters_;
};

// A request with anything that a client may send, most of it well-formed.
class RandomRequest {
 public:
  RandomRequest(Random& random, TwoResponders& responders)
      : random_(random), responders_(responders) {}

  Octets operator()(const IpAddress& source) {
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
    const unsigned flags =
        opcode << 11 | (random_.below(2) << 8) | (random_.chance(8) ? random_.below(128) : 0) |
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

 private:
  std::string mixed_case(std::string wire) {
    for (char& c : wire) {
      if (c >= 'a' && c <= 'z' && random_.chance(4)) c = static_cast<char>(c - 32);
    }
    return wire;
  }

  // OPT, or now and then something else.
  void add_record(Octets& out, const IpAddress& source, bool second) {
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

  void add_option(Octets& out, const IpAddress& source) {
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

  Octets subnet() {
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
  Octets cookie(const IpAddress& source) {
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

  Random& random_;
  TwoResponders& responders_;
};

// Lines in an order that does not depend on the order of records in an RRset, names folded. `ranked`: the answer
// section as it is.
Lines comparable(const Octets& message, bool ranked) {
  Lines lines = packets::MessageText::of(message);
  for (auto& line : lines) {
    std::ranges::transform(line, line.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  }
  const auto set_of = [](const std::string& line) {  // section, owner, TTL, type
    std::size_t at = 0;
    for (int words = 0; words < 4 && at != std::string::npos; ++words) at = line.find(' ', at + 1);
    return line.substr(0, at);
  };
  const auto sortable = [&](const std::string& line) {
    return (line.starts_with("an ") && !ranked) || line.starts_with("ns ");
  };
  for (auto first = lines.begin(); first != lines.end();) {
    auto last = first + 1;
    while (last != lines.end() && sortable(*first) && set_of(*last) == set_of(*first)) ++last;
    std::sort(first, last);
    first = last;
  }
  const auto additional =
      std::ranges::find_if(lines, [](const auto& l) { return l.starts_with("ar "); });
  auto behind = additional;
  while (behind != lines.end() && behind->starts_with("ar ")) ++behind;
  std::sort(additional, behind);
  return lines;
}

std::string text_of(const Lines& lines) {
  std::string text;
  for (const auto& line : lines) text += "  " + line + "\n";
  return text;
}

class AgreementTest : public testing::Test {
 protected:
  // Holds both replies to one request against each other; false at a difference.
  bool compare(TwoResponders& responders, const Octets& request, const IpAddress& source) {
    ++requests_;
    const auto expected = responders.reference.answer(request, source);
    const auto whole = responders.served(request, source, Transport::tcp);
    const auto describe = [&](const Octets& reply, const std::string& what) {
      return what + "\nrequest " + packets::hex_text(request) + " from " + source.text() +
             "\npacket path\n" + text_of(packets::MessageText::of(reply)) + "reference\n" +
             text_of(packets::MessageText::of(expected ? expected->wire(true) : Octets())) +
             responders.zone_text;
    };
    if (expected.has_value() != whole.has_value()) {
      ADD_FAILURE() << describe(whole.value_or(Octets()), "one of them sends nothing");
      return false;
    }
    if (!expected) return true;
    const bool same_question =
        whole->size() >= 12 + expected->question.size() &&
        std::equal(expected->question.begin(), expected->question.end(), whole->begin() + 12);
    if (!same_question || comparable(*whole, expected->ranked) !=
                              comparable(expected->wire(true), expected->ranked)) {
      ADD_FAILURE() << describe(*whole, "they differ over TCP");
      return false;
    }
    const auto udp = responders.served(request, source, Transport::udp);
    const auto fault = fault_of_udp(*udp, *whole, *expected, limit_of(request, *expected));
    if (fault.empty()) return true;
    ADD_FAILURE() << describe(*udp, fault);
    return false;
  }

  // The size that a request allows: that of its OPT, from 512 to ours.
  static std::size_t limit_of(const Octets& request, const ReferenceReply& expected) {
    if (!expected.opt) return 512;
    std::size_t at = 12 + expected.question.size();
    for (;;) {  // to the OPT record, the first one
      while (request[at] != std::byte{0}) at += 1U + std::to_integer<std::size_t>(request[at]);
      const auto field = [&](std::size_t offset) {
        return std::to_integer<std::size_t>(request[at + offset]) << 8 |
               std::to_integer<std::size_t>(request[at + offset + 1]);
      };
      if (field(1) == type_opt) return std::clamp<std::size_t>(field(3), 512, payload_bytes_max);
      at += 11 + field(9);
    }
  }

  static std::string fault_of_udp(const Octets& udp, const Octets& whole,
                                  const ReferenceReply& expected, std::size_t limit) {
    if (udp.size() > limit) return "the reply is longer than " + std::to_string(limit);
    if (whole.size() <= limit) return udp == whole ? "" : "what fits is not the same over UDP";
    if ((udp[2] & std::byte{0x02}) == std::byte{0}) {
      const bool same =
          comparable(udp, expected.ranked) == comparable(expected.wire(false), expected.ranked);
      return same ? "" : "more than optional records was left out, without TC";
    }
    ReferenceReply empty = expected;
    empty.flags |= 0x0200;
    empty.answer.clear();
    empty.authority.clear();
    empty.required.clear();
    const bool same = comparable(udp, false) == comparable(empty.wire(false), false);
    return same ? "" : "a truncated reply is not empty";
  }

  // One question at every size that a client may offer: a reply loses its optional records, and then all, exactly
  // where it no longer fits.
  void compare_all_sizes(TwoResponders& responders, const std::string& name, std::uint16_t type) {
    const auto source = responders.client();
    const auto ask = [&](std::size_t size, Transport transport) {
      const auto edns = packets::Edns{.payload = static_cast<std::uint16_t>(size)};
      return *responders.served(packets::query({.name = name, .type = type}, edns), source,
                                transport);
    };
    const Octets whole = ask(4096, Transport::tcp);
    if (whole.size() > 4095) return;
    std::size_t least = 0;  // without optional records
    for (std::size_t size = whole.size() + 1; size >= 512; --size) {
      const Octets reply = ask(size, Transport::udp);
      ASSERT_LE(reply.size(), size) << name;
      ++sizes_;
      if (size >= whole.size()) {
        ASSERT_EQ(reply, whole) << name << " at " << size;
        continue;
      }
      const bool truncated = (reply[2] & std::byte{0x02}) != std::byte{0};
      if (!truncated && least == 0) least = reply.size();
      if (!truncated) {
        ASSERT_EQ(reply.size(), least) << name << " at " << size;
        ASSERT_GE(size, least);
      } else if (least != 0) {
        ASSERT_LT(size, least) << name << ": truncated at " << size << ", where it fits";
      }
    }
  }

  std::uint64_t requests_ = 0;
  std::uint64_t sizes_ = 0;
};

TEST_F(AgreementTest, ThePacketPathAnswersAsTheReferenceDoes) {
  const auto seconds = number_from("PHAROS_AGREEMENT_SECONDS", 10);
  std::uint64_t seed = number_from("PHAROS_AGREEMENT_SEED", 1);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  const std::uint64_t first = seed;
  for (; seed == first || std::chrono::steady_clock::now() < end; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TwoResponders responders(seed);
    Random random(seed + 1'000'000);
    RandomRequest next(random, responders);
    for (unsigned i = 0; i < questions_a_world; ++i) {
      const auto source = responders.client();
      const Octets request = next(source);
      if (!compare(responders, request, source)) return;
      if (i % 40 != 0) continue;
      for (std::size_t bytes = 0; bytes < request.size(); ++bytes) {
        const Octets cut(request.begin(), request.begin() + static_cast<std::ptrdiff_t>(bytes));
        if (!compare(responders, cut, source)) return;
      }
    }
    for (const auto& [name, type] :
         {std::pair{"many.test.", 1}, {"many.test.", 15}, {"step.test.", 1}, {"x.test.", 16}}) {
      compare_all_sizes(responders, name, static_cast<std::uint16_t>(type));
      if (HasFatalFailure()) return;
    }
  }
  std::cout << seed - first << " worlds from seed " << first << ", " << requests_
            << " requests over UDP and TCP, " << sizes_ << " sizes of reply\n";
  EXPECT_GT(requests_, 400U);
}

}  // namespace
}  // namespace pharos::oracle
