// The control loop: beacons, the operator's word and time go in; changed answers come out.
//
//   heard() / set_*() / replace_world()          step(now)
//        |                                          |
//        v                                          v
//   HealthBoard -> judge endpoints -> dirty pools -> membership -> order per locale -> Round (cells)
//
// A pure function of its state, its inputs and the times passed in: it reads no clock, socket, file
// or random number, so that the same inputs give the same cells, bit for bit, and a simulator can
// drive it. Owned by one thread. Cost of a step: the members and locales of the pools that changed,
// whether their sites are well or ill; a beacon that moves nothing by more than `score_step` re-ranks
// nothing.
#pragma once

#include "pharos/controlplane/assign/demand_board.hh"
#include "pharos/controlplane/assign/drain_meter.hh"
#include "pharos/controlplane/assign/grouping.hh"
#include "pharos/controlplane/engine/judgement.hh"
#include "pharos/controlplane/engine/planned.hh"
#include "pharos/controlplane/engine/round.hh"
#include "pharos/controlplane/engine/world.hh"
#include "pharos/controlplane/health/health_board.hh"
#include "pharos/controlplane/health/hearing.hh"
#include "pharos/controlplane/health/quorum.hh"
#include "pharos/controlplane/image/ranking_builder.hh"
#include "pharos/controlplane/rank/alike.hh"
#include "pharos/controlplane/rank/membership.hh"
#include "pharos/controlplane/rank/nest.hh"
#include "pharos/controlplane/rank/volatility.hh"
#include "pharos/controlplane/score/score.hh"

#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pharos::controlplane {

// Scores that moved less than this share since they were ranked last are not ranked again.
inline constexpr double score_step = 0.02;
// Rounds that only scores ask for come at most this often; changes of who may be answered never
// wait.
inline constexpr Duration score_round_interval = milliseconds(20);
// A receiver that was away for longer than this knows nothing of that time.
inline constexpr Duration stall_limit = milliseconds(250);
// Pools below their threshold that are alarms of their own; the others are counted.
inline constexpr std::size_t pool_alarms_max = 16;
// ... and one that was away for no longer than this was not.
inline constexpr Duration lag_noise = milliseconds(5);
// After a change of members the next assignment comes as soon as this after the last.
inline constexpr Duration assign_urgent_interval = milliseconds(200);
// After a loss of members, or of weights that limits bend, a problem of at most so many ways is solved in the round itself (a few milliseconds), no
// more often than this.
inline constexpr std::size_t assign_ways_at_once = 8192;
inline constexpr Duration assign_at_once_interval = milliseconds(20);
// ... and as soon as this after scores have moved.
inline constexpr Duration assign_score_interval = seconds(1);
// Demand that is shared out is dealt in slots of at most this part of a locale, so that rounding passes no limit.
inline constexpr unsigned spread_slots_min = 256;
// Steps in which an endpoint that comes back takes its share.
inline constexpr unsigned slow_start_steps = 8;
// Redirections by `fail: to` are followed this far.
inline constexpr unsigned redirects_max = 8;

// What the operator said; kept by id, so that it outlives reloads and restarts.
struct Decisions {
  using Key = std::pair<std::string, std::string>;  // service, endpoint
  std::map<Key, config::Override> overrides;
  std::map<Key, double> weights;
  std::optional<config::ScoreConfig> exponents;        // empty: as configured
  std::vector<config::MaintenanceConfig> maintenance;  // beside what is configured
};

// What the engine has done so far: a step costs what these grow by.
struct EngineWork {
  std::uint64_t endpoints_judged = 0;
  std::uint64_t pools_ranked = 0;
  std::uint64_t cells_ranked = 0;
  std::uint64_t cells_changed = 0;
  std::uint64_t answers_made = 0;  // of changed cells, those of one pool that are alike once
};

// An endpoint as the engine sees it now, for lists and for explain.
struct EndpointView {
  Factors factors;  // proximity for the locale asked for
  double score = 0;
  Standing standing = Standing::healthy;
  std::string state;   // "up", "degraded", "down", "draining", "unknown"
  std::string reason;  // in words
  config::Override override = config::Override::automatic;
  bool override_by_operator = false;
  double weight = 1;
  bool weight_by_operator = false;
  double admitted = 1;  // share of its clients that it takes so far, coming back
  bool held = false;    // well again, and waiting for its failback
  Instant since;
};

