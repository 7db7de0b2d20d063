// One history: a world, its misfortunes, and what the control plane makes of them, from a seed.
//
//   Scenario (scenario.hh) -> sites --beacons--> network --> ControlPlane <--> DataPlane <-- Clients (loads of the sites)
//                                                                  ^---- demand ----'
//                                 misfortunes, operator, attacker ----^             ^---- Witness: promises, at every step
//
// Everything happens in the order of Events; nothing reads a clock or a random number of the machine. Misfortunes end after
// Scenario::troubled; at the end of Scenario::calm all must be well again.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clients.hh"
#include "control.hh"
#include "events.hh"
#include "scenario.hh"

namespace pharos::sim {

// Some seconds, at most.
[[nodiscard]] Duration short_while(Random& random);

class Simulation : private Responder {
 public:
  explicit Simulation(Scenario scenario);
  // To the end, or to the first broken promise.
  const Witness& run();

 private:
  enum class Lie : std::uint8_t { none, idle, hot, wild };
  struct Site {
    beacon::MacKey key;
    std::uint64_t tag = 0;
    bool keyed = true;
    bool alive = true;
    bool cut = false;        // its beacons get nowhere
    std::uint64_t life = 0;  // of its agent
    std::uint64_t boot_epoch = 0;
    std::uint64_t sequence = 0;
    Duration wall_offset;
    Duration delay;
    Lie lie = Lie::none;
    // Hashes, and where their load is counted.
    std::vector<std::pair<std::uint64_t, Place>> endpoints;
    std::deque<std::shared_ptr<const Datagram>> captured;  // by the attacker
  };
  // What the operator said of something.
  template <typename Word>
  struct Said {
    std::optional<Word> acknowledged;  // on disk: has to last
    std::vector<Word> since;           // may last

    void say(Word word) { since.push_back(std::move(word)); }
    void acknowledge(const Word& word) {
      const auto at = std::ranges::find(since, word);
      if (at != since.end()) since.erase(since.begin(), at + 1);
      acknowledged = word;
    }
    // What is in force, where nobody was restarted since.
    [[nodiscard]] const Word* newest() const {
      if (!since.empty()) return &since.back();
      return acknowledged ? &*acknowledged : nullptr;
    }
    [[nodiscard]] bool may_be(const Word& word) const {
      return acknowledged == word || std::ranges::find(since, word) != since.end();
    }
  };
  using SaidOfEndpoints = std::map<std::pair<std::string, std::string>, Said<config::Override>>;
  // Planned work; no sites: it was taken back.
  struct Work {
    std::vector<std::string> sites;
    WallTime from, to;
    friend bool operator==(const Work&, const Work&) = default;
  };
  using PlannedWork = std::map<std::string, Said<Work>>;  // by id
  // What a backup holds.
  struct Kept {
    Disk disk;
    SaidOfEndpoints said;
    PlannedWork planned;
    std::shared_ptr<const config::Config> config;
  };
  // A configuration on its way, and the one that it began with.
  struct Draft {
    std::shared_ptr<const config::Config> base, next;
    std::uint64_t life = 0;  // of the process that has it
  };
  // Which way the traffic of a site moves.
  struct Direction {
    double pivot = 0;
    int sign = 0;
    Instant turned;                 // when it was last measured to move
    std::deque<Instant> reversals;  // of the last hour
    std::deque<Instant> falls;      // the same
  };

  // what clients see (loads.cc)
  [[nodiscard]] std::optional<Reply> ask(unsigned service, std::uint16_t locale,
                                         std::uint32_t client_hash) override;
  [[nodiscard]] std::shared_ptr<const Cell> ask_for_all(unsigned service,
                                                        std::uint16_t locale) override;
  void answered(unsigned service, std::uint16_t locale, std::uint32_t count) override;
  [[nodiscard]] bool serves(std::uint32_t site) const override { return sites_[site].alive; }
  [[nodiscard]] std::optional<std::uint32_t> pool_of(unsigned service) const;
  void check_planned(const Cell& cell);
  // Planned work that is in force, configured or said.
  [[nodiscard]] std::vector<Work> works() const;
  void check_work_is_heeded();
  void watch_loads();
  [[nodiscard]] Loads loads_now();
  void measure_directions();
  void note_fall(std::uint32_t site);
  void check_turns();
  // Something happened from which traffic may have to turn round.
  void provoked() noexcept { provoked_ = events_.now(); }

