#include "pharos/controlplane/history/history.hh"

#include "pharos/config/scalars.hh"
#include "pharos/controlplane/history/leads.hh"
#include "pharos/shared/client_hash.hh"

#include <spdlog/fmt/chrono.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>

#include "handlers.hh"
#include "question.hh"

// The past: what was decided, from which inputs, for whom.

namespace pharos::controlplane {
namespace {

constexpr std::size_t rows_max = 10'000;

Result<History*> history_of(Daemon& daemon) {
  if (auto* history = daemon.history()) return history;
  return fail(ErrorCode::unavailable, "no history is kept", "controlplane.history.on",
              "set it to true and start pharos-controlplane again");
}

std::size_t limit_of(const Json& arguments) {
  const auto at = arguments.find("limit");
  if (at == arguments.end() || !at->is_number()) return 50;
  return static_cast<std::size_t>(std::clamp(at->get<double>(), 1.0, double{rows_max}));
}

Result<std::optional<WallTime>> time_argument(const Json& arguments, const char* name) {
  const auto text = optional_text(arguments, name);
  if (text.empty()) return std::nullopt;
  auto time = parse_time(text, wall_now());
  if (!time) return std::unexpected(std::move(time.error()).in(name));
  return *time;
}

// What follows reads JSON of the history file with at(): damage is an error of the command, and nothing worse.
Json answers_of_row(const PastDecision& past) {
  const auto& content = past.content;
  const auto& members = past.members;
  Json names = Json::array();
  if (!content.is_object()) return names;
  const auto& answers = content.at(content.contains("answers") ? "answers" : "records");
  if (answers.empty()) return names;
  for (const auto& one : answers.at(0)) {
    const auto member = one.at(0).get<std::size_t>();
    if (members.is_array() && member < members.size()) {
      const auto& id = members[member].at("endpoint");
      if (names.empty() || names.back() != id) names.push_back(id);
    } else {
      names.push_back(one.at(1));  // its facts were not kept
    }
  }
  return names;
}

Status check_names(Daemon& daemon, const DecisionFilter& filter) {
  const auto world = daemon.loop().ask([](EngineSide& side) { return side.engine.shared_world(); });
  const auto pools = world->pool_names();
  const bool service = filter.service.empty() ||
                       std::ranges::any_of(world->config->services,
                                           [&](const auto& s) { return s.id == filter.service; }) ||
                       std::ranges::find(pools, filter.service) != pools.end();
  if (!service) {
    return fail(ErrorCode::not_found,
                "no service or pool '" + filter.service + "', now or in the history", "service",
                "`pharosctl services` shows those that there are");
  }
  if (!filter.locale.empty() &&
      std::ranges::find(world->locales, filter.locale) == world->locales.end()) {
    return fail(ErrorCode::not_found, "no locale '" + filter.locale + "', now or in the history",
                "locale");
  }
  return {};
}

Result<Json> history(Daemon& daemon, const Json& arguments) {
  const auto kept = history_of(daemon);
  if (!kept) return std::unexpected(kept.error());
  DecisionFilter filter;
  filter.service = optional_text(arguments, "service");
  filter.locale = optional_text(arguments, "locale");
  filter.limit = limit_of(arguments);
  const auto since = time_argument(arguments, "since");
  const auto until = time_argument(arguments, "until");
  if (!since) return std::unexpected(since.error());
  if (!until) return std::unexpected(until.error());
  filter.since = *since;
  filter.until = *until;
  if (auto written = (*kept)->sync(); !written) return std::unexpected(written.error());
  const auto rows = (*kept)->decisions(filter);
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) {
    // A name of the past may be gone, but then there are rows of it: what is neither here nor there is a mistake.
    if (auto known = check_names(daemon, filter); !known) return std::unexpected(known.error());
  }
  const auto now = wall_now();
  Json result = Json::array();
  for (const auto& past : *rows) {
    const auto& content = past.content;
    result.push_back({{"at", time_text(past.at)},
                      {"age_s", (now - past.at).seconds()},
                      {"pool", past.pool},
                      {"locale", past.locale},
                      {"ttl_s", past.ttl_s},
                      {"panic", past.panic},
                      {"answered_by", past.answered_by},
                      {"answers", answers_of_row(past)},
                      {"slots", content.is_object() ? content.at("slots").size() : 0},
                      {"cause", past.cause},
                      {"version", json_of(past.version)}});
  }
  return result;
}

Result<Json> configurations(Daemon& daemon, const Json& arguments) {
  const auto kept = history_of(daemon);
  if (!kept) return std::unexpected(kept.error());
  if (auto written = (*kept)->sync(); !written) return std::unexpected(written.error());
  const auto rows = (*kept)->configurations(limit_of(arguments));
  if (!rows) return std::unexpected(rows.error());
  Json result = Json::array();
  for (const auto& past : *rows) {
    auto row = json_of(past.version);
    row["id"] = past.id;
    row["at"] = time_text(past.at);
    row["age_s"] = (wall_now() - past.at).seconds();
    row["changes"] = past.changes;
    result.push_back(std::move(row));
  }
  return result;
}

Result<Json> audit(Daemon& daemon, const Json& arguments) {
  const auto kept = history_of(daemon);
  if (!kept) return std::unexpected(kept.error());
  if (auto written = (*kept)->sync(); !written) return std::unexpected(written.error());
  const auto rows = (*kept)->audit_log(limit_of(arguments));
  if (!rows) return std::unexpected(rows.error());
  Json result = Json::array();
  for (const auto& entry : *rows) {
    result.push_back({{"at", time_text(entry.at)},
                      {"door", entry.door},
                      {"caller", entry.caller},
                      {"peer", entry.peer},
                      {"command", entry.command},
                      {"arguments", entry.arguments},
                      {"outcome", entry.outcome}});
  }
  return result;
}

Json first_address(const Json& member) {
  const auto& addresses = member.at("addresses");
  return addresses.empty() ? Json("") : addresses.at(0);
}

// The members' facts of then, with what distance made of them for this locale.
Json factors_of(const PastDecision& past) {
  const auto& members = past.members;
  const auto& scores = past.scores;
  Json factors = Json::array();
  if (!members.is_array() || !scores.is_array()) return factors;
  const auto leads = leads_of(past.content, members);
  for (std::size_t m = 0; m < members.size() && m < scores.size(); ++m) {
    auto row = members[m];
    row["address"] = first_address(row);
    row["rtt_ms"] = scores[m].at(0);
    row["proximity"] = scores[m].at(1);
    row["score"] = scores[m].at(2);
    const auto led = leads.find(row.at("endpoint").get<std::string>());
    row["share"] = led == leads.end() ? 0.0 : led->second;
    row.erase("addresses");
    factors.push_back(std::move(row));
  }
  return factors;
}

Json answers_at(const PastDecision& past, std::uint32_t hash, Json& slot) {
  const auto& content = past.content;
  const auto& members = past.members;
  Json result = Json::array();
  if (!content.is_object() || content.at("slots").empty()) return result;
  const auto& slots = content.at("slots");
  const auto own_slot = slots.size() > 1 ? hash % slots.size() : 0;
  if (slots.size() > 1) slot = own_slot;
  const auto which = slots.at(own_slot).get<std::size_t>();
  const bool records = content.contains("records");
  const auto& answers = content.at(records ? "records" : "answers");
  for (const auto& one : answers.at(which)) {
    const auto index = one.at(0).get<std::size_t>();
    const bool known = members.is_array() && index < members.size();
    Json row = {{"endpoint", known ? members[index].at("endpoint") : Json("")},
                {"ttl_s", past.ttl_s},
                {"rank", result.size() + 1}};
    if (records) {
      row["priority"] = one.at(1);
      row["weight"] = one.at(2);
      row["address"] = known ? first_address(members[index]) : Json("");
    } else {
      row["address"] = one.at(1);
    }
    result.push_back(std::move(row));
  }
  return result;
}

}  // namespace

