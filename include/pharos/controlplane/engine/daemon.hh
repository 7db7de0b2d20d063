// pharos-controlplane as a whole: its parts in the order in which they start, and its threads.
//
//   main     signals; SIGHUP reloads                  ingest   rings and sockets -> beacons
//   control  control sockets, commands, reloads       engine   EngineLoop
//   keeper   freshness to the store, watchdog,        store    writes the database
//            samples of answer shares
//   history  writes decisions
//   api-accept, api (16)  HTTPS, where it is configured
//
// A reload loads, builds and proves everything on the thread that asked for it, and only then swaps
// it in; any error leaves all as it was.
#pragma once

#include "pharos/config/model.hh"
#include "pharos/controlplane/api/api_server.hh"
#include "pharos/controlplane/engine/engine_loop.hh"
#include "pharos/controlplane/engine/share_log.hh"
#include "pharos/controlplane/history/history.hh"
#include "pharos/controlplane/ingest/ingest.hh"
#include "pharos/controlplane/store/store.hh"
#include "pharos/shared/control_protocol.hh"

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace pharos::controlplane {

struct ReloadRequest {
  bool read_configuration = true;  // false: zone files only
  std::string zone;         // read this zone again even if its file looks unchanged; empty: none
  bool every_zone = false;  // the same for all
  bool force = false;       // publish even where many names vanish
};

struct ReloadReport {
  std::vector<std::string> changed;
  Version version;  // of the tables that hold it; nothing changed: of the newest
};

struct LastReload {
  Instant at;
  bool ok = false;
  std::string message;
};

class Daemon {
 public:
  // Starts everything but the signal loop. `force`: start with a plan that has far fewer names than
  // the last one. Errors: of every part; nothing keeps running then.
  [[nodiscard]] static Result<std::unique_ptr<Daemon>> start(config::Config config, bool force);
  ~Daemon();  // stops in the opposite order
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Blocks until SIGTERM or SIGINT, which block_signals() keeps for it; SIGHUP reloads.
  void run();

  // ---- for commands; any thread but the engine's ----
  [[nodiscard]] Result<ReloadReport> reload(const ReloadRequest& request);
  [[nodiscard]] EngineLoop& loop() noexcept { return *loop_; }
  [[nodiscard]] Store& store() noexcept { return *store_; }
  [[nodiscard]] Ingest& ingest() noexcept { return *ingest_; }
  [[nodiscard]] History* history() noexcept { return history_.get(); }  // null: none is kept
  // Tables of this text in place of the configuration's file, with nothing published. Errors: as of a reload.
  [[nodiscard]] Result<std::shared_ptr<const Tables>> candidate(const std::string& text);
  [[nodiscard]] std::optional<LastReload> last_reload() const;
  // Why the files of zones cannot be served, by zone id, where the old contents are served instead.
  [[nodiscard]] std::map<std::string, std::string> stale_zones() const;
  [[nodiscard]] const ShareLog& share_log() const noexcept { return share_log_; }
  [[nodiscard]] std::string config_file() const;
  [[nodiscard]] Instant started() const noexcept { return started_; }
  [[nodiscard]] std::vector<std::string> alarms();
  // Nothing where there is no API. For the metrics.
  [[nodiscard]] std::optional<ApiCounters> api_counters() const;
  [[nodiscard]] std::vector<config::SocketAddress> api_listening() const;
  [[nodiscard]] const std::string& run_directory() const { return config_->run_directory; }
  // Into the audit log, and the daemon's own.
  void audit(const AuditEntry& entry);

 private:
  explicit Daemon(config::Config config);
  [[nodiscard]] Status start_parts(bool force);
  [[nodiscard]] Status open_store();
  [[nodiscard]] Status make_keys();
  [[nodiscard]] CatalogKeys keys_for(const config::Config& config) const;
  [[nodiscard]] Status start_ingest();
  [[nodiscard]] Status start_loop(std::shared_ptr<const Tables> tables);
  [[nodiscard]] Status start_control();
  [[nodiscard]] Status start_api();
  [[nodiscard]] Result<ReloadReport> reload_locked(const ReloadRequest& request);
  [[nodiscard]] Result<std::shared_ptr<const config::Config>> configuration_for(
      const ReloadRequest& request, const Tables& former);
  [[nodiscard]] Version swap_in(std::shared_ptr<const Tables> tables, BeaconSites sites,
                                Duration window);
  void serve_control();
  void reload_for(unsigned uid, int pid);
  void keep();

  std::shared_ptr<const config::Config> config_;  // of the start; that in force is in the tables
  Instant started_;
  CatalogKeys keys_;  // of the store
  std::optional<control::Server> server_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<History> history_;
  std::optional<Ingest> ingest_;
  std::unique_ptr<EngineLoop> loop_;
  std::uint64_t site_set_ = 1;
  ShareLog share_log_;

  std::mutex reload_mutex_;         // one reload at a time
  mutable std::mutex state_mutex_;  // guards the two below
  std::optional<LastReload> last_reload_;
  std::map<std::string, std::string> stale_zones_;

  std::atomic<bool> stopping_{false};
  std::mutex keeper_mutex_;
  std::condition_variable keeper_wake_;
  std::thread control_thread_, keeper_thread_;
  std::unique_ptr<ApiServer> api_;
};

// Keeps SIGTERM, SIGINT and SIGHUP for Daemon::run() in this thread and those it starts. First
// thing in main().
void block_signals() noexcept;

// "trace", "debug", "info", "warning", "error" <-> the log library's levels. False: no such level.
[[nodiscard]] bool set_log_level(const std::string& level);
[[nodiscard]] std::string log_level();

}  // namespace pharos::controlplane