  // sites and network (network.cc)
  void make_sites();
  void begin_life(std::uint32_t site);
  void end_life(std::uint32_t site, bool leaving);
  void beat(std::uint32_t site, std::uint64_t life);
  [[nodiscard]] std::shared_ptr<const Datagram> make_beacon(std::uint32_t site, bool leaving);
  [[nodiscard]] SiteReport report_of(std::uint32_t site, bool leaving);
  void transmit(const std::shared_ptr<const Datagram>& datagram);
  void deliver(const std::shared_ptr<const Datagram>& datagram);

  // processes (processes.cc)
  void start_control();
  void crash_control();
  void wake_control(Instant at);
  void turn_control();
  void start_dataplane();
  void crash_dataplane();
  void connect(std::uint64_t attempt);
  void carry(PublishMessage message);
  void send_again(const std::shared_ptr<const PublishMessage>& sent);
  void adopted();
  void check_operator_is_remembered();
  void check_plans_are_remembered();

  // operators (operators.cc)
  [[nodiscard]] bool listens() const;  // the control plane, to them
  void say(const std::string& service, const std::string& endpoint, config::Override value);
  void say_of_site(std::uint32_t site, config::Override value);
  void override_endpoint();
  void drain_site();
  void plan_work();
  void weigh_endpoint();
  void tune_exponents();
  bool take(std::shared_ptr<const config::Config> changed);
  void reload();
  void reload_badly();
  void change_numbers();
  void begin_draft();
  void commit_draft();
  void roll_back();

  // misfortunes (misfortunes.cc)
  void plan_misfortunes();
  void every(Duration mean, void (Simulation::*misfortune)());
  void crash_site();
  void leave_site();
  void cut_site();
  void flap_site();
  void lie_site();
  void step_site_clock();
  void fail_region();
  void go_deaf();
  void lose_more();
  void crash_control_for_a_while();
  void stall_control();
  void step_control_clock();
  void lose_disk();
  void crash_dataplane_for_a_while();
  void corrupt_publish();
  void use_backup();
  void put_back(const Kept& kept, std::shared_ptr<const config::Config> config);
  void surge();
  void grow();
  void attack();
  void heal();
  void check_health_at_the_end();
  [[nodiscard]] std::uint32_t any_site();
  [[nodiscard]] const config::EndpointConfig* any_endpoint(std::string& service);
  [[nodiscard]] Now control_now() const;
  [[nodiscard]] WallTime true_wall() const {
    return {start_wall.ns + (events_.now() - start).ns};
  }

  Scenario scenario_;
  Random random_;
  Witness witness_;
  Events events_;
  Clients clients_;
  std::vector<Site> sites_;
  std::shared_ptr<const config::Config> config_;
  std::shared_ptr<const controlplane::Tables> tables_;  // as last built for `config_`
  Disk disk_;
  std::unique_ptr<ControlPlane> control_;
  std::optional<DataPlane> dataplane_;
  TableSet saved_;
  TableSet held_by_reader_;
  std::shared_ptr<const PublishMessage> last_adopted_;
  std::uint64_t boot_ids_ = 0;
  std::uint64_t connection_ = 0;  // the newest; messages of older ones are lost
  bool connected_ = false;
  std::uint64_t connect_attempt_ = 0;
  Instant next_turn_ = controlplane::never;
  std::uint64_t turn_number_ = 0;
  Instant stalled_until_;
  Duration control_wall_offset_;
  bool deaf_ = false;
  bool in_trouble_ = true;
  double extra_loss_ = 0;
  bool stamped_on_arrival_ = true;  // beacons come through the data plane's rings
  SaidOfEndpoints said_;  // by service, endpoint
  PlannedWork planned_;
  WallTime planned_by_clock_;  // the latest by which work was stored: what was over by then is forgotten
  std::vector<std::shared_ptr<const config::Config>> past_;  // configurations to go back to
  std::optional<Draft> draft_;
  std::optional<Kept> backup_;
  bool rival_ = false;  // the control plane is one that started from the backup
  std::vector<Direction> directions_;
  std::vector<DemandHeard> demand_;  // in the rings of the data plane
  Instant provoked_;
  Instant steady_since_;  // both planes run, are connected, and tell the time
  std::optional<Instant> unfair_since_;
  Instant publish_second_;
  unsigned publishes_in_second_ = 0;
  unsigned turns_at_once_ = 0;
  Instant last_turn_;
};

}  // namespace pharos::sim
