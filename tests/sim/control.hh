// A simulated control plane: the real gate, engine, health board, ranking and publication, turned step by step as
// EngineLoop and Daemon turn them (controlplane/engine/engine_loop.cc), with a simulated disk, network and data plane.
//
// One object is one life of the process: a crash is its end, at any step of a turn.
#pragma once

#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/engine/publication.hh"
#include "pharos/controlplane/ingest/beacon_gate.hh"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "checks.hh"
#include "dataplane.hh"
#include "disk.hh"
#include "random.hh"
#include "witness.hh"

namespace pharos::sim {

// A beacon on its way, and what is true of it.
struct Datagram {
  enum class Origin : std::uint8_t { site, replayed, forged, held_back };
  Origin origin = Origin::site;
  std::uint32_t site = 0;
  Instant sent;
  std::uint64_t boot_epoch = 0;
  std::uint64_t sequence = 0;
  std::vector<std::byte> bytes;
};

// The connection was lost.
struct Closed {};
using ChannelMessage = std::variant<table_channel::Hello, table_channel::Acknowledge, Closed>;

class ControlPlane {
 public:
  struct Parts {
    Disk& disk;
    Witness& witness;
    Random& random;
    Duration disk_delay_max;
    std::function<void(PublishMessage)> send;  // to the data plane
  };
  // Steps of a turn, between any two of which the process may die.
  enum class Step : std::uint8_t { drain, channel, rank, apply, remember, build, send, save, all };

  ControlPlane(Parts parts, std::shared_ptr<const controlplane::Tables> tables, Instant now);

  // Ingest: judges a datagram and queues it for the engine. False: nobody waits for the engine to look.
  bool receive(const Datagram& datagram, Now now);
  void channel(ChannelMessage message) { inbox_.push_back(std::move(message)); }

  // The operator's word: in force at once; `kept` runs when it is on disk, which is when the operator is told.
  void set_override(const std::string& service, const std::string& endpoint, config::Override value,
                    Instant now, std::function<void()> kept);
  void set_weight(const std::string& service, const std::string& endpoint,
                  std::optional<double> weight, Instant now);
  void set_exponents(std::optional<config::ScoreConfig> exponents, Instant now);
  // As Daemon::reload_locked. False: refused, and nothing changed.
  bool reload(std::shared_ptr<const config::Config> config, Instant now);
  // The keeper's turn: freshness goes to the disk.
  void keep(Instant now);

  // One turn, up to and without `until`.
  void turn(Instant now, Step until = Step::all);
  [[nodiscard]] Instant next_deadline() const { return engine_.next_deadline(); }

  [[nodiscard]] const controlplane::Engine& engine() const noexcept { return engine_; }
  [[nodiscard]] const controlplane::Publication& publication() const noexcept {
    return publication_;
  }
  // When the engine last accepted a beacon of a site, by its own clock.
  [[nodiscard]] Instant last_accepted(std::uint32_t site) const { return last_accepted_[site]; }
  // What became of the newest datagram that a site sent, for messages.
  [[nodiscard]] std::string_view last_verdict(std::uint32_t site) const {
    return controlplane::beacon_verdict_texts[static_cast<std::size_t>(last_verdicts_[site])].name;
  }
  void corrupt_next_publish() noexcept { corrupt_next_ = true; }

 private:
  [[nodiscard]] Instant durable_at(Instant now);
  void drain();
  void take_channel();
  void check_acceptance(const Datagram& datagram, controlplane::BeaconVerdict verdict, Now now);
  void check_refusal(const Datagram& datagram, controlplane::BeaconVerdict verdict, Now now);
  void check_falls(const controlplane::Round& round, Instant now);
  void remember(const controlplane::Round& round, Instant now);
  void keep_cells(const controlplane::Round& round, Instant now);
  void send(const controlplane::Outgoing& outgoing, Instant now);

  Parts parts_;
  std::uint64_t site_set_ = 1;
  controlplane::BeaconGate gate_;
  std::deque<controlplane::AcceptedBeacon> queue_;
  std::deque<ChannelMessage> inbox_;
  controlplane::Engine engine_;
  controlplane::Publication publication_;
  std::shared_ptr<Expected> cells_;
  AnswerChecks checks_;
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> accepted_;  // newest, by site id
  std::vector<Instant> last_accepted_;  // by site; before the start: none
  std::set<std::uint32_t> left_;        // sites that said goodbye since the last turn
  std::vector<controlplane::BeaconVerdict> last_verdicts_;  // by site
  std::map<std::string, std::uint64_t> accepted_epoch_;     // by this life of the process
  Instant began_;
  bool corrupt_next_ = false;
};

}  // namespace pharos::sim
