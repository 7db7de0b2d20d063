// serve_burst against a slow, obvious lookup, over random zones: the algorithm of RFC 1034, 4.3.2 with RFC 4592, 6672 and
// 6604, on strings and maps. The zones are dense in what is hard: wildcards, empty non-terminals, cuts, aliases, DNAMEs.
#include "pharos/dataplane/dns/serve.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "message_text.hh"
#include "octets.hh"
#include "world.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

const std::map<std::string, std::uint16_t> types = {
    {"A", 1}, {"CNAME", 5}, {"TXT", 16}, {"DNAME", 39}, {"DS", 43}};
const std::string soa_data = "ns.out. host.out. 1 2 3 4 5";

bool is_below(const std::string& name, const std::string& ancestor) {
  return name.size() > ancestor.size() && name.ends_with("." + ancestor);
}
std::string parent(const std::string& name) {
  return name.substr(name.find('.') + 1);
}

struct Model {
  std::vector<std::string> origins;
  std::map<std::string, std::map<std::string, std::string>> data;  // owner, type, RDATA text

  struct Answer {
    std::string rcode = "NOERROR";
    bool authoritative = true;
    std::vector<std::string> lines;
  };

  [[nodiscard]] bool has(const std::string& name, const std::string& type) const {
    const auto at = data.find(name);
    return at != data.end() && at->second.contains(type);
  }
  // Has data, or a name below it has.
  [[nodiscard]] bool exists(const std::string& name) const {
    return std::ranges::any_of(data, [&](const auto& entry) {
      return entry.first == name || is_below(entry.first, name);
    });
  }
  [[nodiscard]] std::string origin_of(const std::string& name) const {
    std::string best;
    for (const auto& origin : origins) {
      if ((name == origin || is_below(name, origin)) && origin.size() > best.size()) best = origin;
    }
    return best;
  }
  // The names from just below the origin down to `name`.
  static std::vector<std::string> path(std::string name, const std::string& origin) {
    std::vector<std::string> names;
    for (; name != origin; name = parent(name)) names.insert(names.begin(), name);
    return names;
  }

  [[nodiscard]] Answer answer(std::string name, const std::string& type) const {
    Answer result;
    std::set<std::string> names;   // that the chain has been at
    std::set<std::string> dnames;  // that the answer holds
    for (int steps = 0;; ++steps) {
      if (!names.insert(name).second) return result;
      std::string origin = origin_of(name);
      // DS at an apex is the outer zone's, where that is ours (RFC 4035, 3.1.4.1).
      if (type == "DS" && name == origin && !origin_of(parent(name)).empty()) {
        origin = origin_of(parent(name));
      }
      if (origin.empty()) {
        if (steps == 0) result = {"REFUSED", false, {}};
        return result;
      }
      const auto deny = [&](const char* rcode) {
        result.rcode = rcode;
        result.lines.push_back("ns " + origin + " 5 SOA " + soa_data);
        return result;
      };
      std::string dname;
      for (const auto& at : path(name, origin)) {
        if (has(at, "NS")) {
          if (at == name && type == "DS") break;
          if (steps == 0) result.authoritative = false;
          result.lines.push_back("ns " + at + " 60 NS " + data.at(at).at("NS"));
          return result;
        }
        if (at != name && has(at, "DNAME")) {
          dname = at;
          break;
        }
      }
      std::string next;
      if (!dname.empty()) {
        const std::string& target = data.at(dname).at("DNAME");
        next = name.substr(0, name.size() - dname.size()) + target;
        if (dnames.insert(dname).second) {
          result.lines.push_back("an " + dname + " 60 DNAME " + target);
        }
        result.lines.push_back("an " + name + " 60 CNAME " + next);
        if (type == "CNAME") return result;
      } else {
        std::string source = name;
        if (!exists(name)) {
          std::string encloser = parent(name);
          while (!exists(encloser)) encloser = parent(encloser);
          source = "*." + encloser;
          if (!exists(source)) return deny("NXDOMAIN");
        }
        if (has(source, type)) {
          result.lines.push_back("an " + name + " 60 " + type + " " + data.at(source).at(type));
          return result;
        }
        if (!has(source, "CNAME")) return deny("NOERROR");
        next = data.at(source).at("CNAME");
        result.lines.push_back("an " + name + " 60 CNAME " + next);
      }
      name = next;
      if (steps + 1 == 16) return result;
    }
  }
};

class RandomZones {
 public:
  explicit RandomZones(unsigned seed) : random_(seed) {
    model_.origins = {"z.", "y.z.", "w."};
    for (const auto& origin : model_.origins) {
      model_.data[origin]["SOA"] = soa_data;
      model_.data[origin]["TXT"] = "\"apex\"";
    }
    for (int i = 0; i < 40; ++i) add(name(1 + pick(4)));
  }

