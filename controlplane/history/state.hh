// The inside of History: its queue and its two connections. Private to this folder.
#pragma once

#include "pharos/controlplane/history/history.hh"
#include "pharos/controlplane/store/database.hh"

#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <variant>

#include "moved.hh"
#include "sealing.hh"

namespace pharos::controlplane {

// A file of a configuration, by path.
struct OfferedFile {
  std::string stamp;             // before it was read
  std::optional<PastFile> read;  // absent: it is as it was kept with the tables `files_since`
};
using OfferedFiles = std::map<std::string, OfferedFile>;
// The files of the tables that were written last.
struct KeptFiles {
  std::int64_t tables_id = 0;
  std::map<std::string, std::string> stamps;  // by path
};
struct OfferedTables {
  std::shared_ptr<const Tables> tables;
  Version version;
  std::string changes;
  WallTime at;
  OfferedFiles files;
  std::int64_t files_since = 0;
};
struct PruneOrder {
  WallTime now;
};
using Offered = std::variant<DecisionRound, OfferedTables, AuditEntry, PruneOrder>;

extern const DatabaseKind history_kind;

// Takes a time in.
void widen(std::optional<HistoryGap>& gap, WallTime at);

// The files of a configuration as they are on disk now; those are read that are not as they were kept.
[[nodiscard]] OfferedFiles offer_files(const config::Config& config, const KeptFiles& kept);

// A pool as its newest round found it, its members as they are kept.
struct FormerPool {
  std::string answered_by;
  bool panic = false;
  std::string members;
};
// The same pool in two rounds.
struct PoolMove {
  PoolThen former, now;
};

struct History::State {
  State(Database for_writing, Database for_reading, Sealer with, config::HistoryConfig limits)
      : writing(std::move(for_writing)),
        reading(std::move(for_reading)),
        sealer(with),
        config(limits) {}

  // owned by the writer
  Database writing;
  std::map<std::string, FormerPool> former_pools;  // by name: to tell what moved
  std::shared_ptr<const World> scored_world;       // of the round written last; null: none was
  std::int64_t distances = 0;                      // its blob; 0: too large
  std::int64_t tables_id = 0;                      // of the newest tables
  Instant next_prune;
  // The newest tables, where they could not be written: tried again, since what follows means nothing without them.
  std::optional<OfferedTables> owed;

  std::mutex read_mutex;  // guards `reading`
  Database reading;

  const Sealer sealer;
  const config::HistoryConfig config;
  std::string opened_alarm;

  mutable std::mutex mutex;  // guards what follows
  std::condition_variable wake, written;
  std::vector<Offered> queue;
  std::size_t queued_cells = 0;
  std::uint64_t offered = 0, finished = 0;
  std::optional<HistoryGap> lost;  // rounds that were dropped, not in the file yet
  HistoryCounters counters;
  std::string failure, prune_failure;  // of the newest attempt; empty: it worked
  KeptFiles kept_files;
  bool stopping = false;
  std::thread writer;

  // ---- by whoever reads, under read_mutex ----
  [[nodiscard]] Result<nlohmann::json> scores_in(std::int64_t round, const PastDecision& past);
  [[nodiscard]] PastDecision decision_of(const Statement& row);
  // In words what the decision made of the one before it in its cell; empty where that is forgotten.
  [[nodiscard]] std::string moved_by(const PastDecision& past);

  void add(Offered one, std::size_t cells);
  void run();

  // ---- by the writer (history_write.cc) ----
  [[nodiscard]] Status write_all(const std::vector<Offered>& batch,
                                 const std::optional<HistoryGap>& gap);
  [[nodiscard]] Status write_transaction(const std::vector<Offered>& batch,
                                         const std::optional<HistoryGap>& gap);
  [[nodiscard]] bool write(const HistoryGap& gap);
  [[nodiscard]] bool write(const DecisionRound& decided);
  [[nodiscard]] bool write_scoring(const DecisionRound& decided, std::int64_t id);
  [[nodiscard]] bool write_inputs(const DecisionRound& decided, const PoolFacts& pool,
                                  const PoolMove& move, std::int64_t id);
  [[nodiscard]] bool write_change(const DecisionRound& decided, const PoolFacts& pool,
                                  const CellChange& change, std::int64_t id);
  [[nodiscard]] bool write(const OfferedTables& offered_tables);
  void note_kept_files(const std::vector<Offered>& batch);
  [[nodiscard]] bool write_files(const OfferedTables& offered_tables);
  [[nodiscard]] bool write(const AuditEntry& entry);
  [[nodiscard]] static bool write(const PruneOrder&) { return true; }  // done behind the others
  [[nodiscard]] std::int64_t blob_of(std::string_view content);        // 0: it failed
  [[nodiscard]] std::int64_t content_of(const std::string& body);
  [[nodiscard]] Status forget(WallTime before);
  [[nodiscard]] Status prune_now(WallTime now);
};

}  // namespace pharos::controlplane