Result<Json> explain_at(Daemon& daemon, const Question& question, const std::string& when) {
  const auto kept = history_of(daemon);
  if (!kept) return std::unexpected(kept.error());
  const auto at = parse_time(when, wall_now());
  if (!at) return std::unexpected(at.error());
  if (auto written = (*kept)->sync(); !written) return std::unexpected(written.error());
  const auto tables = (*kept)->tables_at(*at);
  if (!tables) return std::unexpected(tables.error());
  const auto pool = pool_of(tables->catalog, question);
  if (!pool) return std::unexpected(pool.error());
  const auto locale = tables->locale_map.find(question.client);
  if (*pool >= tables->pools.size() || locale.index >= tables->locales.size())
    return fail(ErrorCode::unavailable, "the names of that time are not whole", "history.db");
  const auto& pool_name = tables->pools[*pool];
  const auto& locale_name = tables->locales[locale.index];
  const auto past = (*kept)->decision(pool_name, locale_name, *at);
  if (!past) return std::unexpected(past.error());
  if (!*past) {
    return fail(ErrorCode::not_found,
                "nothing was decided for " + pool_name + " in " + locale_name + " until then",
                "at");
  }
  const auto& decision = **past;
  const auto gap = (*kept)->gap_between(decision.at, *at);
  if (!gap) return std::unexpected(gap.error());
  const auto hash = ranking::client_hash(question.client, tables->catalog.summary().client_key);
  Json slot;
  auto answers = answers_at(decision, hash, slot);
  const unsigned slot_scope =
      question.client.is_ipv4() ? ranking::slot_prefix_ipv4_bits : ranking::slot_prefix_ipv6_bits;
  Json result = {{"name", question.name},
                 {"type", dns::type_text(static_cast<std::uint16_t>(question.type))},
                 {"client", question.client.text()},
                 {"locale", locale_name},
                 {"scope", slot.is_null() ? unsigned{locale.scope_length}
                                          : std::max<unsigned>(locale.scope_length, slot_scope)},
                 {"service", decision.service},
                 {"pool", pool_name},
                 {"answered_by", decision.answered_by},
                 {"policy", *pool < tables->policies.size() ? tables->policies[*pool] : ""},
                 {"version", json_of(decision.version)},
                 {"ttl_s", decision.ttl_s},
                 {"panic", decision.panic},
                 {"at", time_text(*at)},
                 {"decided_at", time_text(decision.at)},
                 {"cause", decision.cause},
                 {"answers", std::move(answers)},
                 {"factors", factors_of(decision)}};
  if (!slot.is_null()) result["slot"] = slot;
  if (*gap) {
    result["lost"] = {{"from", time_text((*gap)->from)}, {"until", time_text((*gap)->until)}};
  }
  return result;
}