// A group of a pool, as judged last.
struct GroupView {
  std::string id, in;  // `in`: empty: the service itself
  config::Policy policy = config::Policy::ranked;
  double weight = 1;
  int priority = 0;
  unsigned healthy = 0, total = 0;  // members, those of groups in it included
  bool takes_part = false;
  bool panic = false;
};

struct PoolView {
  bool panic = false;
  std::uint32_t ttl_s = 0;
  unsigned volatility_level = 0;
  unsigned healthy = 0;  // members
  unsigned total = 0;
  std::uint32_t answered_by = 0;  // itself, or the pool that it is redirected to
};

// How far a drain is.
struct DrainView {
  Duration since;
  double moved = 0;  // of the clients that the endpoint led, by demand
  std::optional<double> requests_before_rps, requests_rps;  // of the endpoint, as reported
};

// Demand and limits as the last assignment saw them.
struct SiteLoadView {
  std::optional<double> capacity_rps, reported_rps, assigned_rps;
  unsigned tightness = 0;  // 0: room, 1: above the low watermark, 2: above the high one
};

class Engine {
 public:
  class Copy;

  // `down_sites`: ids of sites that were down before a restart.
  Engine(std::shared_ptr<const World> world, Decisions decisions,
         const std::set<std::string>& down_sites, Instant now);

  // An accepted beacon of a site of this world.
  void heard(std::uint32_t site, const SiteReport& report, std::uint64_t boot_epoch,
             std::uint64_t sequence, Instant received);

  void set_override(std::uint32_t endpoint, config::Override value, Instant now);
  void set_weight(std::uint32_t endpoint, std::optional<double> weight, Instant now);
  void set_exponents(std::optional<config::ScoreConfig> exponents, Instant now);

  // ---- demand and assignment (engine_assign.cc) ----

  // Answers that the data plane gave.
  void heard_demand(std::uint32_t pool, std::uint16_t locale, std::uint32_t weight);
  // A data plane has come: what it kept while it was alone is late, and not counted.
  void restart_demand();
  // The problem that is due, if one is: to be solved anywhere, and its solution to be handed to assigned().
  [[nodiscard]] std::optional<AssignTask> take_assign_task(Instant now);
  void assigned(const AssignTask& task, const Assignment& assignment);
  // Both at once, for whoever may wait: tests and the simulator.
  void assign_in_place(Instant now);
  // Whether demand is shared out at all: it is wanted, and somebody has a limit.
  [[nodiscard]] bool assigning() const noexcept { return assigning_; }
  // When take_assign_task() has something to do; not part of next_deadline().
  [[nodiscard]] Instant assign_deadline() const noexcept;
  void postpone_assignment(Instant until);
  [[nodiscard]] const DemandBoard& demand() const noexcept { return demand_; }
  // Requests per second of each cell, as the assignment sees them: [pool * locales + locale].
  [[nodiscard]] std::vector<double> requests_by_cell() const;
  [[nodiscard]] double requests_of_cell(std::uint32_t pool, std::uint16_t locale) const;
  [[nodiscard]] double assign_overload() const noexcept { return assign_overload_; }
  [[nodiscard]] SiteLoadView view_load(std::uint32_t site) const;
  // The groups of a pool, parents first; empty where the service has none.
  [[nodiscard]] std::vector<GroupView> view_groups(std::uint32_t pool) const;
  // Share of a locale's clients whose answers an endpoint leads, by member of the answering pool.
  [[nodiscard]] std::vector<double> lead_shares(std::uint32_t pool, std::uint16_t locale) const;

  // How far the clients of an endpoint that is drained or taken out have moved; nothing where it is neither, or was
  // before a restart or reload.
  [[nodiscard]] std::optional<DrainView> view_drain(std::uint32_t endpoint, Instant now) const;

  // ---- planned work (engine_planned.cc) ----

  // Work that the operator plans, in place of what he planned under that id; an empty list of sites takes it back.
  void set_maintenance(const config::MaintenanceConfig& work);
  // Configured work and the operator's.
  [[nodiscard]] const std::vector<config::MaintenanceConfig>& planned_work() const noexcept {
    return planned_work_;
  }

