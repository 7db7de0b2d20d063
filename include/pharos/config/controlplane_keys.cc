// Keys of the section `controlplane`. Private to include/pharos/config.
#include "pharos/config/keys.hh"

#include <limits>

namespace pharos::config {

template <>
const Table* table_of<ScoreConfig>() {
  using C = ScoreConfig;
  const auto exponent = [](std::string name, double C::* member, std::string what) {
    return key(std::move(name), member, number(0, 16),
               "exponent of " + std::move(what) + "; 0 switches it off", "2");
  };
  static const Table table{
      "controlplane.score",
      "How much each factor of an endpoint's score counts.",
      {
          exponent("proximity", &C::proximity,
                   "measured latency or distance between locale and site"),
          exponent("health", &C::health, "CPU, memory and latency of the site"),
          exponent("headroom", &C::headroom, "capacity left"),
          exponent("condition", &C::condition, "the endpoint's own condition"),
          exponent("version", &C::version, "the preference of the endpoint's version"),
          exponent("risk", &C::risk, "risk of the site"),
          exponent("confidence", &C::confidence, "how new its metrics are"),
      }};
  return &table;
}

namespace {

void check_health(Reader& reader, const Node& node, void* object) {
  const auto& health = *static_cast<HealthConfig*>(object);
  // The member of the pair that stands in the file: at least one does where the defaults are not
  // kept.
  const auto report = [&](const char* low, const char* high, const char* why) {
    const Member* member = node.find(low) != nullptr ? node.find(low) : node.find(high);
    if (member == nullptr) return;
    reader.mistakes.add(member->place, std::string(low) + " is not below " + high, why);
  };
  const char* flapping = "the gap between the two keeps an endpoint from flapping";
  if (health.cpu_low >= health.cpu_high) report("cpu_low", "cpu_high", flapping);
  if (health.memory_low >= health.memory_high) report("memory_low", "memory_high", flapping);
  if (health.suspect_intervals >= health.down_intervals) {
    report("suspect_intervals", "down_intervals", "a site is suspected before it is down");
  }
}

}  // namespace

template <>
const Table* table_of<HealthConfig>() {
  using C = HealthConfig;
  static const Table table{
      "controlplane.health",
      "When sites and endpoints count as up, suspect, degraded or down.",
      {
          key("suspect_intervals", &C::suspect_intervals, number(1, 1000),
              "silence, in measured beacon intervals, after which a site is suspected at the "
              "earliest: three lost datagrams in a row it must be",
              "2.5"),
          key("down_intervals", &C::down_intervals, number(1, 1000),
              "... and after which it is down", "4"),
          key("rise", &C::rise, duration({}, seconds(86'400)),
              "good for this long before it is up again", "10s"),
          key("rise_beacons", &C::rise_beacons, as<unsigned>(whole(1, 1000)),
              "... and for this many beacons", "5"),
          key("cpu_high", &C::cpu_high, ratio(), "CPU above this for `fall` means degraded", "90%"),
          key("cpu_low", &C::cpu_low, ratio(), "... until it is below this for `rise`", "80%"),
          key("memory_high", &C::memory_high, ratio(),
              "memory above this for `fall` means degraded", "97%"),
          key("memory_low", &C::memory_low, ratio(), "... until it is below this for `rise`",
              "92%"),
          key("fall", &C::fall, duration({}, seconds(86'400)), "bad for this long before it counts",
              "5s"),
          key("mass_silence_share", &C::mass_silence_share, ratio(),
              "when more of the sites than this fall silent at once, the fault is ours: the last "
              "good ranking stays",
              "70%"),
          key("smoothing", &C::smoothing, number(0.01, 1),
              "share of the newest beacon in a smoothed metric", "0.25"),
          key("metric_life", &C::metric_life, duration({}, seconds(86'400)),
              "a metric that beacons no longer carry is believed for so long", "30s"),
          key("probe_quorum", &C::probe_quorum, ratio(),
              "when more of those who probe an endpoint than this find it down, it is down", "66%"),
          key("probe_votes_min", &C::probe_votes_min, as<unsigned>(whole(1, 1000)),
              "... where at least so many probe it", "2"),
          key("probe_life", &C::probe_life, duration(seconds(1), seconds(86'400)),
              "the outcome of a probe that is not repeated for so long counts no more", "5m"),
      },
      check_health};
  return &table;
}

template <>
const Table* table_of<ControlplaneConfig>() {
  using C = ControlplaneConfig;
  static const Table table{
      "controlplane",
      "The process that ranks. A reload takes its changes over, sockets and cores excepted.",
      {
          key("beacon_listen", &C::beacon_listen, one_or_more(socket_address(), 64),
              "kernel UDP sockets that take beacons, beside those that the data plane hands over",
              "[\"[::1]:5380\"]"),
          key("beacon_window", &C::beacon_window, duration(seconds(1), seconds(3600)),
              "largest difference between a beacon's clock and ours", "10s"),
          key("ingest_core", &C::ingest_core, maybe(as<unsigned>(whole(0, 1023))),
              "core that polls for beacons; default: none, and ingest waits instead of polling",
              "1"),
          key("dataplane_socket", &C::dataplane_socket, file_path(),
              "socket over which tables go to the data plane; default: "
              "`<run_directory>/tables.sock`",
              "/run/pharos/tables.sock"),
          key("delta_segments_max", &C::delta_segments_max, as<unsigned>(whole(1, 31)),
              "ranking deltas on one base before they are compacted", "16"),
          key("shrink_limit", &C::shrink_limit, ratio(),
              "a reload that removes more than this of the names, of all endpoints, or of a "
              "service's endpoints (of four "
              "or more) needs --force",
              "20%"),
          key("seed", &C::seed, whole(0, std::numeric_limits<std::uint64_t>::max()),
              "of every random choice; 0: from the system", "42"),
          key_into<C>("client_key_file", file_path(),
                      "a file whose first line is a secret of 16 bytes, closed to other users: it "
                      "deals clients to the variants of answers, alike on all hosts that have the "
                      "same; default: one made at the first start",
                      "/etc/pharos/client.key",
                      [](Reader& reader, const Node& node, C& to, const std::string& path) {
                        std::array<std::uint8_t, 16> secret{};
                        if (reader.secrets && read_secret_file(reader, node, path, secret))
                          to.client_key = secret;
                      }),
          key("health", &C::health, object<HealthConfig>(), "see below"),
          key("score", &C::score, object<ScoreConfig>(), "see below"),
          key("api", &C::api, object<ApiConfig>(), "see below"),
          key("history", &C::history, object<HistoryConfig>(), "see below"),
          key("assign", &C::assign, object<AssignConfig>(), "see below"),
      }};
  return &table;
}

}  // namespace pharos::config
