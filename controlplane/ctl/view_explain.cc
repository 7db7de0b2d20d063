// Why a client gets its answer, and how long it could get a wrong one.
#include "view_parts.hh"

namespace pharos::controlplane::ctl {

namespace {

// Addresses, or the records of SRV, SVCB and HTTPS.
std::string answers_view(const json& answers, bool colours) {
  const bool records = answers.is_array() && !answers.empty() && answers[0].contains("target");
  if (!records) {
    return table(
        answers, {">RANK", "ADDRESS", "ENDPOINT", ">TTL"},
        [](const json& answer) -> std::vector<Cell> {
          return {word(answer, "rank"), word(answer, "address"), word(answer, "endpoint"),
                  ttl_text(answer, "ttl_s")};
        },
        colours, "no answers");
  }
  return table(
      answers, {">RANK", ">PRIORITY", ">WEIGHT", "TARGET", ">PORT", "ADDRESS", "ENDPOINT", ">TTL"},
      [](const json& answer) -> std::vector<Cell> {
        return {word(answer, "rank"),     word(answer, "priority"), word(answer, "weight"),
                word(answer, "target"),   word(answer, "port"),     word(answer, "address"),
                word(answer, "endpoint"), ttl_text(answer, "ttl_s")};
      },
      colours, "no answers");
}

// Groups as a tree: each under what it is in.
std::string groups_view(const json& groups, bool colours) {
  if (!groups.is_array() || groups.empty()) return {};
  return "\n" + table(
                    groups,
                    {"GROUP", "IN", "POLICY", ">WEIGHT", ">PRIORITY", ">HEALTHY", "ANSWERS"},
                    [](const json& row) -> std::vector<Cell> {
                      const bool takes_part = at(row, "takes_part") == json(true);
                      const bool panic = at(row, "panic") == json(true);
                      return {word(row, "group"),
                              word(row, "in"),
                              word(row, "policy"),
                              word(row, "weight"),
                              word(row, "priority"),
                              word(row, "healthy") + " of " + word(row, "total"),
                              {panic        ? "all, too few are healthy"
                               : takes_part ? "yes"
                                            : "no",
                               panic        ? Colour::bad
                               : takes_part ? Colour::none
                                            : Colour::faint}};
                    },
                    colours, "");
}

}  // namespace

std::string explain_view(const json& told, bool colours) {
  Facts facts(colours);
  facts.add("name", word(told, "name") + " " + word(told, "type"));
  facts.add("client", word(told, "client"));
  facts.add("locale", word(told, "locale") + ", alike for /" + word(told, "scope"));
  facts.add("pool", word(told, "pool") + " (" + word(told, "policy") + ")");
  facts.add("tables", version_text(at(told, "version")));
  facts.add("decided", word(told, "decided_at"));
  facts.add("because", word(told, "cause"));
  if (const auto& lost = at(told, "lost"); lost.is_object()) {
    facts.add("but", "what was decided from " + word(lost, "from") + " until " +
                         word(lost, "until") + " was not kept: the answer may have been another");
  }
  facts.add("slot", word(told, "slot"));
  facts.add("TTL", ttl_text(told, "ttl_s"));
  if (const auto& rate = at(told, "answers_per_s"); rate.is_number() && rate.get<double>() > 0)
    facts.add("demand", count_text(rate.get<double>()) + " answers a second to this locale");
  if (const auto& panic = at(told, "panic"); panic.is_boolean() && panic.get<bool>()) {
    facts.add("panic", {"too little is healthy: see 'fail' of the service", Colour::bad});
  }
  auto out = facts.take();
  out += "\n" + answers_view(at(told, "answers"), colours);
  out += groups_view(at(told, "groups"), colours);
  out += "\n" + table(
                    at(told, "factors"),
                    {"ENDPOINT", "SITE", "STATE", ">LEADS", ">SCORE", ">PROXIMITY", ">HEALTH",
                     ">HEADROOM", ">CONDITION", ">PREFERENCE", ">RISK", ">CONFIDENCE", "REASON"},
                    [](const json& row) -> std::vector<Cell> {
                      return {word(row, "endpoint"),        word(row, "site"),
                              state_cell(row, "state"),     with(row, "share", share_text),
                              score_text(row, "score"),     score_text(row, "proximity"),
                              score_text(row, "health"),    score_text(row, "headroom"),
                              score_text(row, "condition"), score_text(row, "preference"),
                              score_text(row, "risk"),      score_text(row, "confidence"),
                              word(row, "reason")};
                    },
                    colours, "no endpoints");
  return out;
}

std::string failover_view(const json& told, bool colours) {
  Facts facts(colours);
  facts.add("name", word(told, "name"));
  facts.add("service", word(told, "service") + " (" + word(told, "policy") + ")");
  facts.add("TTL", ttl_text(told, "ttl_now_s") + " now, at most " + ttl_text(told, "ttl_max_s"));
  facts.add("worst case", seconds_text(told, "worst_s"));
  auto out = facts.take() + "\n" +
             table(
                 at(told, "causes"),
                 {"ENDPOINT", "SITE", "CAUSE", ">BEACON", ">DETECTION", ">HOLD", ">PUBLISH", ">TTL",
                  ">STRETCH", ">TOTAL", ">SETTLED"},
                 [](const json& row) -> std::vector<Cell> {
                   return {word(row, "endpoint"),
                           word(row, "site"),
                           word(row, "cause"),
                           seconds_text(row, "beacon_s"),
                           seconds_text(row, "detection_s"),
                           seconds_text(row, "hold_s"),
                           seconds_text(row, "publish_s"),
                           seconds_text(row, "ttl_s"),
                           seconds_text(row, "stretch_s"),
                           seconds_text(row, "total_s"),
                           seconds_text(row, "settled_s")};
                 },
                 colours, "nothing of this service is watched by beacons or probes");
  if (const auto& notes = at(told, "notes"); notes.is_array() && !notes.empty()) {
    out += "\n";
    for (const auto& note : notes) out += harmless(word(note)) + "\n";
  }
  return out;
}

}  // namespace pharos::controlplane::ctl
