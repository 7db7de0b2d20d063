// Ingest: brings beacons from the data plane's rings and from kernel sockets through one gate to
// the engine.
//
//   rings (one per worker) --+                  +-- lock-free queue --> engine: begin_drain(), pop()
//   kernel UDP sockets ------+--> BeaconGate ---+-- eventfd ----------> (wakes its poll)
//
// One thread of its own (start()), or turned by hand by a test or the simulator (turn()). All other
// public functions may be called by any other thread, except begin_drain() and pop(), which belong
// to one consumer. Each turn does a bounded amount of work per source, sources in rotation, so that
// a flood in one starves no other.
//
// Pinned to a core, the thread polls. Otherwise it sleeps in epoll: until a socket has something,
// and for at most 1 ms while there are rings, which nobody signals (cost on an idle machine:
// controlplane/ingest/README.md).
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/config/model.hh"
#include "pharos/controlplane/health/hearing.hh"
#include "pharos/controlplane/ingest/beacon_gate.hh"
#include "pharos/shared/demand_record.hh"
#include "pharos/shared/policy_sample.hh"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

// name, help text
#define PHAROS_INGEST_COUNTERS(C)                                                        \
  C(datagrams_ring, "datagrams from the data plane's rings")                             \
  C(datagrams_socket, "datagrams from kernel sockets")                                   \
  C(ring_dropped, "datagrams that the data plane dropped because a ring was full")       \
  C(ring_faults, "ring records that broke the format")                                   \
  C(ring_foreign, "ring records that are not of our data plane")                         \
  C(demand_samples, "samples of demand from the data plane")                             \
  C(demand_dropped, "of them, lost because the engine lags")                             \
  C(samples, "queries that name policies want logged")                                   \
  C(samples_dropped, "of them, lost because nobody took them in time")                   \
  C(socket_truncated, "datagrams longer than a beacon can be")                           \
  C(socket_dropped, "datagrams that the kernel dropped because a socket was full")       \
  C(socket_errors, "failed receive calls")                                               \
  C(queue_full, "accepted beacons lost because the engine lags; a leaving one never is") \
  C(leaving_deferred, "leaving beacons that waited for room in the queue")               \
  C(wakeups, "times the engine was woken")                                               \
  C(turns, "turns of the ingest loop")                                                   \
  C(turns_empty, "turns that found nothing")

namespace pharos::controlplane {

enum class IngestCounter : std::uint8_t {
#define C(name, help) name,
  PHAROS_INGEST_COUNTERS(C)
#undef C
};
struct IngestCounterText {
  std::string_view name;
  std::string_view help;
};
inline constexpr std::array ingest_counter_texts = {
#define C(name, help) IngestCounterText{#name, help},
    PHAROS_INGEST_COUNTERS(C)
#undef C
};
inline constexpr std::size_t ingest_counter_count = ingest_counter_texts.size();

// A copy of all counters, in the order of the two lists. Each is right by itself.
struct IngestCounters {
  std::array<std::uint64_t, beacon_verdict_count> verdicts{};
  std::array<std::uint64_t, ingest_counter_count> counters{};

  [[nodiscard]] std::uint64_t of(BeaconVerdict v) const noexcept {
    return verdicts[static_cast<std::size_t>(v)];
  }
  [[nodiscard]] std::uint64_t of(IngestCounter c) const noexcept {
    return counters[static_cast<std::size_t>(c)];
  }
};

// An entry of a demand record, with the tables that it is about.
struct DemandSample {
  std::uint64_t pools_id = 0;
  std::uint64_t locales_id = 0;
  std::uint64_t catalog_id = 0;
  DemandEntry entry{};
};

class Ingest {
 public:
  static constexpr std::size_t samples_max = 64;
  static constexpr std::size_t demand_samples_max = 1U << 16;  // that wait for the engine

  struct Options {
    std::vector<config::SocketAddress> listen;  // kernel sockets; port 0 picks one
    std::optional<unsigned> core;               // pin there and poll
    Duration window = seconds(30);
    std::uint32_t queue_beacons = 8192;  // a power of two
    int socket_buffer_bytes = 4 << 20;   // SO_RCVBUF, forced where we may
  };

  // Opens the sockets. Errors: unavailable, conflict (port taken), invalid.
  [[nodiscard]] static Result<Ingest> open(Options options, BeaconSites sites);
  Ingest(Ingest&&) noexcept;
  Ingest& operator=(Ingest&&) noexcept;
  ~Ingest();  // stops

  // Starts and stops the thread. Errors: unavailable (no such core).
  [[nodiscard]] Status start();
  void stop() noexcept;

  // ---- by any thread but ingest's own ----
  // They take effect within a turn, and return after it where they return a value.

  // The rings of a newly connected data plane, in place of all former ones (what those still hold
  // is read first). Errors: invalid (not a ring), and then the former ones stay.
  [[nodiscard]] Status replace_rings(std::vector<UniqueFd> rings);
  void replace_sites(BeaconSites sites, Duration window);
  [[nodiscard]] std::vector<SiteFreshness> freshness();
  void import_freshness(std::vector<SiteFreshness> stored);
  [[nodiscard]] IngestCounters counters() const noexcept;
  // Queries that policies want logged, since the last call; at most samples_max are kept. Sound, see
  // policy_sample.hh.
  [[nodiscard]] std::vector<PolicySample> take_samples();
  // Samples of demand since the last call, appended to `out`. Takes a mutex for a moment and waits for no turn. Their
  // pools and locales are as the data plane says: to be compared with what is known.
  void take_demand(std::vector<DemandSample>& out);
  // The addresses that the sockets are bound to, in the order of Options::listen.
  [[nodiscard]] std::vector<config::SocketAddress> listening() const;

  // ---- by the engine ----

  // Readable when beacons wait, or when what listen_until() asked for has come true. Then: hearing();
  // begin_drain(); while (pop(beacon)) ...
  [[nodiscard]] int wake_fd() const noexcept;
  void begin_drain() noexcept;
  // Swaps the oldest beacon into `out`, so that its vector travels back and is reused. False: none.
  [[nodiscard]] bool pop(AcceptedBeacon& out) noexcept;
  // What arrived up to `until` is in the queue, if this is called before begin_drain(); forgets the stall.
  [[nodiscard]] Hearing hearing() noexcept;
  // Has the thread look at all sources now where it has not since `time`, and then wake the engine.
  void listen_until(Instant time) noexcept;

  // One turn by hand, without a thread: what is there now, at the given time. Returns the datagrams
  // seen.
  std::size_t turn(Now now);

 private:
  struct State;
  explicit Ingest(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace pharos::controlplane
