#include "facts.hh"

#include "pharos/controlplane/score/score.hh"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace pharos::controlplane {
namespace {

using nlohmann::json;

// Enough that scores follow from factors to five digits; what is shown has four.
double rounded(double value) {
  return std::round(value * 1e6) / 1e6;
}

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Of a member, in the order in which they are kept.
constexpr std::array member_keys = {"endpoint",   "site",   "version",   "addresses", "weight",
                                    "state",      "reason", "health",    "headroom",  "condition",
                                    "preference", "risk",   "confidence"};

json addresses_of(const config::EndpointConfig& endpoint, dns::Type family) {
  json addresses = json::array();
  for (const auto& address : endpoint.addresses) {
    const bool wanted = family == dns::Type::aaaa ? !address.is_ipv4()
                        : family == dns::Type::a  ? address.is_ipv4()
                                                  : true;
    if (wanted) addresses.push_back(address.text());
  }
  return addresses;
}

json expanded(const json& values) {
  json member = json::object();
  for (std::size_t i = 0; i < member_keys.size(); ++i) member[member_keys[i]] = values.at(i);
  return member;
}

std::size_t index_of(const json& names, const std::string& name) {
  return static_cast<std::size_t>(std::ranges::find(names, json(name)) - names.begin());
}

Factors factors_of(const json& member) {
  Factors factors;
  factors.health = member.at("health");
  factors.headroom = member.at("headroom");
  factors.condition = member.at("condition");
  factors.version = member.at("preference");
  factors.risk = member.at("risk");
  factors.confidence = member.at("confidence");
  return factors;
}

}  // namespace

json members_of(const DecisionRound& round, const PoolFacts& pool) {
  const auto& world = *round.round.world;
  const auto family = world.pools[pool.pool].pool.type;
  json members = json::array();
  for (const auto e : world.pools[pool.answered_by].members) {
    const auto& seen =
        *std::ranges::lower_bound(round.endpoints, e, {}, &EndpointJudgement::endpoint);
    const auto& site = round.sites.at(world.endpoints[e].site);
    const auto& config = world.endpoint(e);
    members.push_back({{"endpoint", config.id},
                       {"site", world.site(world.endpoints[e].site).id},
                       {"version", config.version},
                       {"addresses", addresses_of(config, family)},
                       {"weight", rounded(seen.weight)},
                       {"state", state_of(seen, site)},
                       {"reason", reason_of(seen, site, world)},
                       {"health", rounded(seen.factors.health)},
                       {"headroom", rounded(seen.factors.headroom)},
                       {"condition", rounded(seen.factors.condition)},
                       {"preference", rounded(seen.factors.version)},
                       {"risk", rounded(seen.factors.risk)},
                       {"confidence", rounded(seen.factors.confidence)}});
  }
  return members;
}

std::string members_text(const json& members, const std::string& moved) {
  json lists = json::array();
  for (const auto& member : members) {
    json values = json::array();
    for (const char* key : member_keys) values.push_back(member.at(key));
    lists.push_back(std::move(values));
  }
  return dumped({{"moved", moved}, {"members", std::move(lists)}});
}

KeptMembers kept_members(std::string_view text) try {
  auto kept = json::parse(text, nullptr, false);
  if (!kept.is_object()) return {std::move(kept), {}};
  json members = json::array();
  for (const auto& values : kept.at("members")) members.push_back(expanded(values));
  return {std::move(members), kept.at("moved").get<std::string>()};
} catch (const json::exception&) {
  return {};
}

// A line of names, and behind it one float for each locale and site.
std::string distances_text(const World& world) {
  json sites = json::array();
  for (const auto& site : world.config->sites) sites.push_back(site.id);
  auto text = dumped({{"sites", std::move(sites)}, {"locales", world.locales}}) + "\n";
  text.reserve(text.size() + world.rtt_ms.size() * sizeof(float));
  for (const double rtt_ms : world.rtt_ms) {
    const auto value = static_cast<float>(rtt_ms);
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return text;
}

std::string exponents_text(const config::ScoreConfig& exponents) {
  json values = json::object();
  for (const auto& [name, member] : exponents_by_name) values[name] = exponents.*member;
  return dumped(values);
}

json scores_of(const json& members, const std::string& locale, std::string_view distances,
               std::string_view exponents) try {
  const auto line = distances.find('\n');
  if (line == std::string_view::npos) return {};
  const auto names = json::parse(distances.substr(0, line));
  const auto floats = distances.substr(line + 1);
  const auto given = json::parse(exponents);
  config::ScoreConfig powers;
  for (const auto& [name, member] : exponents_by_name) powers.*member = given.at(name);
  const auto& sites = names.at("sites");
  const auto row = index_of(names.at("locales"), locale) * sites.size();
  json scores = json::array();
  for (const auto& member : members) {
    const auto site = index_of(sites, member.at("site").get<std::string>());
    const auto at = (row + site) * sizeof(float);
    if (site == sites.size() || at + sizeof(float) > floats.size()) return {};
    float rtt_ms = 0;
    std::memcpy(&rtt_ms, floats.data() + at, sizeof rtt_ms);
    auto factors = factors_of(member);
    factors.proximity = proximity_factor(rtt_ms);
    scores.push_back({std::isfinite(rtt_ms) ? json(rounded(rtt_ms)) : json(),
                      rounded(factors.proximity), rounded(score_of(factors, powers))});
  }
  return scores;
} catch (const json::exception&) {
  return {};
}

}  // namespace pharos::controlplane
