#include "reference_responder.hh"

#include <sodium.h>

#include <algorithm>
#include <cstring>

namespace pharos::oracle {
namespace {

enum Number : std::uint16_t {
  a = 1,
  ns = 2,
  cname = 5,
  soa = 6,
  ptr = 12,
  mx = 15,
  txt = 16,
  aaaa = 28,
  srv = 33,
  dname = 39,
  ds = 43,
  svcb = 64,
  https = 65,
  any = 255
};
constexpr std::size_t steps_max = 16;

std::string folded(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return text;
}
Name folded(Name name) {
  for (auto& label : name) label = folded(label);
  return name;
}
Name parent(const Name& name) {
  return {name.begin() + 1, name.end()};
}
bool is_below_or_at(const Name& name, const Name& ancestor) {
  return name.size() >= ancestor.size() &&
         std::equal(ancestor.rbegin(), ancestor.rend(), name.rbegin());
}
Name last_labels(const Name& name, std::size_t count) {
  return {name.end() - static_cast<std::ptrdiff_t>(count), name.end()};
}
Name wildcard_below(const Name& name) {
  Name wildcard{"*"};
  wildcard.insert(wildcard.end(), name.begin(), name.end());
  return wildcard;
}
std::size_t wire_bytes(const Name& name) {
  std::size_t bytes = 1;
  for (const auto& label : name) bytes += 1 + label.size();
  return bytes;
}

Name name_in(const std::string& rdata, std::size_t at) {
  Name name;
  while (at < rdata.size() && rdata[at] != 0) {
    const auto length = static_cast<unsigned char>(rdata[at]);
    name.push_back(rdata.substr(at + 1, length));
    at += 1U + length;
  }
  return name;
}

unsigned priority_in(const std::string& rdata) {
  return static_cast<unsigned>(static_cast<unsigned char>(rdata[0])) << 8 |
         static_cast<unsigned char>(rdata[1]);
}

std::uint32_t last32(const std::string& rdata) {
  std::uint32_t value = 0;
  for (std::size_t i = rdata.size() - 4; i < rdata.size(); ++i)
    value = value << 8 | static_cast<unsigned char>(rdata[i]);
  return value;
}

}  // namespace

struct ReferenceResponder::Asked {
  const ReferenceRequest& request;
  ReferenceReply& reply;
  Name name;              // in question now, case as it came
  std::set<Name> names;   // that the chain has been at
  std::set<Name> dnames;  // that the answer holds
  bool authoritative = false;
  unsigned scope = 0;
  std::optional<std::uint16_t> info_code;
};

// ---- zones ----

const ReferenceResponder::Node* ReferenceResponder::Zone::at(const Name& name) const {
  const auto node = nodes.find(name);
  return node == nodes.end() ? nullptr : &node->second;
}

const ReferenceResponder::Node& ReferenceResponder::Zone::data_at(const Name& name) const {
  static const Node nothing;
  const auto* node = at(name);
  return node == nullptr ? nothing : *node;
}

bool ReferenceResponder::Zone::exists(const Name& name) const {
  const auto next = nodes.lower_bound(name);
  return next != nodes.end() && is_below_or_at(next->first, name);
}

bool ReferenceResponder::Zone::has(const Name& name, std::uint16_t type) const {
  const auto* node = at(name);
  return node != nullptr && node->contains(type);
}

std::optional<Name> ReferenceResponder::Zone::cut_above(const Name& name, bool at_name_too) const {
  const std::size_t most = at_name_too ? name.size() + 1 : name.size();
  for (std::size_t labels = origin.size() + 1; labels < most; ++labels) {
    if (has(last_labels(name, labels), ns)) return last_labels(name, labels);
  }
  return std::nullopt;
}

std::optional<Name> ReferenceResponder::Zone::dname_above(const Name& name) const {
  for (std::size_t labels = origin.size(); labels < name.size(); ++labels) {
    if (has(last_labels(name, labels), dname)) return last_labels(name, labels);
  }
  return std::nullopt;
}

void ReferenceResponder::add_zone(const controlplane::ZoneData& data) {
  const auto name_of = [](ConstBytes wire) {
    return folded(name_in(std::string(as_text(wire)), 0));
  };
  Zone zone;
  zone.origin = name_of(data.origin());
  for (const auto& record : data.records()) {
    Rrset& rrset = zone.nodes[name_of(data.owner_of(record))][record.type];
    rrset.ttl_s = record.ttl_s;
    rrset.rdata.emplace_back(as_text(data.rdata_of(record)));
  }
  // Its place exists in the zone around it.
  if (!zone.origin.empty()) {
    for (auto& [origin, outer] : zones_) {
      if (zone_of(parent(zone.origin)) == &outer) outer.nodes[zone.origin];
    }
  }
  zones_.emplace(zone.origin, std::move(zone));
}

void ReferenceResponder::add_service(const Name& name, std::uint16_t type,
                                     std::map<std::uint16_t, ReferenceCell> cells,
                                     ReferenceEcs ecs) {
  const Name key = folded(name);
  for (auto& [origin, zone] : zones_) {
    if (zone_of(key) != &zone) continue;
    zone.nodes[key][type].cells = std::move(cells);
    zone.nodes[key][type].ecs = ecs;
    return;
  }
}

bool ReferenceResponder::has_room(const Name& name, std::uint16_t type) const {
  const Name key = folded(name);
  const Zone* zone = zone_of(key);
  return zone != nullptr && !zone->cut_above(key, true) && !zone->dname_above(key) &&
         !zone->has(key, type) && !zone->has(key, cname);
}

const ReferenceResponder::Zone* ReferenceResponder::zone_of(const Name& name) const {
  for (std::size_t labels = name.size() + 1; labels-- > 0;) {
    const auto zone = zones_.find(last_labels(name, labels));
    if (zone != zones_.end()) return &zone->second;
  }
  return nullptr;
}

// ---- RFC 1034, 4.3.2 ----

void ReferenceResponder::resolve(Asked& asked) const {
  for (std::size_t steps = 0; steps < steps_max; ++steps) {
    if (!asked.names.insert(folded(asked.name)).second) return;  // in circles
    if (!step(asked)) return;
  }
}

// One name of the chain; true where it leads to another.
bool ReferenceResponder::step(Asked& asked) const {
  const Name name = folded(asked.name);
  const std::uint16_t type = asked.request.type;
  const Zone* zone = zone_of(name);
  // DS of a zone is its parent's to answer, where that is ours (RFC 4035, 3.1.4.1).
  if (zone != nullptr && type == ds && zone->origin == name && !name.empty()) {
    if (const Zone* outer = zone_of(parent(name)); outer != nullptr) zone = outer;
  }
  if (zone == nullptr) {
    if (asked.names.size() > 1) return false;
    asked.reply.rcode = refused;
    asked.info_code = 20;
    return false;
  }
  if (const auto cut = zone->cut_above(name, type != ds)) {
    refer(asked, *zone, *cut);
    return false;
  }
  if (const auto at = zone->dname_above(name)) return follow_dname(asked, *zone, *at);
  const bool of_inner_apex = zone->origin.size() < name.size() && zones_.contains(name);
  if (of_inner_apex && !zone->has(name, ds)) {
    deny(asked, *zone, noerror);
    return false;
  }
  if (zone->exists(name)) return at_data(asked, *zone, zone->data_at(name), name);
  Name encloser = parent(name);
  while (!zone->exists(encloser)) encloser = parent(encloser);
  const Name wildcard = wildcard_below(encloser);
  if (zone->exists(wildcard)) {
    return at_data(asked, *zone, zone->data_at(wildcard), wildcard);
  }
  deny(asked, *zone, nxdomain);
  return false;
}

bool ReferenceResponder::at_data(Asked& asked, const Zone& zone, const Node& node,
                                 const Name& node_name) const {
  asked.authoritative = true;
  const std::uint16_t type = asked.request.type;
  const auto found = type == any ? node.begin() : node.find(type);  // RFC 8482, 4.1: one RRset
  if (found != node.end()) {
    answer_rrset(asked, zone, found->first, found->second, node_name);
    return false;
  }
  const auto alias = node.find(cname);
  if (alias == node.end()) {
    deny(asked, zone, noerror);
    return false;
  }
  asked.reply.answer.push_back({asked.name, cname, 1, alias->second.ttl_s, alias->second.rdata[0]});
  asked.name = name_in(alias->second.rdata[0], 0);
  return true;
}

// RFC 6672, 3.2.
bool ReferenceResponder::follow_dname(Asked& asked, const Zone& zone, const Name& at) const {
  asked.authoritative = true;
  const Rrset& rrset = zone.at(at)->at(dname);
  if (asked.dnames.insert(at).second) {
    asked.reply.answer.push_back(
        {last_labels(asked.name, at.size()), dname, 1, rrset.ttl_s, rrset.rdata[0]});
  }
  Name next(asked.name.begin(), asked.name.end() - static_cast<std::ptrdiff_t>(at.size()));
  const Name target = name_in(rrset.rdata[0], 0);
  next.insert(next.end(), target.begin(), target.end());
  if (wire_bytes(next) > 255) {
    asked.reply.rcode = yxdomain;
    return false;
  }
  asked.reply.answer.push_back({asked.name, cname, 1, rrset.ttl_s, name_wire(next)});
  asked.name = next;
  return asked.request.type != cname && asked.request.type != any;
}

void ReferenceResponder::answer_rrset(Asked& asked, const Zone& zone, std::uint16_t type,
                                      const Rrset& rrset, const Name& node_name) const {
  if (rrset.cells) return answer_service(asked, zone, type, rrset);
  for (const auto& rdata : rrset.rdata)
    asked.reply.answer.push_back({asked.name, type, 1, rrset.ttl_s, rdata});
  add_targets(asked, zone, type, rrset, node_name, {});
}

void ReferenceResponder::answer_service(Asked& asked, const Zone& zone, std::uint16_t type,
                                        const Rrset& rrset) const {
  const bool heard = hears_subnet(rrset, asked.request.source);
  const IpAddress client = heard ? asked.request.client() : asked.request.source;
  const unsigned first = client.is_ipv4() ? 96 : 0, most = client.is_ipv4() ? 24 : 56;
  const auto cell = rrset.cells->find(locale_of(client, 128));
  const std::size_t slots = cell == rrset.cells->end() ? 0 : cell->second.slots.size();
  unsigned scope = 0;
  while (scope < most && (slots > 1 || !is_alike(client, first + scope))) ++scope;
  asked.scope = heard ? scope : 0;
  if (slots == 0) return deny(asked, zone, noerror);
  asked.reply.ranked = true;
  for (const auto& rdata : cell->second.slots[slots == 1 ? 0 : slot_of(client, slots)])
    asked.reply.answer.push_back({asked.name, type, 1, cell->second.ttl_s, rdata});
}

// RFC 2308: the SOA, with the lesser of its TTL and its MINIMUM.
void ReferenceResponder::deny(Asked& asked, const Zone& zone, unsigned rcode) const {
  asked.authoritative = true;
  asked.reply.rcode = rcode;
  const Rrset& record = zone.at(zone.origin)->at(soa);
  asked.reply.authority.push_back(
      {zone.origin, soa, 1, std::min(record.ttl_s, last32(record.rdata[0])), record.rdata[0]});
}

// Not authoritative, unless it ends a chain that was. Glue of servers in the delegated zone is required (RFC 9471).
void ReferenceResponder::refer(Asked& asked, const Zone& zone, const Name& cut) const {
  const Rrset& servers = zone.at(cut)->at(ns);
  std::set<Name> seen;
  for (const auto& rdata : servers.rdata) {
    asked.reply.authority.push_back({cut, ns, 1, servers.ttl_s, rdata});
    const Name server = folded(name_in(rdata, 0));
    const auto* node = zone.at(server);
    if (!is_below_or_at(server, cut) || node == nullptr || !seen.insert(server).second) continue;
    for (const auto type : {a, aaaa}) {
      const auto glue = node->find(type);
      if (glue == node->end()) continue;
      for (const auto& address : glue->second.rdata)
        asked.reply.required.push_back({server, type, 1, glue->second.ttl_s, address});
    }
  }
  add_targets(asked, zone, ns, servers, cut, cut);
}

// Addresses of what records lead to, but not at or below `but`.
void ReferenceResponder::add_targets(Asked& asked, const Zone& zone, std::uint16_t type,
                                     const Rrset& rrset, const Name& owner, const Name& but) const {
  if (type != ns && type != mx && type != srv && type != svcb && type != https) return;
  const bool binding = type == svcb || type == https;
  std::set<Name> seen;
  for (const auto& rdata : rrset.rdata) {
    Name target = folded(name_in(rdata, type == ns ? 0 : type == srv ? 6 : 2));
    const bool alias = binding && priority_in(rdata) == 0;
    const bool itself = binding && !alias && target.empty();
    if (itself) target = owner;
    if (target.empty() || (!but.empty() && is_below_or_at(target, but))) continue;
    if (!seen.insert(target).second) continue;
    add_addresses(asked, zone, target, itself ? asked.name : target,
                  alias ? type : std::uint16_t{0});
  }
}

void ReferenceResponder::add_addresses(Asked& asked, const Zone& asking, const Name& name,
                                       const Name& as_written, std::uint16_t type_more) const {
  const Zone* zone = zone_of(name);
  if (zone == nullptr || (zone != &asking && zone->cut_above(name, true))) return;
  const auto* node = zone->at(name);
  if (node == nullptr) return;
  for (const auto& [type, rrset] : *node) {
    if (rrset.cells || (type != a && type != aaaa && type != type_more)) continue;
    for (const auto& rdata : rrset.rdata)
      asked.reply.optional.push_back({as_written, type, 1, rrset.ttl_s, rdata});
  }
}

// ---- replies ----

// RFC 9018, 4: version 1, reserved, timestamp, SipHash-2-4 of client cookie, all that and the client's address.
Octets ReferenceResponder::server_cookie(const ReferenceRequest& request) const {
  const Octets client(request.cookie->begin(), request.cookie->begin() + 8);
  Octets theirs(request.cookie->begin() + 8, request.cookie->end());
  const auto make = [&](const Octets& prefix) {
    Octets input = client;
    put(input, prefix.data(), prefix.size());
    put(input, request.source.wire().data(), request.source.wire().size());
    Octets cookie = prefix;
    cookie.resize(16);
    crypto_shorthash_siphash24(reinterpret_cast<unsigned char*>(cookie.data() + 8),
                               reinterpret_cast<const unsigned char*>(input.data()), input.size(),
                               reinterpret_cast<const unsigned char*>(cookie_secret.data()));
    return cookie;
  };
  if (theirs.size() == 16 && theirs[0] == std::byte{1}) {
    Octets time(theirs.begin() + 4, theirs.begin() + 8);
    Cursor cursor{time};
    const std::uint32_t high = cursor.get16();
    const auto age = static_cast<std::int32_t>(wall_s - (high << 16 | cursor.get16()));
    if (age >= -300 && age <= 1800 && make({theirs.begin(), theirs.begin() + 8}) == theirs)
      return theirs;
  }
  Octets prefix(4);
  prefix[0] = std::byte{1};
  put16(prefix, wall_s >> 16);
  put16(prefix, wall_s & 0xffff);
  return make(prefix);
}

Octets ReferenceResponder::opt_of(const ReferenceRequest& request, unsigned rcode, unsigned scope,
                                  std::optional<std::uint16_t> info_code) const {
  Octets options;
  const auto add = [&](unsigned code, const Octets& content) {
    put16(options, code);
    put16(options, content.size());
    put(options, content.data(), content.size());
  };
  if (request.wants_nsid && !nsid.empty()) {
    Octets content;
    put(content, nsid);
    add(3, content);
  }
  if (request.subnet) {
    Octets content = *request.subnet;
    content[3] = content[2] == std::byte{0} ? std::byte{0} : static_cast<std::byte>(scope);
    add(8, content);
  }
  if (request.cookie) {
    Octets content(request.cookie->begin(), request.cookie->begin() + 8);
    const auto server = server_cookie(request);
    put(content, server.data(), server.size());
    add(10, content);
  }
  if (info_code) {
    Octets content;
    put16(content, *info_code);
    add(15, content);
  }
  Octets record(1);
  put16(record, type_opt);
  put16(record, payload_bytes);
  put16(record, (rcode >> 4) << 8);
  put16(record, request.dnssec_ok ? 0x8000 : 0);
  put16(record, options.size());
  put(record, options.data(), options.size());
  return record;
}

void ReferenceResponder::answer_chaos(ReferenceReply& reply,
                                      const ReferenceRequest& request) const {
  const Name name = folded(request.name);
  const bool version = name == Name{"version", "bind"} || name == Name{"version", "server"};
  if (!version || version_text.empty() || (request.type != txt && request.type != any)) {
    reply.rcode = refused;
    return;
  }
  reply.flags |= 0x0400;
  reply.answer.push_back(
      {request.name, txt, 3, 0, static_cast<char>(version_text.size()) + version_text});
}

std::optional<ReferenceReply> ReferenceResponder::answer(const Octets& message,
                                                         const IpAddress& source) const {
  if (message.size() < 12 || (message[2] & std::byte{0x80}) != std::byte{0}) return std::nullopt;
  ReferenceRequest request;
  request.source = source;
  request.read(message);
  ReferenceReply reply;
  reply.id = request.id;
  reply.flags = static_cast<std::uint16_t>(0x8000 | (request.flags & 0x7900));
  reply.question = request.question;
  reply.rcode = request.rcode;
  Asked asked{request, reply, request.name, {}, {}, false, 0, {}};
  if (request.rcode == notimp) asked.info_code = 21;
  if (request.rcode == noerror && request.klass == 3) answer_chaos(reply, request);
  if (request.rcode == noerror && request.klass == 1) resolve(asked);
  if (asked.authoritative) reply.flags |= 0x0400;
  if (request.edns) reply.opt = opt_of(request, reply.rcode, asked.scope, asked.info_code);
  return reply;
}

}  // namespace pharos::oracle