  // The wall clock beside the monotonic one; before step() wherever maintenance is configured.
  void set_clock(Now now);
  // Whether the site drains for planned work now, and when that changes next (`never`: it does not).
  [[nodiscard]] bool in_maintenance(std::uint32_t site) const { return planned_[site].active; }
  [[nodiscard]] const PlannedSite& planned(std::uint32_t site) const { return planned_[site]; }

  // A new configuration. Sites and endpoints that stay (by id) keep their health, pools their demand and their shares;
  // every cell is new, and the next assignment is due.
  void replace_world(std::shared_ptr<const World> world, Instant now);

  // Lets time pass and ranks what is dirty. The first step ranks everything. Silence is judged as of the time until
  // which was listened; who was away himself blames nobody (HealthBoard::excuse, lagged).
  [[nodiscard]] Round step(Instant now, const Hearing& hearing);
  // The same for who listens by himself between steps: a step that comes late was away.
  [[nodiscard]] Round step(Instant now);
  // When step() has something to do without further input; `never` if it has not.
  [[nodiscard]] Instant next_deadline() const noexcept;

  [[nodiscard]] const World& world() const noexcept { return *world_; }
  [[nodiscard]] std::shared_ptr<const World> shared_world() const noexcept { return world_; }
  [[nodiscard]] const HealthBoard& health() const noexcept { return health_; }
  [[nodiscard]] const QuorumBoard& quorum() const noexcept { return quorum_; }
  // How restless a site's metrics are, in steps (restless_step); bends risk, and shortens TTLs.
  [[nodiscard]] unsigned restless_level_of(std::uint32_t site) const {
    return restless_levels_[site];
  }
  [[nodiscard]] const Decisions& decisions() const noexcept { return decisions_; }
  [[nodiscard]] const config::ScoreConfig& exponents() const noexcept { return exponents_; }

  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> beacon_position(std::uint32_t site) const {
    return {positions_[site].boot_epoch, positions_[site].sequence};
  }
  [[nodiscard]] EndpointView view(std::uint32_t endpoint, std::uint16_t locale, Instant now) const;
  // The same without words, for whoever looks at many of them.
  [[nodiscard]] EndpointJudgement judgement(std::uint32_t endpoint, Instant now) const;
  [[nodiscard]] SiteJudgement site_judgement(std::uint32_t site, Instant now) const;
  // What its own agent says of it.
  [[nodiscard]] const EndpointHealth& endpoint_health(std::uint32_t endpoint) const {
    return endpoints_[endpoint].health;
  }
  [[nodiscard]] Standing standing(std::uint32_t endpoint) const {
    return endpoints_[endpoint].standing;
  }
  [[nodiscard]] PoolView view_pool(std::uint32_t pool) const;
  // TTL of the answers of a cell as ranked last.
  [[nodiscard]] std::uint32_t ttl_of_cell(std::uint32_t pool, std::uint16_t locale) const {
    return pools_[pool].cells[locale].ttl_s;
  }
  // The answers of a cell as ranked last.
  [[nodiscard]] CellContent content(std::uint32_t pool, std::uint16_t locale) const;
  // Endpoints of a cell in the order of the answers of one slot, as ranked last.
  [[nodiscard]] std::vector<std::uint32_t> answered(std::uint32_t pool, std::uint16_t locale,
                                                    unsigned slot) const;
  // What is wrong now, in words; empty when all is well. Of pools, the first `pool_alarms_max`.
  [[nodiscard]] std::vector<std::string> alarms() const;
  [[nodiscard]] const EngineWork& work() const noexcept { return work_; }