std::string time_text(WallTime time) {
  const auto seconds = time.ns / 1'000'000'000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(seconds)),
                     time.ns / 1'000'000 % 1000);
}

Result<WallTime> parse_time(const std::string& text, WallTime now) {
  const auto wrong = [&] {
    return fail(ErrorCode::invalid, "'" + text.substr(0, 64) + "' is no time", "at",
                "2026-11-20T13:05:00Z, seconds since 1970, or -10m");
  };
  if (text.starts_with('-')) {
    const auto ago = config::parse_duration(std::string_view(text).substr(1));
    if (!ago) return wrong();
    return WallTime{now.ns - ago->ns};
  }
  constexpr double seconds_max = 9e9;
  if (const auto number = config::parse_number(text); number) {
    if (*number < 0 || *number > seconds_max) return wrong();
    return WallTime{static_cast<std::int64_t>(*number * 1e9)};
  }
  std::tm parts{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return wrong();
  const std::int64_t whole_seconds = ::timegm(&parts);
  if (whole_seconds < 0 || whole_seconds > std::llround(seconds_max)) return wrong();
  std::int64_t ns = whole_seconds * 1'000'000'000;
  if (*rest == '.') {
    std::int64_t unit = 100'000'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, unit /= 10) ns += (*rest - '0') * unit;
  }
  if (std::string_view(rest) != "Z" && !std::string_view(rest).empty()) return wrong();
  return WallTime{ns};
}

void add_history_commands(control::Server& server, Daemon& daemon) {
  using control::Access;
  server.add({"history", Access::read, "what was decided and why, newest first",
              [&daemon](const Json& arguments) { return history(daemon, arguments); },
              control::Pace::lengthy});
  server.add({"configurations", Access::read, "configurations that were in force, newest first",
              [&daemon](const Json& arguments) { return configurations(daemon, arguments); },
              control::Pace::lengthy});
  server.add({"audit", Access::write, "who changed what, by whichever door, and who was denied",
              [&daemon](const Json& arguments) { return audit(daemon, arguments); },
              control::Pace::lengthy, false});
}

}  // namespace pharos::controlplane
