// What is told of traffic that is looked at: dnstap, the hottest names.
#include "view_parts.hh"

namespace pharos::controlplane::ctl {

namespace {

Cell reader_state(const json& told) {
  const auto state = word(told, "state");
  return {state, state == "connected"   ? Colour::good
                 : state == "no reader" ? Colour::bad
                                        : Colour::none};
}

}  // namespace

std::string dnstap_view(const json& told, bool colours) {
  Facts facts(colours);
  facts.add("dnstap", reader_state(told));
  facts.add("reader", word(told, "reader"));
  facts.add("for", seconds_text(told, "since_s"));
  facts.add("last error", {word(told, "last_error"), Colour::bad});
  if (at(told, "sample").is_number()) facts.add("sample", "one query of " + word(told, "sample"));
  if (word(told, "clients") == "keyed") {
    facts.add("clients", std::string("pseudonyms"));
  } else if (at(told, "ipv4_prefix").is_number()) {
    facts.add("clients", "/" + word(told, "ipv4_prefix") + " and /" + word(told, "ipv6_prefix"));
  }
  facts.add("copied", counter_text(at(told, "copied")));
  facts.add("sent", counter_text(at(told, "sent_frames")) + " messages, " +
                        with(told, "sent_bytes", bytes_text) + ", over " +
                        word(told, "connections") + " connections");
  const auto dropped = at(told, "dropped");
  const bool lossy = dropped.is_number() && dropped.get<double>() > 0;
  facts.add("dropped", {counter_text(dropped), lossy ? Colour::warning : Colour::none});
  facts.add("lost", counter_text(at(told, "lost")));
  facts.add("unreadable", counter_text(at(told, "unreadable")));
  return facts.take();
}

std::string names_view(const json& told, bool colours) {
  const auto rate = [](const json& row, const char* name) {
    return with(row, name, [](double value) { return count_text(value) + "/s"; });
  };
  const auto rare = [](const json& row, const char* name) {
    const auto& value = at(row, name);
    const bool much = value.is_number() && value.get<double>() >= 0.005;
    return Cell(much ? with(row, name, share_text) : "-", Colour::warning);
  };
  const auto& sampling = at(told, "sampling");
  const bool off = sampling.is_boolean() && !sampling.get<bool>();
  return table(
      at(told, "names"),
      {"NAME", ">QUERIES", ">MAX ERROR", ">SHARE", ">NXDOMAIN", ">DROPPED"},
      [&](const json& row) -> std::vector<Cell> {
        const auto& uncertain = at(row, "uncertain_per_second");
        const bool sure = uncertain.is_number() && uncertain.get<double>() < 0.05;
        return {word(row, "name"),
                rate(row, "per_second"),
                sure ? "-" : rate(row, "uncertain_per_second"),
                with(row, "share", share_text),
                rare(row, "nxdomain_share"),
                rare(row, "dropped_share")};
      },
      colours, off ? "no names are sampled: dataplane.name_samples is 0" : "no queries");
}

}  // namespace pharos::controlplane::ctl