 private:
  struct EndpointState {
    EndpointHealth health;
    config::Override override = config::Override::automatic;
    double weight = 1;
    std::optional<double> capacity_rps;  // as configured, where each beacon of its site looks
    Factors factors;                     // all but proximity
    double base = 0;                     // score without proximity
    double base_as_if_healthy = 0;
    double ranked_base = -1;  // base when it was ranked last
    bool judged = false;
    Standing standing = Standing::healthy;
    Instant since;
    // Coming back (engine_return.cc).
    bool well = true;
    bool met = false;            // in a former world: `well` is what it was there
    bool held = false;           // well again, and waiting for its failback
    Instant held_until = never;  // `never`: until the operator says so
    bool rising = false;         // takes its share step by step
    Instant rising_since;
    double admitted = 1;  // share of its clients that it takes so far
  };
  // What the endpoints of a site have in common of their factors.
  struct SiteFactors {
    double health = 1, risk = 1, confidence = 1;
    double headroom = 1;   // of the site alone
    double condition = 1;  // of those that are well
  };
  struct CellState {
    std::uint64_t digest = 0;  // of the members answered, by slot, and of their weights
    std::uint32_t ttl_s = 0;
    bool ranked = false;
  };
  struct BeaconPosition {
    std::uint64_t boot_epoch = 0;
    std::uint64_t sequence = 0;
  };
  struct PoolState {
    Membership membership;
    Volatility volatility{{}, {}};
    std::vector<std::vector<std::uint16_t>> slots;  // weighted: members by slot
    std::vector<double> dealt_weights;
    std::vector<std::uint16_t> base_owners;       // weighted: by slot, as configured
    std::shared_ptr<const GroupShares> assigned;  // null: never
    std::vector<double> weights_noted;            // as of note_weights; by site
    // Ranked: orders by slot of the cells in which not all clients have the same leader.
    std::vector<std::vector<std::vector<std::uint16_t>>> spreads;
    std::vector<std::uint32_t> spread_of;  // by locale, index + 1; empty: all are undivided
    // Pools with groups: who takes part, and what order their rankings stood in last, by locale.
    NestMembership nested;
    NestOwners nest_owners;
    std::vector<NestRanks> nest_ranks;
    std::vector<std::vector<double>>
        homes;  // by locale, member: what it leads before limits bend it
    bool in_doubt = false;
    unsigned tightness = 0;             // of the tightest site of its members
    std::uint32_t planned_ttl_s = ~0U;  // no answer outlives the next planned change
    unsigned restless = 0;              // TTLs are halved so often for it
    bool members_changed = true;        // when its membership was made last
    std::uint32_t answered_by = 0;
    bool dirty = false;            // in dirty_pools_
    bool score_dirty = false;      // in score_dirty_pools_
    bool volatile_ = false;        // in volatile_pools_
    std::vector<CellState> cells;  // by locale
    // By locale: the answering pool's members, in order. Empty where dealt by slot.
    std::vector<std::uint16_t> orders;
    std::size_t order_length = 0;
    // The orders of a former world in the numbers of this one, until the pool is ranked for the first time.
    std::vector<std::uint16_t> carried_orders;
  };
  // What ranking a pool works in, kept from one to the next.
  struct Workbench {
    std::vector<Candidate> candidates;
    std::vector<double> base;  // by member of the answering pool: score without proximity
    std::vector<double> scores;
    std::vector<std::uint64_t> digests;
    std::vector<std::uint16_t> weights;  // of SRV records
    std::vector<std::uint16_t> former_orders;
    std::vector<std::uint8_t> marks;
    std::vector<std::uint8_t> changed;         // by locale
    std::vector<std::uint16_t> locales;        // cells to be published
    std::vector<std::uint32_t> group_of_cell;  // of each of these
    std::vector<std::uint32_t> group_sizes;
    std::vector<std::uint16_t> first_locales;  // by group
    Alike alike;
  };

  void build_state(Instant now);
  void refresh_proximity();
  void mark_dirty(std::uint32_t endpoint);
  void mark_pool_dirty(std::uint32_t pool);
  void refresh_override(std::uint32_t endpoint);
  [[nodiscard]] SiteFactors site_factors_of(std::uint32_t site, Instant now) const;
  [[nodiscard]] Factors factors_of(std::uint32_t endpoint, bool well,
                                   const SiteFactors& site) const;
  void tick_volatility(Instant now);
  void judge_site(std::uint32_t site, Instant now);
  [[nodiscard]] bool is_well(std::uint32_t endpoint) const;
  [[nodiscard]] bool note_restlessness(std::uint32_t site);
  void start_probes();
  void move_votes(const std::map<std::string, std::uint32_t>& former_sites,
                  const std::map<Decisions::Key, std::uint32_t>& former_endpoints, Instant now);
  void hear_probes(std::uint32_t site, const SiteReport& report, Instant received);
  void tick_probes(Instant now);
  void judge(std::uint32_t endpoint, Instant now);
  void judge(std::uint32_t endpoint, const SiteFactors& site, Instant now);
  void refresh_membership(std::uint32_t pool);
  void refresh_slots(std::uint32_t pool);
  [[nodiscard]] double dealt_weight(std::uint32_t endpoint, config::Policy policy,
                                    bool panic) const;
  [[nodiscard]] double configured_weight(std::uint32_t endpoint, config::Policy policy) const;
  [[nodiscard]] std::vector<std::uint16_t> base_owners_of(std::uint32_t pool) const;

