#include "pharos/controlplane/ctl/view.hh"

#include "pharos/controlplane/ctl/terminal.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

#include "history_view.hh"
#include "view_parts.hh"

namespace pharos::controlplane::ctl {

namespace {

// ---- status and stats ----

Cell yes_or_no(const json& object, const char* name) {
  const auto& value = at(object, name);
  if (!value.is_boolean()) return {};
  return value.get<bool>() ? Cell("yes", Colour::good) : Cell("no", Colour::bad);
}

std::string tables_text(const json& tables) {
  std::string all;
  for (const char* name : {"catalog", "locale_map", "ranking"}) {
    const auto& part = at(tables, name);
    if (part.is_object()) {
      all += (all.empty() ? "" : ", ") + std::string(name) + " " + version_text(part) + " (" +
             with(part, "bytes", bytes_text) + ")";
    }
  }
  return all.empty() ? "-" : all;
}

void add_controlplane_facts(const json& status, Facts& facts) {
  const auto& sites = at(status, "sites");
  if (sites.is_object()) {
    facts.add("sites", word(sites, "up") + " up, " + word(sites, "suspect") + " suspect, " +
                           word(sites, "down") + " down");
  }
  const auto& services = at(status, "services");
  if (services.is_object()) {
    facts.add("services", word(services, "total") + ", panicking: " + word(services, "panicking"));
  }
  facts.add("zones", word(status, "zones"));
  const auto& beacons = at(status, "beacons");
  if (beacons.is_object()) {
    facts.add("beacons",
              word(beacons, "accepted") + " accepted, " + word(beacons, "dropped") + " dropped");
  }
  const auto& reload = at(status, "last_reload");
  if (reload.is_object()) {
    const bool ok = at(reload, "ok").is_boolean() && at(reload, "ok").get<bool>();
    facts.add("last reload", {seconds_text(reload, "age_s") + " ago, " +
                                  (ok ? "worked" : "failed: " + word(reload, "message")),
                              ok ? Colour::none : Colour::bad});
  }
}

std::string status_view(const json& status, bool colours) {
  Facts facts(colours);
  facts.add("daemon", "pharos-" + word(status, "daemon") + " " + word(status, "version") +
                          ", pid " + word(status, "pid") + ", up " +
                          seconds_text(status, "uptime_s"));
  facts.add("state", state_cell(status, "state"));
  facts.add("version in use", version_text(at(status, "version_in_use")));
  if (at(status, "published").is_object())
    facts.add("published", version_text(at(status, "published")));
  facts.add("tables", tables_text(at(status, "tables")));
  facts.add("control plane", yes_or_no(status, "controlplane_connected"));
  facts.add("data plane", yes_or_no(status, "dataplane_connected"));
  facts.add("configuration", word(status, "config_file"));
  facts.add("log level", word(status, "log_level"));
  facts.add("huge pages", word(status, "huge_pages"));
  if (const auto& listen = at(status, "listen"); listen.is_array() && !listen.empty())
    facts.add("listening on", joined(listen));
  add_controlplane_facts(status, facts);
  if (const auto& alarms = at(status, "alarms"); alarms.is_array()) {
    for (const auto& alarm : alarms) facts.add("ALARM", {word(alarm), Colour::bad});
  }
  auto out = facts.take();
  if (at(status, "ports").is_array()) {
    out += "\n" +
           table(
               at(status, "ports"), {"PORT", "DEVICE", "LINK", ">QUEUES", "MAC", "ADDRESSES"},
               [](const json& port) -> std::vector<Cell> {
                 return {word(port, "id"),     word(port, "device"), state_cell(port, "link"),
                         word(port, "queues"), word(port, "mac"),    joined(at(port, "addresses"))};
               },
               colours, "no ports");
  }
  if (at(status, "workers").is_array()) {
    out += "\n" + table(
                      at(status, "workers"), {">CORE", "PORT", ">QUEUE", ">BUSY"},
                      [](const json& worker) -> std::vector<Cell> {
                        return {word(worker, "core"), word(worker, "port"), word(worker, "queue"),
                                with(worker, "busy_ratio", share_text)};
                      },
                      colours, "no workers");
  }
  return out;
}

std::string stats_view(const json& stats, bool colours) {
  TextTable counters({"COUNTER", ">VALUE"});
  for (const char* group : {"counters", "gauges"}) {
    const auto& values = at(stats, group);
    if (!values.is_object()) continue;
    for (const auto& [name, value] : values.items()) {
      const bool quiet = value.is_number() && value.get<double>() == 0;
      counters.add({{name, quiet ? Colour::faint : Colour::none}, counter_text(value)});
    }
  }
  auto out = coloured("pharos-" + harmless(word(stats, "daemon")), Colour::faint, colours) + "\n" +
             (counters.empty() ? "no counters\n" : counters.text(colours));
  if (at(stats, "cores").is_array()) {
    out += "\n" + table(
                      at(stats, "cores"), {">CORE", "ROLE", ">BUSY"},
                      [](const json& core) -> std::vector<Cell> {
                        return {word(core, "core"), word(core, "role"),
                                with(core, "busy_ratio", share_text)};
                      },
                      colours, "no cores");
  }
  if (const auto& errors = at(stats, "errors"); errors.is_array() && !errors.empty()) {
    out += "\n" + table(
                      errors, {"ERROR", ">COUNT", ">LAST"},
                      [](const json& error) -> std::vector<Cell> {
                        return {{word(error, "text"), Colour::bad},
                                word(error, "count"),
                                seconds_text(error, "last_s")};
                      },
                      colours, "");
  }
  return out;
}

// ---- lists ----

std::string sites_view(const json& sites, bool colours) {
  return table(
      sites,
      {"SITE", "REGION", "STATE", ">FOR", ">LAST BEACON", ">SILENCE", ">INTERVAL", ">CPU",
       ">MEMORY", ">REQ/S", ">ASSIGNED", ">LIMIT"},
      [](const json& site) -> std::vector<Cell> {
        const auto& metrics = at(site, "metrics");
        return {word(site, "id"),
                word(site, "region"),
                state_cell(site, "state"),
                seconds_text(site, "since_s"),
                ms_text(site, "last_beacon_age_ms"),
                with(site, "silence_intervals", [](double n) { return decimal_text(n, 1) + "x"; }),
                ms_text(site, "interval_ms"),
                with(metrics, "cpu_ratio", share_text),
                with(metrics, "memory_ratio", share_text),
                with(metrics, "requests_rps", count_text),
                with(site, "assigned_rps", count_text),
                with(site, "capacity_rps", count_text)};
      },
      colours, "no sites");
}

std::string services_view(const json& services, bool colours) {
  return table(
      services, {"SERVICE", "POLICY", "ECS", ">HEALTHY", ">TTL", "PANIC", "FAIL", "TYPES", "NAMES"},
      [](const json& service) -> std::vector<Cell> {
        const auto& panic = at(service, "panic");
        const bool panicking = panic.is_boolean() && panic.get<bool>();
        return {word(service, "id"),
                word(service, "policy"),
                word(service, "ecs"),
                word(service, "healthy") + "/" + word(service, "total"),
                ttl_text(service, "ttl_s"),
                {panicking ? "PANIC" : "no", panicking ? Colour::bad : Colour::none},
                word(service, "fail"),
                joined(at(service, "types")),
                joined(at(service, "names"))};
      },
      colours, "no services");
}

std::string endpoints_view(const json& endpoints, bool colours) {
  const auto list = endpoints.is_object() ? json::array({endpoints}) : endpoints;
  return table(
      list,
      {"ENDPOINT", "SITE", "STATE", "OVERRIDE", ">MOVED", ">SCORE", ">WEIGHT", ">PRIORITY", ">TTL",
       "ADDRESSES", "REASON"},
      [](const json& endpoint) -> std::vector<Cell> {
        const auto kept = word(endpoint, "override");
        return {word(endpoint, "service") + "/" + word(endpoint, "id"),
                word(endpoint, "site"),
                state_cell(endpoint, "state"),
                {kept, kept == "auto" ? Colour::faint : Colour::warning},
                with(at(endpoint, "drain"), "moved", share_text),
                score_text(endpoint, "score"),
                word(endpoint, "weight"),
                word(endpoint, "priority"),
                ttl_text(endpoint, "ttl_s"),
                joined(at(endpoint, "addresses")),
                word(endpoint, "reason")};
      },
      colours, "no endpoints");
}

std::string weights_view(const json& weights, bool colours) {
  const auto list = weights.is_object() ? json::array({weights}) : weights;
  return table(
      list, {"ENDPOINT", ">WEIGHT", "SOURCE"},
      [](const json& row) -> std::vector<Cell> {
        const auto source = word(row, "source");
        return {word(row, "service") + "/" + word(row, "endpoint"),
                word(row, "weight"),
                {source, source == "operator" ? Colour::warning : Colour::none}};
      },
      colours, "no endpoints");
}

std::string alarms_view(const json& alarms, bool colours) {
  std::string out;
  for (const auto& alarm : alarms) {
    out += coloured(harmless(word(alarm)), Colour::warning, colours) + "\n";
  }
  return out.empty() ? "all is well\n" : out;
}

std::string factors_view(const json& factors, bool colours) {
  auto rows = json::array();
  for (const auto& [name, exponent] : at(factors, "exponents").items()) {
    rows.push_back({{"factor", name}, {"exponent", exponent}});
  }
  const auto source = word(factors, "source");
  const auto colour = source == "operator" ? Colour::warning : Colour::none;
  return table(
      rows, {"FACTOR", ">EXPONENT", "SOURCE"},
      [&](const json& row) -> std::vector<Cell> {
        return {word(row, "factor"), word(row, "exponent"), {source, colour}};
      },
      colours, "no factors");
}

std::string generations_view(const json& generations, bool colours) {
  return table(
      generations, {"VERSION", ">AGE", "OUTCOME", ">SIZE", "KINDS", "REASON"},
      [](const json& row) -> std::vector<Cell> {
        return {version_text(row),          seconds_text(row, "age_s"),
                state_cell(row, "outcome"), with(row, "bytes", bytes_text),
                joined(at(row, "kinds")),   word(row, "reason")};
      },
      colours, "nothing was published yet");
}

std::string ports_view(const json& ports, bool colours) {
  return table(
      ports, {"PORT", "DEVICE", "LINK", ">RECEIVED", ">SENT", ">MISSED", ">ERRORS", "ADDRESSES"},
      [](const json& port) -> std::vector<Cell> {
        const auto& stats = at(port, "stats");
        return {word(port, "id"),
                word(port, "device"),
                state_cell(port, "link"),
                counter_text(at(stats, "received_packets")),
                counter_text(at(stats, "sent_packets")),
                counter_text(at(stats, "missed_packets")),
                counter_text(at(stats, "receive_errors")),
                joined(at(port, "addresses"))};
      },
      colours, "no ports");
}

std::string zones_view(const json& zones, bool colours) {
  return table(
      zones, {"ZONE", ">SERIAL", ">NAMES", ">RECORDS", ">LOADED", "STATE", "FILE", "MESSAGE"},
      [](const json& zone) -> std::vector<Cell> {
        return {word(zone, "id"),
                word(zone, "serial"),
                word(zone, "names"),
                word(zone, "records"),
                seconds_text(zone, "loaded_age_s"),
                state_cell(zone, "state"),
                word(zone, "file"),
                word(zone, "message")};
      },
      colours, "no zones");
}

std::string zone_show_view(const json& result, bool) {
  std::string out;
  const auto& records = at(result, "records");
  if (!records.is_array()) return "-\n";
  for (const auto& record : records) out += harmless(word(record)) + "\n";
  return out;
}

std::string commands_view(const json& commands, bool colours) {
  return table(
      commands, {"COMMAND", "ACCESS", "SUMMARY"},
      [](const json& command) -> std::vector<Cell> {
        return {word(command, "name"), word(command, "access"), word(command, "summary")};
      },
      colours, "no commands");
}

// ---- name policies ----

std::string policies_view(const json& policies, bool colours) {
  return table(
      policies, {">PRIORITY", "POLICY", "ACTION", "LOG", ">PATTERNS", ">HITS"},
      [](const json& policy) {
        return std::vector<Cell>{word(policy, "priority"), word(policy, "id"),
                                 word(policy, "action"),   word(policy, "log"),
                                 word(policy, "patterns"), word(policy, "hits")};
      },
      colours, "no policies");
}

std::string policy_test_view(const json& told, bool colours) {
  Facts facts(colours);
  facts.add("name", word(told, "name"));
  facts.add("zone", word(told, "zone"));
  facts.add("listed", word(told, "listed"));
  facts.add("policy", word(told, "policy"));
  facts.add("answer", word(told, "answer"));
  return facts.take() + "\n" +
         table(
             at(told, "matches"), {">PRIORITY", "POLICY", "ACTION", "PATTERN", "NOTE"},
             [](const json& match) {
               return std::vector<Cell>{word(match, "priority"), word(match, "policy"),
                                        word(match, "action"), word(match, "pattern"),
                                        word(match, "note")};
             },
             colours, "no policy takes it");
}

std::string demand_view(const json& told, bool colours) {
  Facts facts(colours);
  facts.add("demand", at(told, "known") == json(true)
                          ? with(told, "answers_per_s", count_text) + " answers a second"
                          : std::string("nothing was counted yet"));
  return facts.take() + "\n" +
         table(
             at(told, "names"), {"NAME", "SERVICE", ">ANSWERS/S", ">SHARE"},
             [](const json& row) -> std::vector<Cell> {
               return {word(row, "name"), word(row, "service"),
                       with(row, "answers_per_s", count_text), with(row, "share", share_text)};
             },
             colours, "no name of a service is asked for") +
         "\n" +
         table(
             at(told, "cells"), {"POOL", "LOCALE", ">ANSWERS/S", ">REQUESTS/S", ">SHARE"},
             [](const json& row) -> std::vector<Cell> {
               return {word(row, "pool"), word(row, "locale"),
                       with(row, "answers_per_s", count_text),
                       with(row, "requests_rps", count_text), with(row, "share", share_text)};
             },
             colours, "no pool is asked for");
}

std::string maintenance_view(const json& works, bool colours) {
  return table(
      works, {"WORK", "SITES", "FROM", "TO", "BY", "STATE"},
      [](const json& work) -> std::vector<Cell> {
        const auto& active = at(work, "active");
        const bool goes_on = active.is_boolean() && active.get<bool>();
        return {word(work, "id"),
                joined(at(work, "sites")),
                word(work, "from"),
                word(work, "to"),
                word(work, "by"),
                {goes_on ? "goes on" : "planned", goes_on ? Colour::warning : Colour::none}};
      },
      colours, "no work is planned");
}

// ---- the answers to changes ----

std::string reload_view(const json& result, bool colours) {
  std::string out;
  const auto& changed = at(result, "changed");
  if (changed.is_array() && !changed.empty()) {
    for (const auto& change : changed) out += harmless(word(change)) + "\n";
  } else {
    out += "nothing changed\n";
  }
  if (const auto& later = at(result, "needs_restart"); later.is_array() && !later.empty()) {
    out += coloured("after a restart: " + harmless(joined(later)), Colour::warning, colours) + "\n";
  }
  if (at(result, "version").is_object())
    out += "version " + version_text(at(result, "version")) + "\n";
  return out;
}

std::string log_level_view(const json& result, bool) {
  return harmless("log level " + word(result, "level") + ", was " + word(result, "previous")) +
         "\n";
}

using View = std::string (*)(const json&, bool);
constexpr std::array<std::pair<std::string_view, View>, 29> views = {
    {{"status", status_view},
     {"stats", stats_view},
     {"sites", sites_view},
     {"services", services_view},
     {"endpoints", endpoints_view},
     {"endpoint-set", endpoints_view},
     {"alarms", alarms_view},
     {"demand", demand_view},
     {"maintenance", maintenance_view},
     {"maintenance-set", maintenance_view},
     {"factors", factors_view},
     {"factor-set", factors_view},
     {"weights", weights_view},
     {"weight-set", weights_view},
     {"explain", explain_view},
     {"failover-time", failover_view},
     {"dnstap", dnstap_view},
     {"probes", probes_view},
     {"names", names_view},
     {"policies", policies_view},
     {"policy-test", policy_test_view},
     {"generations", generations_view},
     {"ports", ports_view},
     {"zones", zones_view},
     {"zone-show", zone_show_view},
     {"zone-reload", reload_view},
     {"reload", reload_view},
     {"log-level", log_level_view},
     {"commands", commands_view}}};

}  // namespace

std::string render(std::string_view command, const json& result, bool colours) {
  if (auto text = render_history(command, result, colours)) return *text;
  const auto view = std::ranges::find(views, command, &std::pair<std::string_view, View>::first);
  if (view != views.end()) return view->second(result, colours);
  return result.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace pharos::controlplane::ctl
