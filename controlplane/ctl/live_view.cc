// What has changed between two looks at the daemons, and one screen of what they do.
#include "pharos/controlplane/ctl/live.hh"
#include "pharos/controlplane/ctl/view.hh"

#include <algorithm>
#include <map>
#include <string_view>

#include "view_parts.hh"

namespace pharos::controlplane::ctl {

namespace {

// ---- events ----

std::string key_of(const json& item, std::initializer_list<const char*> names) {
  std::string key;
  for (const char* name : names) key += (key.empty() ? "" : "/") + word(item, name);
  return key;
}

const json* find(const json& list, std::initializer_list<const char*> names,
                 const std::string& key) {
  if (!list.is_array()) return nullptr;
  const auto found =
      std::ranges::find_if(list, [&](const json& item) { return key_of(item, names) == key; });
  return found == list.end() ? nullptr : &*found;
}

Colour colour_of(const std::string& state) {
  if (state == "up" || state == "running" || state == "adopted") return Colour::good;
  if (state == "down" || state == "refused") return Colour::bad;
  return Colour::warning;
}

class Comparison {
 public:
  Comparison(const Snapshot& before, const Snapshot& after) : before_(before), after_(after) {}

  std::vector<Event> take() {
    for (const char* daemon : {"dataplane", "controlplane"}) compare_daemon(daemon);
    each("dataplane", "ports", "port", {"id"},
         [this](const auto& name, const auto& a, const auto& b) {
           changed("port", "port " + name + ": link", a, b, "link");
         });
    each("controlplane", "sites", "site", {"id"},
         [this](const auto& name, const auto& a, const auto& b) {
           changed("site", "site " + name, a, b, "state");
         });
    each("controlplane", "endpoints", "endpoint", {"service", "id"},
         [this](const auto& name, const auto& a, const auto& b) { compare_endpoint(name, a, b); });
    each("controlplane", "services", "service", {"id"},
         [this](const auto& name, const auto& a, const auto& b) { compare_service(name, a, b); });
    compare_generations();
    for (const char* daemon : {"dataplane", "controlplane"}) compare_alarms(daemon);
    return std::move(events_);
  }

 private:
  const json& part(const Snapshot& snapshot, const char* daemon, const char* command) const {
    return at(at(snapshot, daemon), command);
  }

  void add(const char* kind, std::string text, Colour colour) {
    events_.push_back({kind, std::move(text), colour});
  }

  void changed(const char* kind, const std::string& what, const json& a, const json& b,
               const char* field) {
    const auto from = word(a, field);
    const auto to = word(b, field);
    if (from != to) add(kind, what + ": " + from + " -> " + to, colour_of(to));
  }

  // `compare` for those that are in both; a word for those that came and went.
  template <typename Compare>
  void each(const char* daemon, const char* command, const char* kind,
            std::initializer_list<const char*> names, const Compare& compare) {
    const auto& was = part(before_, daemon, command);
    const auto& is = part(after_, daemon, command);
    if (!was.is_array() || !is.is_array()) return;
    for (const auto& item : is) {
      if (!item.is_object()) continue;
      const auto key = key_of(item, names);
      if (const auto* former = find(was, names, key)) {
        compare(key, *former, item);
      } else {
        add(kind, std::string(kind) + " " + key + " is new", Colour::none);
      }
    }
    for (const auto& item : was) {
      if (!item.is_object()) continue;
      const auto key = key_of(item, names);
      if (find(is, names, key) == nullptr)
        add(kind, std::string(kind) + " " + key + " is gone", Colour::warning);
    }
  }

  void compare_daemon(const char* daemon) {
    const auto& was = part(before_, daemon, "status");
    const auto& is = part(after_, daemon, "status");
    const auto name = std::string("pharos-") + daemon;
    if (was.is_object() && !is.is_object()) add("daemon", name + " does not answer", Colour::bad);
    if (!was.is_object() && is.is_object())
      add("daemon", name + " answers, pid " + word(is, "pid"), Colour::good);
    if (!was.is_object() || !is.is_object()) return;
    if (word(was, "pid") != word(is, "pid"))
      add("daemon", name + " was started anew, pid " + word(is, "pid"), Colour::warning);
    changed("daemon", name, was, is, "state");
  }

