// The data plane as a process: start-up in named stages, the control thread's loop, an orderly end.
//
//   directories -> EAL -> kernel sockets -> ports, exception interfaces -> rights given up -> workers made -> tables
//   (socket, then the last good ones from disk) -> control sockets -> workers and lane launched -> sandbox -> ready
//                                                                                              stop: the same way back
//
// The control thread is the main lcore. It waits in epoll for the tables socket, the control sockets, signals and a
// one-second tick, and never touches a packet. Everything here belongs to it but `published` and the workers' shared
// members.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/config/model.hh"
#include "pharos/dataplane/core/privileges.hh"
#include "pharos/dataplane/core/service_manager.hh"
#include "pharos/dataplane/core/watching.hh"
#include "pharos/dataplane/core/worker.hh"
#include "pharos/dataplane/io/eal.hh"
#include "pharos/dataplane/io/port.hh"
#include "pharos/dataplane/lane/lane.hh"
#include "pharos/dataplane/packet/interface.hh"
#include "pharos/dataplane/table/table_store.hh"

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pharos::control {
class Server;
}

namespace pharos::dataplane {

// What one worker was last seen doing, for the watchdog.
struct WorkerPulse {
  std::uint64_t loops = 0;
  bool stalled = false;  // no turn in a whole tick
};

class Daemon {
 public:
  explicit Daemon(config::Config config);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Runs the stages in order; the first that fails ends it, with its name in the error.
  [[nodiscard]] Status start();
  // Serves until SIGTERM or SIGINT, then stops in order.
  void run();

  // Reads the configuration again and applies what can change live. Errors: invalid (the old one stays), and what
  // needs a restart is said in the second list. For SIGHUP and the `reload` command.
  struct Reloaded {
    std::vector<std::string> changed;
    std::vector<std::string> needs_restart;
  };
  [[nodiscard]] Result<Reloaded> reload();
  [[nodiscard]] Status set_log_level(const std::string& level);

  // ---- for the control commands ----
  [[nodiscard]] const config::Config& config() const noexcept { return config_; }
  [[nodiscard]] const io::EalPlan& plan() const noexcept { return plan_; }
  [[nodiscard]] const std::vector<io::Port>& ports() const noexcept { return ports_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Worker>>& workers() const noexcept {
    return workers_;
  }
  [[nodiscard]] const Lane& lane() const noexcept { return *lane_; }
  [[nodiscard]] const TableStore* store() const noexcept { return store_.get(); }
  [[nodiscard]] const Watching& watching() const noexcept { return *watching_; }
  [[nodiscard]] Watching& watching() noexcept { return *watching_; }
  [[nodiscard]] Instant started_at() const noexcept { return started_at_; }
  [[nodiscard]] const io::Port& port_of(const ServedQueue& queue) const;
  [[nodiscard]] std::vector<std::string> alarms() const;
  // Whether threads are confined; off by configuration, and in builds with sanitizers.
  [[nodiscard]] bool sandboxed() const noexcept { return sandboxed_; }

 private:
  // Stages.
  [[nodiscard]] Status make_directories();
  [[nodiscard]] Status start_eal();
  [[nodiscard]] Status open_ports();
  [[nodiscard]] Status give_up_rights();
  [[nodiscard]] Status make_workers();
  [[nodiscard]] Status open_lane();
  [[nodiscard]] Status listen_on(const config::SocketAddress& address, Bind bind,
                                 const std::string& where);
  [[nodiscard]] Status open_exception_interface(const config::PortConfig& config,
                                                const io::Port& port, const io::Device& device);
  [[nodiscard]] Status open_tables();
  [[nodiscard]] Status open_control();
  [[nodiscard]] Status launch_workers();
  [[nodiscard]] Status open_events();

  [[nodiscard]] ServeOptions options_of(const config::Config& config) const;

  // The loop.
  [[nodiscard]] bool handle_signals();  // false: stop
  void tick();
  void watch_links();
  void watch_workers();
  void watch_sandbox();
  void report_status();
  void stop() noexcept;
  [[nodiscard]] Result<std::vector<Listener>> open_added(const config::DataplaneConfig& next) const;
  void change_lane(const config::DataplaneConfig& next, std::vector<Listener> added);

  config::Config config_;
  CookieSecret cookie_secret_{};           // where none is configured
  std::array<std::byte, 32> limit_key_{};  // of the rate limit's accounts
  Instant started_at_ = monotonic_now();
  ServiceManager service_manager_;
  UniqueFd lock_;
  std::optional<Account> account_;  // to become
  bool sandboxed_ = false;
  std::vector<std::string> unconfined_;  // threads that keep their rights
  std::uint64_t refused_calls_ = 0;      // that the log has told of
  int signals_fd_ = -1;                  // of signals::watch()
  UniqueFd timer_, epoll_;

  // In the order in which they are made; destroyed the other way round.
  Published published_;
  io::EalPlan plan_;
  std::optional<io::Eal> eal_;
  std::vector<io::Port> ports_;
  std::vector<Interface> interfaces_;            // one per port; workers borrow them
  std::vector<ExceptionInterface*> exceptions_;  // one per port, the lane's; nullptr: none
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Lane> lane_;
  std::unique_ptr<Watching> watching_;
  int lane_ring_fd_ = -1;  // the lane's own
  std::unique_ptr<TableStore> store_;
  std::unique_ptr<control::Server> control_;

  std::vector<WorkerPulse> pulses_;  // one per worker
  WorkerPulse lane_pulse_;
  std::vector<bool> links_up_;  // one per port
  std::string reload_error_;    // of the last reload; empty when it was good
};

// Log to stderr, with time stamps unless the journal adds them; level by name.
void start_log(const std::string& level);

}  // namespace pharos::dataplane