  [[nodiscard]] const Model& model() const { return model_; }
  std::string name(unsigned labels) {
    static const char* const words[] = {"a", "b", "c", "*", "dd"};
    std::string out = model_.origins[pick(3)];
    for (unsigned i = 0; i < labels; ++i) out = std::string(words[pick(5)]) + "." + out;
    return out;
  }
  unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }

  [[nodiscard]] std::string text(const std::string& origin) const {
    std::string text = "$TTL 60\n" + origin + " NS ns.out.\n";
    for (const auto& [owner, sets] : model_.data) {
      if (model_.origin_of(owner) != origin) continue;
      for (const auto& [type, rdata] : sets) text += owner + " " + type + " " + rdata + "\n";
    }
    return text;
  }
  [[nodiscard]] World::Root build() const {
    World world;
    for (const auto& origin : model_.origins) world.zone(origin, text(origin));
    return world.build();
  }

 private:
  // Adds something at a name, where a zone may have it.
  void add(const std::string& owner) {
    auto& data = model_.data;
    const std::string origin = model_.origin_of(owner);
    if (owner == origin || owner == "y.z.") return;
    for (const auto& at : Model::path(owner, origin)) {
      if (at != owner && (model_.has(at, "NS") || model_.has(at, "DNAME"))) return;  // hidden there
    }
    if (data.contains(owner)) {
      if (model_.has(owner, "A")) data[owner]["TXT"] = "\"t\"";
      return;
    }
    const bool parent_of_others = model_.exists(owner);
    const bool wildcard = owner.starts_with("*.");
    const unsigned what = pick(10);
    if (what < 4) {
      data[owner]["A"] = "192.0.2." + std::to_string(pick(250));
    } else if (what < 5) {
      data[owner]["TXT"] = "\"x\"";
    } else if (what < 8) {
      data[owner]["CNAME"] = pick(8) == 0 ? "far.out." : name(pick(4));
    } else if (parent_of_others || wildcard) {
      return;
    } else if (what < 9) {
      data[owner]["DNAME"] = name(pick(3));
    } else {
      data[owner]["NS"] = "ns.out.";
      if (pick(2) == 0) data[owner]["DS"] = "1 13 2 " + std::string(64, 'a');
    }
  }

  std::mt19937 random_;
  Model model_;
};

std::string ds_text() {  // as MessageText shows RDATA that it does not spell out
  return "00010d02" + std::string(64, 'a');
}

class PropertyTest : public testing::TestWithParam<unsigned> {};

TEST_P(PropertyTest, ServesWhatTheObviousLookupFinds) {
  RandomZones zones(GetParam());
  const auto root = zones.build();
  ServeState state{ServeOptions{}};
  CoreCounters counters;
  for (int i = 0; i < 600; ++i) {
    const std::string name = zones.name(zones.pick(6));
    const auto [type, number] =
        *std::next(types.begin(), zones.pick(static_cast<unsigned>(types.size())));
    const Octets request =
        packets::query({.name = name.substr(0, name.size() - 1), .type = number});
    Octets buffer = request;
    buffer.resize(16384 + query_slack_bytes);
    Query query;
    query.message = buffer.data();
    query.length = static_cast<std::uint16_t>(request.size());
    query.capacity = 16384;
    query.transport = Transport::tcp;
    query.source = IpAddress::from_ipv4(0xc0000201);
    serve_burst(state, *root, {&query, 1}, counters);
    ASSERT_EQ(query.verdict, Verdict::answered);
    buffer.resize(query.reply_bytes);

    Model::Answer expected = zones.model().answer(name, type);
    for (auto& line : expected.lines) {
      if (const auto at = line.find(" DS "); at != std::string::npos)
        line = line.substr(0, at + 4) + ds_text();
    }
    auto lines = MessageText::of(buffer);
    const std::string head =
        "1234 " + expected.rcode + (expected.authoritative ? " qr aa rd" : " qr rd");
    EXPECT_EQ(lines[0].substr(0, lines[0].find(" |")), head)
        << name << ' ' << type << ", seed " << GetParam();
    lines.erase(lines.begin(), lines.begin() + 2);
    EXPECT_EQ(lines, expected.lines) << name << ' ' << type << ", seed " << GetParam();
    if (HasFailure()) {
      for (const auto& origin : zones.model().origins) ADD_FAILURE() << zones.text(origin);
      return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PropertyTest, testing::Range(1U, 61U));

}  // namespace
}  // namespace pharos::dataplane