  void compare_endpoint(const std::string& name, const json& a, const json& b) {
    const bool state = word(a, "state") != word(b, "state");
    if (state || word(a, "override") != word(b, "override")) {
      const auto reason = word(b, "reason");
      const auto kept = word(b, "override");
      add("endpoint",
          "endpoint " + name + ": " + word(a, "state") + " -> " + word(b, "state") +
              (kept == "auto" || kept == "-" ? "" : ", by the operator: " + kept) +
              (reason == "-" ? "" : ": " + reason),
          colour_of(word(b, "state")));
    }
    changed("endpoint", "endpoint " + name + ": weight", a, b, "weight");
  }

  void compare_service(const std::string& name, const json& a, const json& b) {
    if (word(a, "healthy") != word(b, "healthy")) {
      add("service",
          "service " + name + ": " + word(b, "healthy") + " of " + word(b, "total") +
              " endpoints healthy, before " + word(a, "healthy"),
          word(b, "healthy") == word(b, "total") ? Colour::good : Colour::warning);
    }
    if (word(a, "panic") != word(b, "panic")) {
      const bool panics = word(b, "panic") == "yes";
      add("service",
          "service " + name +
              (panics ? " panics: too little of it is healthy" : ": the panic is over"),
          panics ? Colour::bad : Colour::good);
    }
    changed("service", "service " + name + ": TTL", a, b, "ttl_s");
  }

  // Newest first in the list, oldest first here.
  void compare_generations() {
    const auto& was = part(before_, "controlplane", "generations");
    const auto& is = part(after_, "controlplane", "generations");
    if (!was.is_array() || !is.is_array()) return;
    for (auto row = is.rbegin(); row != is.rend(); ++row) {
      const auto* former =
          find(was, {"epoch", "generation"}, key_of(*row, {"epoch", "generation"}));
      const auto outcome = word(*row, "outcome");
      if (!row->is_object()) continue;
      if (former != nullptr && word(*former, "outcome") == outcome) continue;
      const auto reason = word(*row, "reason");
      add("generation",
          "tables " + version_text(*row) + " " + outcome + ": " + joined(at(*row, "kinds")) + ", " +
              with(*row, "bytes", bytes_text) + (reason == "-" ? "" : ": " + reason),
          colour_of(outcome));
    }
  }

  void compare_alarms(const char* daemon) {
    const auto& was = at(part(before_, daemon, "status"), "alarms");
    const auto& is = at(part(after_, daemon, "status"), "alarms");
    if (!was.is_array() || !is.is_array()) return;
    const auto has = [](const json& list, const json& alarm) {
      return std::ranges::find(list, alarm) != list.end();
    };
    for (const auto& alarm : is) {
      if (!has(was, alarm)) add("alarm", "alarm: " + word(alarm), Colour::bad);
    }
    for (const auto& alarm : was) {
      if (!has(is, alarm)) add("alarm", "over: " + word(alarm), Colour::good);
    }
  }

