// Looks from outside: one line for each endpoint that somebody probes.
#include "view_parts.hh"

namespace pharos::controlplane::ctl {

namespace {

// "fra up 3ms, nyc down, (sin up)": in brackets what does not count any more.
std::string votes_text(const json& votes) {
  std::string text;
  if (!votes.is_array()) return "-";
  for (const auto& vote : votes) {
    const auto is = [&](const char* name) {
      const auto& value = at(vote, name);
      return value.is_boolean() && value.get<bool>();
    };
    auto one = word(vote, "from") + (is("up") ? " up" : " down");
    if (at(vote, "took_ms").is_number()) one += " " + ms_text(vote, "took_ms");
    if (!is("counts")) one = "(" + one + ")";
    text += (text.empty() ? "" : ", ") + one;
  }
  return text.empty() ? "-" : text;
}

}  // namespace

std::string probes_view(const json& probes, bool colours) {
  return table(
      probes, {"ENDPOINT", "SITE", "STATE", ">FOR", ">BAD", "VOTES"},
      [](const json& row) -> std::vector<Cell> {
        return {word(row, "service") + "/" + word(row, "endpoint"),
                word(row, "site"),
                state_cell(row, "state"),
                seconds_text(row, "since_s"),
                word(row, "bad") + "/" + word(row, "looking"),
                votes_text(at(row, "votes"))};
      },
      colours, "nobody probes");
}

}  // namespace pharos::controlplane::ctl
