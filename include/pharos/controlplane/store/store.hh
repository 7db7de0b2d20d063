// What the control plane remembers: <state>/controlplane.db, SQLite with a write-ahead log.
//
// Opened and read once at start. After that every write is queued and done by a thread of its own,
// so that the engine never waits for a disk; writes of one batch are one transaction. All
// functions: any thread.
//
// A database that is damaged is moved aside (controlplane.db.damaged-<seconds>) and a new one
// begun: the versions then start a new epoch, so that no table of the forgotten past can count as
// newer.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/config/model.hh"
#include "pharos/controlplane/ingest/beacon_gate.hh"
#include "pharos/shared/client_hash.hh"
#include "pharos/shared/image.hh"
#include "pharos/wire/name.hh"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace pharos::controlplane {

// Everything that was there at start.
struct Remembered {
  bool lost = false;  // no database was there, or a damaged one
  std::string alarm;  // what happened to a damaged one; empty otherwise
  Version version;    // of the newest publish; 0.0: none
  std::optional<dns::NameHashKey> hash_key;
  std::optional<ranking::ClientHashKey> client_key;
  std::uint64_t name_count = 0;  // of the catalog published last
  // By service, endpoint.
  std::map<std::pair<std::string, std::string>, config::Override> overrides;
  std::map<std::pair<std::string, std::string>, double> weights;
  std::optional<config::ScoreConfig> exponents;
  std::vector<config::MaintenanceConfig> maintenance;  // planned by the operator
  std::vector<SiteFreshness> freshness;
  std::set<std::string> down_sites;
};

class Store {
 public:
  // Opens or makes the database in `directory` (made if absent). Errors: unavailable (directory or
  // file cannot be used at all), conflict (another process has it).
  [[nodiscard]] static Result<std::unique_ptr<Store>> open(const std::string& directory,
                                                           WallTime now);
  ~Store();  // writes what is queued
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  [[nodiscard]] const Remembered& remembered() const noexcept;

  void save_version(Version version);
  void save_hash_key(const dns::NameHashKey& key);
  void save_client_key(const ranking::ClientHashKey& key);
  void save_name_count(std::uint64_t count);
  void save_override(const std::string& service, const std::string& endpoint,
                     config::Override value);
  void save_weight(const std::string& service, const std::string& endpoint,
                   std::optional<double> weight);
  void save_exponents(const std::optional<config::ScoreConfig>& exponents);
  // Work that is planned in place of what was under its id; without sites it is taken back. What is over is forgotten.
  void save_maintenance(const config::MaintenanceConfig& work);
  void save_freshness(std::vector<SiteFreshness> freshness);
  void save_site_down(const std::string& site, bool down);

  // Waits until everything queued so far is written. Errors: unavailable (the last failure, such as
  // a full disk).
  [[nodiscard]] Status sync();
  // A copy that is whole, while everything goes on. Errors: conflict (there is a file), unavailable.
  [[nodiscard]] Status backup(const std::string& path);
  // The last failed write, while none has worked since; empty when all is well. For alarms.
  [[nodiscard]] std::string failure() const;

 private:
  struct State;
  explicit Store(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace pharos::controlplane
