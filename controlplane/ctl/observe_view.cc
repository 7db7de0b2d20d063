// What is told of traffic that is looked at: dnstap.
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

}  // namespace pharos::controlplane::ctl