  void start_assigning(Instant now);
  void carry_over(const World& former, std::span<const PoolState> pools, const DemandBoard& demand,
                  std::span<const double> requests, Instant now);
  // The same of pools: orders, and how restless they are. `pool_from`, `locale_from`: the former number of each, or
  // DemandBoard::nothing.
  void carry_over_pools(const World& former, std::span<const PoolState> pools,
                        std::span<const std::uint32_t> pool_from,
                        std::span<const std::uint32_t> locale_from);
  [[nodiscard]] bool limits_known() const;
  void hasten_assignment(Duration after_the_last);
  void refresh_requests(Instant now);
  [[nodiscard]] double requests_per_answer(std::uint32_t service) const;
  [[nodiscard]] double base_without_headroom(std::uint32_t pool, std::uint32_t endpoint) const;
  [[nodiscard]] bool note_weights(std::uint32_t pool);
  void assign_at_once(Instant now, std::vector<std::uint32_t>& dirty, Round& round);
  [[nodiscard]] std::size_t ways_at_most() const;
  [[nodiscard]] std::vector<bool> groups_to_take(
      const AssignTask& task, std::span<const std::shared_ptr<GroupShares>> shares) const;
  [[nodiscard]] AssignPool assign_pool_of(std::uint32_t pool) const;
  [[nodiscard]] std::vector<double> assigned_shares(std::uint32_t pool, std::uint16_t locale) const;
  [[nodiscard]] std::vector<double> least_shares(std::uint32_t pool, unsigned slots) const;
  [[nodiscard]] unsigned tightness_of(std::uint32_t site, unsigned former) const;
  void refresh_tightness();
  void refresh_tightness(std::uint32_t site);

  static void take_over(EndpointState& endpoint, const EndpointState& former);
  void start_planning(Instant now);
  void refresh_planned_work();
  void tick_planned(Instant now);
  void note_drain(std::uint32_t endpoint, Standing next, Instant now);

  void note_wellness(std::uint32_t endpoint, bool well, Instant now);
  void begin_rise(std::uint32_t endpoint, Instant now);
  void tick_returns(Instant now);
  [[nodiscard]] Instant return_deadline(std::uint32_t endpoint) const;
  [[nodiscard]] std::uint32_t follow_redirects(std::uint32_t pool) const;
  void collect_dirty(Instant now, std::vector<std::uint32_t>& pools);
  void rank_pool(std::uint32_t pool, Instant now, Round& round);
  void lay_out_members(std::uint32_t pool);
  void spread_cells(std::uint32_t pool);
  void nest_cells(std::uint32_t pool);
  [[nodiscard]] bool is_nested(std::uint32_t pool) const {
    return !world_->pools[pool].nest.empty();
  }
  [[nodiscard]] config::Policy policy_of_member(std::uint32_t pool, std::uint16_t member) const;
  [[nodiscard]] bool panics(std::uint32_t pool, std::uint16_t member) const;
  [[nodiscard]] std::vector<double> nest_weights(std::uint32_t pool) const;
  [[nodiscard]] std::vector<double> nested_shares(std::uint32_t source, std::uint16_t locale,
                                                  std::span<const double> leads) const;
  [[nodiscard]] std::vector<std::vector<std::uint16_t>> bent(
      std::uint32_t source, std::uint16_t locale, std::span<const std::uint64_t> keys,
      const std::vector<std::vector<std::uint16_t>>& slots) const;
  void order_cells(std::uint32_t pool, bool from_another);
  [[nodiscard]] bool note_changes(std::uint32_t pool);
  void group_cells(std::uint32_t pool);
  void publish_cells(std::uint32_t pool, Round& round);
  void publish_answers(std::uint32_t pool, std::uint16_t locale, CellChange& change, Round& round);
  void note_volatile(std::uint32_t pool);
  [[nodiscard]] bool dealt_by_slot(std::uint32_t pool) const;
  // Weighted SRV with all members in one answer: clients choose by weight (RFC 2782), no slots do.
  [[nodiscard]] bool weighed_by_clients(std::uint32_t pool) const;
  // The orders of a cell, one for each slot: indices of the answering pool's members.
  [[nodiscard]] std::size_t order_count(std::uint32_t pool, std::uint16_t locale) const;
  [[nodiscard]] bool cells_alike(std::uint32_t pool, std::uint16_t a, std::uint16_t b) const;
  [[nodiscard]] config::Policy policy_of(std::uint32_t pool) const;
  [[nodiscard]] std::span<const std::uint16_t> order_of(std::uint32_t pool, std::uint16_t locale,
                                                        std::size_t slot) const;
  // The members of an order that are answered, as many as an answer holds.
  [[nodiscard]] std::span<const std::uint16_t> answered_of(
      std::uint32_t pool, std::span<const std::uint16_t> order) const;
  [[nodiscard]] std::vector<IpAddress> addresses_of(std::uint32_t pool,
                                                    std::span<const std::uint16_t> order) const;
  [[nodiscard]] std::vector<std::uint16_t> srv_weights(std::uint32_t pool) const;
  void append_records(std::uint32_t pool, std::span<const std::uint16_t> answered,
                      std::span<const std::uint16_t> weights,
                      std::vector<RankedRecord>& records) const;
  [[nodiscard]] std::uint64_t digest_of(std::uint32_t pool, std::uint16_t locale) const;
  [[nodiscard]] std::uint32_t ttl_of(std::uint32_t pool, std::uint16_t locale,
                                     std::uint32_t pool_ttl_s) const;
  [[nodiscard]] ProbesJudgement probes_judgement(std::uint32_t endpoint) const;
  [[nodiscard]] Decisions::Key key_of(std::uint32_t endpoint) const;

