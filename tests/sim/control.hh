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

#include "capacity.hh"
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

// Answers that the data plane gave, and from which tables.
struct DemandHeard {
  std::uint64_t pools_id = 0, locales_id = 0;
  std::uint32_t pool = 0;
  std::uint16_t locale = 0;
  std::uint32_t count = 0;
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
  enum class Step : std::uint8_t {
    drain,
    assign,
    channel,
    rank,
    apply,
    remember,
    build,
    send,
    save,
    all
  };

  ControlPlane(Parts parts, std::shared_ptr<const controlplane::Tables> tables, Instant now);

  // Ingest: judges a datagram and queues it for the engine. False: nobody waits for the engine to look.
  bool receive(const Datagram& datagram, Now now);
  void channel(ChannelMessage message) { inbox_.push_back(std::move(message)); }
  // What the data plane's rings held of demand; looked at with the next turn.
  void heard_demand(std::vector<DemandHeard> demand);

  // The operator's word: in force at once; `kept` runs when it is on disk, which is when the operator is told.
  void set_override(const std::string& service, const std::string& endpoint, config::Override value,
                    Instant now, std::function<void()> kept);
  void set_weight(const std::string& service, const std::string& endpoint,
                  std::optional<double> weight, Instant now);
  void set_exponents(std::optional<config::ScoreConfig> exponents, Instant now);
  // Work that is planned in place of what was under its id; without sites it is taken back.
  void set_maintenance(const config::MaintenanceConfig& work, Now now, std::function<void()> kept);
  // As `pharosctl plan`: where a configuration would put more on a site than it bears, in words.
  [[nodiscard]] std::vector<std::string> overloads_of_plan(
      std::shared_ptr<const config::Config> config, Instant now);
  // As Daemon::reload_locked. False: refused, and nothing changed.
  bool reload(std::shared_ptr<const config::Config> config, Instant now);
  // The keeper's turn: freshness goes to the disk.
  void keep(Instant now);

  // One turn, up to and without `until`.
  void turn(Now now, Step until = Step::all);
  [[nodiscard]] Instant next_deadline() const;
  // It did not run until now: what it owes is not late.
  void excuse(Instant now) { excused_ = std::max(excused_, now); }
  // Sites that may take a service's demand, by the last assignment; null: it was in none.
  [[nodiscard]] const std::vector<std::uint32_t>* takers(std::uint32_t service) const;
  // Loads as they are to be judged: in a shortage by importance, each takes what the more important left.
  [[nodiscard]] std::vector<Loads> looks_at(const Loads& loads) const;
  // Whether any service answers as if all its endpoints were well.
  [[nodiscard]] bool panics() const;
  // Sites that fell into silence in the last turn.
  [[nodiscard]] const std::vector<std::uint32_t>& fallen() const noexcept { return fallen_; }
  // When somebody came, went, or was judged otherwise last.
  [[nodiscard]] Instant last_unrest() const noexcept { return last_unrest_; }

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
  // What was ranked last, and since when.
  [[nodiscard]] const Expected& ranked() const noexcept { return *cells_; }
  [[nodiscard]] Instant ranked_at() const noexcept { return ranked_at_; }
  void corrupt_next_publish() noexcept { corrupt_next_ = true; }

 private:
  [[nodiscard]] Instant durable_at(Instant now);
  // A problem that is being solved, on a thread of its own in the real world.
  struct Ground {  // of an endpoint
    controlplane::Standing standing;
    double weight, admitted, quarters;
    friend bool operator==(const Ground&, const Ground&) = default;
  };
  struct Solving {
    controlplane::AssignTask task;
    Instant done;
    Instant taken;
    std::vector<Ground> ground;
  };

  void drain();
  void take_solution(Instant now);
  void assign_demand(Instant now);
  [[nodiscard]] Loads loads_of(const controlplane::AssignTask& task) const;
  void check_assignment(Instant now);
  void note_takers(const controlplane::AssignTask& task);
  void take_assigned(const controlplane::Round& round, Instant now);
  [[nodiscard]] std::vector<Ground> ground(Instant now) const;
  void note_loss(std::uint32_t pool, std::uint16_t locale, const Cell& next,
                 const controlplane::Round& round, Instant now);
  void note_unrest(const controlplane::Round& round, Instant now);
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
  std::vector<DemandHeard> demand_;
  std::optional<Solving> solving_;
  bool solving_former_world_ = false;
  std::optional<controlplane::AssignTask> applied_;  // in this turn
  std::vector<Ground> applied_ground_;
  std::map<std::uint32_t, std::vector<std::uint32_t>>
      takers_;  // by service, of the last assignment
  std::uint64_t newest_task_ = 0;
  std::vector<std::uint32_t> fallen_;
  Instant last_unrest_;
  std::map<std::uint32_t, std::uint64_t> endpoints_up_;  // by site: which, as it said last
  bool owes_ = false;                                    // a site fell: an assignment is due
  Instant owed_since_;
  Instant excused_;  // nothing is owed before: it could do nothing until then
  controlplane::Engine engine_;
  controlplane::Publication publication_;
  std::shared_ptr<Expected> cells_;
  Instant ranked_at_;
  AnswerChecks checks_;
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> accepted_;  // newest, by site id
  std::vector<Instant> last_accepted_;  // by site; before the start: none
  std::set<std::uint32_t> left_;        // sites that said goodbye since the last turn
  std::vector<controlplane::BeaconVerdict> last_verdicts_;  // by site
  std::map<std::string, std::uint64_t> accepted_epoch_;     // by this life of the process
  std::map<std::string, Duration> least_delay_;             // of what was accepted in it
  Instant began_;
  bool corrupt_next_ = false;
};

}  // namespace pharos::sim
