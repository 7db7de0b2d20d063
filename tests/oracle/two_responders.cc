#include "two_responders.hh"

#include "pharos/controlplane/zone/load_zone.hh"
#include "pharos/shared/client_hash.hh"

#include <algorithm>
#include <stdexcept>

#include "random_zone.hh"

namespace pharos::oracle {
namespace {

using dataplane::Transport;

// A DNAME at d.test would hide the zone c.d.test, which the catalog refuses.
std::string without_dname_above_zone(std::string text) {
  constexpr std::string_view start = "\nd DNAME ";
  for (auto at = text.find(start); at != std::string::npos; at = text.find(start))
    text.erase(at, text.find('\n', at + 1) - at);
  return text;
}

Name name_of(ConstBytes wire) {
  Name name;
  for (std::size_t at = 0; wire[at] != std::byte{0};) {
    const auto length = std::to_integer<std::size_t>(wire[at]);
    name.emplace_back(as_text(wire.subspan(at + 1, length)));
    at += 1 + length;
  }
  return name;
}

}  // namespace

TwoResponders::TwoResponders(std::uint64_t seed) : random_(seed) {
  reference.payload_bytes = payload_bytes_max;
  reference.nsid = "pop1";
  reference.version_text = "pharos";
  reference.wall_s = wall_s;
  for (unsigned i = 0; i < 16; ++i) reference.cookie_secret[i] = static_cast<std::byte>(i * 11);
  add_zones(seed);
  add_locales();
  add_resolvers();
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
  options.ecs_resolvers = reference.ecs_resolvers;
  state_ = std::make_unique<dataplane::ServeState>(options);
  state_->set_time(wall_s, Instant{});
}

std::optional<Octets> TwoResponders::served(const Octets& request, const IpAddress& source,
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

Name TwoResponders::name() {
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

IpAddress TwoResponders::client() {
  if (random_.chance(4)) {
    IpAddress address = *IpAddress::parse("2001:db8::");
    for (unsigned i = 4; i < 16; ++i)
      address.bytes[i] = static_cast<std::uint8_t>(random_.chance(2) ? 0 : random_.below(4) << 6);
    return address;
  }
  return IpAddress::from_ipv4(0x0a000000U | random_.below(4) << 22 | random_.below(4) << 14 |
                              random_.below(256));
}

void TwoResponders::add_zones(std::uint64_t seed) {
  const std::string origins[] = {"test.", "b.test.", "c.d.test.", "other."};
  if (random_.chance(4)) add_zone(".", random_zone(".", seed * 10 + 9, 12));
  for (unsigned i = 0; i < 4; ++i) {
    std::string text = random_zone(origins[i], seed * 10 + i, 40);
    if (i == 0) text = without_dname_above_zone(text) + large_rrsets();
    add_zone(origins[i], text);
  }
}

// Answers that no plain reply holds.
std::string TwoResponders::large_rrsets() {
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

void TwoResponders::add_zone(const std::string& origin, const std::string& text) {
  const auto name = dns::parse_name(origin);
  auto loaded = controlplane::parse_zone(*name, text, origin);
  if (!loaded) throw std::runtime_error(loaded.error().text());
  origins_.push_back(name_of(name->view()));
  zone_text += "$ORIGIN " + origin + "\n" + text;
  reference.add_zone(loaded->data);
  world_.zone(std::move(loaded->data));
}

IpPrefix TwoResponders::prefix() {
  IpPrefix prefix{client(), 0};
  const bool ipv4 = prefix.address.is_ipv4();
  prefix.length = static_cast<std::uint8_t>(ipv4 ? 8 + random_.below(25) : 30 + random_.below(60));
  for (unsigned bit = prefix.length + (ipv4 ? 96U : 0U); bit < 128; ++bit) {
    auto& byte = prefix.address.bytes[bit / 8];
    byte = static_cast<std::uint8_t>(byte & ~(0x80U >> bit % 8));
  }
  return prefix;
}

void TwoResponders::add_locales() {
  for (unsigned i = 1; i <= 3; ++i) {
    std::vector<std::string> prefixes;
    for (unsigned n = 0; n < 4; ++n) {
      const IpPrefix next = prefix();
      const bool taken = std::ranges::any_of(
          reference.locales, [&](const auto& other) { return other.prefix == next; });
      if (taken) continue;
      prefixes.push_back(next.text());
      zone_text += "; locale " + std::to_string(i) + " " + next.text() + "\n";
      reference.locales.push_back({next, static_cast<std::uint16_t>(i)});
    }
    world_.locale("locale" + std::to_string(i), prefixes);
  }
}

// Whose client subnets count for services that list resolvers: any prefixes, nested ones and none at all.
void TwoResponders::add_resolvers() {
  for (unsigned left = random_.below(5); left > 0; --left) {
    reference.ecs_resolvers.push_back(prefix());
    zone_text += "; resolver " + reference.ecs_resolvers.back().text() + "\n";
  }
}

std::vector<TwoResponders::Slot> TwoResponders::slots(bool ipv6) {
  std::vector<Slot> slots(random_.chance(3) ? 4 : 1);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    for (unsigned i = 0; i <= random_.below(3); ++i) {
      const auto address =
          *IpAddress::parse((ipv6 ? "2001:db8:5::" : "203.0.113.") + std::to_string(slot * 10 + i));
      slots[slot].texts.push_back(address.text());
      slots[slot].rdata.emplace_back(as_text(address.wire()));
    }
  }
  return slots;
}

void TwoResponders::add_service() {
  static constexpr std::pair<catalog::EcsMode, ReferenceEcs> modes[] = {
      {catalog::EcsMode::all, ReferenceEcs::all},
      {catalog::EcsMode::all, ReferenceEcs::all},
      {catalog::EcsMode::listed, ReferenceEcs::listed},
      {catalog::EcsMode::ignore, ReferenceEcs::ignored}};
  Name at = name();
  if (random_.chance(3)) at.insert(at.begin(), "*");
  const bool ipv6 = random_.chance(3);
  const std::uint16_t type = ipv6 ? 28 : 1;
  const auto [mode, reference_mode] = random_.of(modes);
  std::string text;
  for (const auto& label : at) text += label + ".";
  if (text.empty()) text = ".";
  if (!reference.has_room(at, type)) return;
  const auto pool = world_.pool(text, type, mode);
  std::map<std::uint16_t, ReferenceCell> cells;
  for (std::uint16_t locale = 0; locale < 4; ++locale) {
    if (random_.chance(4)) continue;  // the pool answers nothing there
    ReferenceCell& cell = cells[locale];
    cell.ttl_s = 5 + random_.below(60);
    std::vector<std::vector<std::string>> texts;
    for (const Slot& slot : slots(ipv6)) {
      texts.push_back(slot.texts);
      cell.slots.push_back(slot.rdata);
    }
    // Slots that repeat are one: the data plane answers them alike for the whole locale.
    if (texts.size() == 4 && texts[0] == texts[2] && texts[1] == texts[3]) {
      texts.resize(texts[0] == texts[1] ? 1 : 2);
      cell.slots.resize(texts.size());
    }
    world_.answer(pool, locale, type, cell.ttl_s, texts);
    zone_text += "; " + text + " for locale " + std::to_string(locale) + ", " +
                 std::to_string(texts.size()) + " slots, TTL " + std::to_string(cell.ttl_s) + "\n";
  }
  zone_text += "; service " + text + " " + std::to_string(type) + " by the client subnets of " +
               std::string(catalog::name_of(mode)) + "\n";
  reference.add_service(at, type, std::move(cells), reference_mode);
}

}  // namespace pharos::oracle