  const Snapshot& before_;
  const Snapshot& after_;
  std::vector<Event> events_;
};

// ---- one screen ----

// How much a number has grown, a second; nothing after a restart.
double rate(const json& before, const json& after, double seconds) {
  if (!before.is_number() || !after.is_number() || seconds <= 0) return 0;
  return std::max(0.0, (after.get<double>() - before.get<double>()) / seconds);
}

std::string rate_text(double per_second) {
  return per_second < 0.05 ? "-" : count_text(per_second) + "/s";
}

// The counters that move, fastest first.
std::string counters_part(const json& before, const json& after, double seconds, unsigned rows,
                          bool colours) {
  std::vector<std::pair<double, std::string>> moving;
  const auto& now = at(at(after, "stats"), "counters");
  if (!now.is_object()) return {};
  for (const auto& [name, value] : now.items()) {
    const double grown =
        rate(at(at(at(before, "stats"), "counters"), name.c_str()), value, seconds);
    if (grown > 0) moving.emplace_back(grown, name);
  }
  std::ranges::sort(moving, [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  if (moving.size() > rows) moving.resize(rows);
  TextTable table({"COUNTER", ">RATE"});
  for (const auto& [grown, name] : moving) table.add({name, rate_text(grown)});
  return table.empty() ? "" : "\n" + table.text(colours);
}

// "14.2k/s answered of 15.1k/s received, worker cores 2: 81.2%, 3: 80.9%"
std::string traffic_line(const json& before, const json& after, double seconds) {
  const auto& was = at(at(before, "stats"), "counters");
  const auto& is = at(at(after, "stats"), "counters");
  std::string text =
      rate_text(rate(at(was, "answered"), at(is, "answered"), seconds)) + " answered of " +
      rate_text(rate(at(was, "received_packets"), at(is, "received_packets"), seconds)) +
      " received";
  std::string cores;
  const auto& list = at(at(after, "stats"), "cores");
  if (list.is_array()) {
    for (const auto& core : list) {
      if (word(core, "role") != "worker") continue;
      cores += (cores.empty() ? "; busy: core " : ", ") + word(core, "core") + " " +
               with(core, "busy_ratio", share_text);
    }
  }
  return text + cores;
}

std::string daemon_line(const json& status) {
  if (!status.is_object()) return "does not answer";
  return "up " + seconds_text(status, "uptime_s") + ", tables " +
         version_text(at(status, "version_in_use"));
}

// The first rows of a list, as the view of `command` shows them.
std::string list_part(const char* command, const json& list, unsigned rows, bool colours) {
  if (!list.is_array() || list.empty()) return {};
  auto shown = json::array();
  for (std::size_t i = 0; i < list.size() && i < rows; ++i) shown.push_back(list[i]);
  auto text = "\n" + render(command, shown, colours);
  if (list.size() > rows) text += "... and " + std::to_string(list.size() - rows) + " more\n";
  return text;
}

// By service in the order of the list, and within each by score: the order of the answers for locale 0.
json ranked(const json& endpoints) {
  if (!endpoints.is_array()) return {};
  std::map<std::string, std::size_t> places;
  std::vector<json> rows(endpoints.begin(), endpoints.end());
  for (const auto& row : rows) places.try_emplace(word(row, "service"), places.size());
  const auto score = [](const json& row) {
    const auto& value = at(row, "score");
    return value.is_number() ? value.get<double>() : 0.0;
  };
  std::ranges::stable_sort(rows, [&](const json& a, const json& b) {
    const auto first = places[word(a, "service")];
    const auto second = places[word(b, "service")];
    return first != second ? first < second : score(a) > score(b);
  });
  return rows;
}

}  // namespace

std::vector<Event> events_between(const Snapshot& before, const Snapshot& after) {
  return Comparison(before, after).take();
}

std::string top_frame(const Snapshot& before, const Snapshot& after, Duration between,
                      unsigned rows, bool colours) {
  const double seconds = between.seconds();
  const auto& data = at(after, "dataplane");
  const auto& control = at(after, "controlplane");
  Facts facts(colours);
  facts.add("data plane", daemon_line(at(data, "status")));
  facts.add("control plane", daemon_line(at(control, "status")));
  facts.add("queries", traffic_line(at(before, "dataplane"), data, seconds));
  const auto published = [](const json& part) {
    return at(at(at(part, "stats"), "counters"), "engine_rounds");
  };
  facts.add("rank changes",
            rate_text(rate(published(at(before, "controlplane")), published(control), seconds)));
  for (const auto* part : {&data, &control}) {
    const auto& alarms = at(at(*part, "status"), "alarms");
    if (!alarms.is_array()) continue;
    for (const auto& alarm : alarms) facts.add("ALARM", {word(alarm), Colour::bad});
  }
  const auto& hot = at(at(data, "names"), "names");
  auto names = json::object();
  if (hot.is_array() && !hot.empty()) {
    names["names"] = json::array();
    for (std::size_t i = 0; i < hot.size() && i < rows; ++i) names["names"].push_back(hot[i]);
  }
  const auto hottest = names.empty() ? std::string() : "\n" + names_view(names, colours);
  return facts.take() + hottest +
         counters_part(at(before, "dataplane"), data, seconds, rows, colours) +
         list_part("sites", at(control, "sites"), rows, colours) +
         list_part("endpoints", ranked(at(control, "endpoints")), rows, colours) +
         list_part("services", at(control, "services"), rows, colours) +
         list_part("generations", at(control, "generations"), std::min(rows, 5U), colours);
}

}  // namespace pharos::controlplane::ctl