  std::shared_ptr<const World> world_;
  Decisions decisions_;
  config::ScoreConfig exponents_;
  HealthBoard health_;
  std::vector<BeaconPosition> positions_;  // of the last beacon, by site
  std::vector<EndpointState> endpoints_;
  std::vector<PoolState> pools_;
  std::vector<double> proximity_;             // scores, [locale * sites + site]
  std::vector<std::uint32_t> changed_sites_;  // since the last step
  std::vector<SiteState> known_states_;       // as of the last step
  QuorumBoard quorum_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> endpoint_of_report_;  // sorted, by report_id
  std::vector<std::uint32_t> changed_verdicts_;   // endpoints, since the last step
  std::vector<unsigned> restless_levels_;         // by site
  std::vector<std::uint32_t> dirty_pools_;        // each once
  std::vector<std::uint32_t> score_dirty_pools_;  // the same, where only scores moved
  std::set<std::uint32_t> panicking_pools_;
  // Pools whose TTL may rise again, each once; the least time first. It may have moved on meanwhile.
  std::vector<std::pair<Instant, std::uint32_t>> volatile_pools_;
  Instant next_score_round_;
  Workbench bench_;
  EngineWork work_;
  Instant expected_step_ = never;  // deadline that the last step left behind
  Instant heard_until_;            // silence has been judged up to then

  DemandBoard demand_;
  bool demand_waits_ = false;                            // something was heard since the last tick
  bool assigning_ = false;                               // there are limits to assign to
  std::uint64_t world_serial_ = 0;                       // of assignments
  std::uint64_t task_number_ = 0, assigned_number_ = 0;  // of tasks taken, of the newest in force
  bool shares_outdated_ = false;  // in this round, so that what is ranked by them would be wrong
  Instant assign_last_, assign_due_;
  std::vector<double> requests_;  // per second, by service, as reported
  Instant requests_at_;
  std::vector<double> assigned_site_rps_;  // by the last assignment; empty: none
  double assign_overload_ = 0;
  std::vector<std::uint8_t> tightness_;  // by site

  std::optional<Duration> wall_offset_;  // of the wall clock from the monotonic one
  std::vector<config::MaintenanceConfig> planned_work_;
  std::vector<PlannedSite> planned_;  // by site
  Instant planned_due_ = never;

  std::map<std::uint32_t, Drain> drains_;  // by endpoint
  std::vector<std::uint32_t> returning_;   // endpoints that are held or rise
  Instant returns_due_ = never;
};

}  // namespace pharos::controlplane
