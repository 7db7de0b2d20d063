// The engine thread: brings beacons, time, tasks and the table channel together around the pure
// engine.
//
//            +--- ingest.wake_fd ---+--- task eventfd ---+--- table socket ---+--- timer ---+
//            v                      v                    v                    v             v
//   epoll -> drain beacons -> run tasks -> channel messages -> Engine::step(now) -> Publication::next() -> send
//
// Nothing polls: the timer is set to the engine's next deadline. Beacons are always drained before
// time passes, and silence is judged only as of the time until which ingest has listened, so that a beacon that has
// arrived is never overtaken by the silence that it ends, however long a round took or a thread waited for its core. No
// disk, no lock held while working: writes go to the store's queue, and other threads come in by
// ask().
#pragma once

#include "pharos/controlplane/assign/name_demand.hh"
#include "pharos/controlplane/engine/assigner.hh"
#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/engine/publication.hh"
#include "pharos/controlplane/engine/table_client.hh"
#include "pharos/controlplane/history/history.hh"
#include "pharos/controlplane/ingest/ingest.hh"
#include "pharos/controlplane/store/store.hh"

#include <atomic>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace pharos::controlplane {

// What the engine thread owns, as others may see and change it inside of ask().
struct EngineSide {
  Engine engine;
  Publication publication;
  TableClient client;
  std::uint64_t site_set = 0;  // beacons of other sets are dropped
  Instant now;                 // of this turn
  std::uint64_t rounds = 0;    // that changed cells
  std::uint64_t cells = 0;     // changed by them
  std::uint64_t foreign_beacons = 0;
  Duration slowest_turn{};
  Duration slowest_task{};        // longest piece of work that a command gave it
  Duration slowest_assignment{};  // from its problem to its solution
  Duration last_publish_delay{};  // from the beacon or deadline that caused it to the socket
  NameDemand names{};
};

// Of work that is done in pieces: one piece, and with it what a round waits for at most, but for one row of a list.
inline constexpr Duration slice_length = microseconds(500);
// Tasks that wait together are run for so long before beacons are looked at again.
inline constexpr Duration tasks_length = milliseconds(1);

class Slice {
 public:
  Slice(bool fresh, Instant end) noexcept : fresh_(fresh), end_(end) {}
  // The first one, or sites, services and locales are others since the last: what was gathered so far is void.
  [[nodiscard]] bool fresh() const noexcept { return fresh_; }
  // What is left is for the next one.
  [[nodiscard]] bool over() const noexcept { return monotonic_now() >= end_; }

 private:
  bool fresh_;
  Instant end_;
};

class EngineLoop {
 public:
  // Borrows store, ingest and history (null: none is kept), which outlive it.
  EngineLoop(EngineSide side, Store& store, Ingest& ingest, History* history = nullptr);
  ~EngineLoop();  // stops
  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  // Errors: unavailable (no descriptors).
  [[nodiscard]] Status start();
  void stop() noexcept;

  // Runs `work(EngineSide&)` on the engine thread between two rounds and returns its result; for
  // short work only. Any thread but the engine's own; start() before, not after stop().
  template <typename Work>
  auto ask(Work work) -> std::invoke_result_t<Work, EngineSide&> {
    using Answer = std::invoke_result_t<Work, EngineSide&>;
    std::packaged_task<Answer(EngineSide&)> task(std::move(work));
    auto answer = task.get_future();
    post([&task](EngineSide& side) { task(side); });
    return answer.get();
  }

  // Runs `work(EngineSide&, const Slice&)`, which does what fits in the slice and returns whether all is done, again and
  // again on the engine thread; beacons and rounds come in between. So what long work sees belongs to moments
  // milliseconds apart, but to one world: see Slice::fresh(). Otherwise as ask().
  template <typename Work>
  void ask_in_slices(Work work) {
    std::shared_ptr<const World> world;
    const auto piece = [&](EngineSide& side) {
      const bool fresh = world != side.engine.shared_world();
      if (fresh) world = side.engine.shared_world();
      return work(side, Slice(fresh, monotonic_now() + slice_length));
    };
    while (!ask(piece)) {
    }
  }

  // What is wrong now: engine, publication, channel. For ask().
  [[nodiscard]] static std::vector<std::string> alarms_of(const EngineSide& side);

 private:
  using Task = std::function<void(EngineSide&)>;
  void post(Task task);
  void run();
  void turn();
  void drain_beacons();
  [[nodiscard]] Instant silence_to_hear() const noexcept;
  void drain_demand();
  void assign_demand();
  void run_tasks(Duration patience);
  void serve_channel();
  void handle(table_channel::Received received);
  void drop_channel(const std::string& why);
  void rank_and_publish();
  void remember(const Round& round);
  void record(Round round);
  void report_alarms();
  void arm_timer() noexcept;

  EngineSide side_;
  Store& store_;
  Ingest& ingest_;
  History* history_;
  UniqueFd epoll_, timer_, task_event_;
  std::mutex task_mutex_;  // guards tasks_
  std::deque<Task> tasks_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
  std::vector<std::string> reported_alarms_;
  AcceptedBeacon beacon_;
  std::vector<DemandSample> demand_;  // of this turn
  Instant names_ticked_;
  bool more_beacons_ = false;  // the last turn left some
  bool more_tasks_ = false;    // the same
  Instant assigning_since_;    // of the assignment that is being solved
  Hearing hearing_;            // of ingest, as far as its beacons are drained
  Instant cause_;              // oldest beacon of this turn, or the turn itself
  Assigner assigner_;          // posts to us: stopped first
};

}  // namespace pharos::controlplane
