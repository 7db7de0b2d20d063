// What was decided, when, and from which inputs: <state>/history.db, SQLite with a write-ahead log.
//
// The engine thread offers rounds and never waits: a bounded queue, a thread of its own that writes it in transactions of
// at most a fifth of a second, each on the disk before the next begins. A crash at any write loses what the last second
// brought, and never the file. Rounds that find the queue full are dropped and counted.
//
// Columns that come from clients (addresses, arguments) and files of the configuration are sealed with the key in
// <state>/history.key. All functions: any thread.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/config/model.hh"
#include "pharos/controlplane/api/audit.hh"
#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/engine/judgement.hh"
#include "pharos/controlplane/engine/tables.hh"
#include "pharos/shared/image.hh"

#include <nlohmann/json.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pharos::controlplane {

inline constexpr std::size_t history_queue_cells_max = 2'000'000;
inline constexpr std::size_t history_image_bytes_max = 64U << 20;  // larger images are not kept
inline constexpr std::size_t history_file_bytes_max = 16U << 20;   // nor are larger files
inline constexpr std::size_t history_denials_max =
    10'000;  // of callers that nobody knows, in the audit log

struct PoolFacts {
  std::uint32_t pool = 0;
  std::uint32_t answered_by = 0;
  bool panic = false;
};
// One round of the engine that changed answers, with all that it was decided by.
struct DecisionRound {
  WallTime at;
  Version version;  // under which it is published
  config::ScoreConfig exponents;
  Round round;                                   // knows its world
  std::vector<PoolFacts> pools;                  // those of its changes, in their order
  std::vector<EndpointJudgement> endpoints;      // of the pools that answer; ascending, each once
  std::map<std::uint32_t, SiteJudgement> sites;  // theirs
};

// Called by the engine thread once the round is on its way: copies a hundred bytes for each endpoint that it touched, and
// leaves words and files to the writer.
[[nodiscard]] DecisionRound capture_round(const Engine& engine, Round round, Version version,
                                          Instant now, WallTime wall);

struct PastDecision {
  std::int64_t id = 0;
  WallTime at;
  Version version;
  std::string pool, locale, service;
  std::uint32_t ttl_s = 0;
  bool panic = false;
  std::string answered_by;
  std::string cause;  // what moved, in words
  // {"slots": [answer by slot], "answers": [[[member, address]]]}, or "records": [[[member, priority, weight]]]
  nlohmann::json content;
  nlohmann::json members;  // [{endpoint, site, ...}], facts of the pool that answered
  nlohmann::json
      scores;  // [[rtt_ms, proximity, score]], of the members for this locale; of decision() alone
};
struct DecisionFilter {
  std::string service, locale;  // empty: all
  std::optional<WallTime> since, until;
  std::size_t limit = 50;
};

// Tables as they were: what names and clients meant then.
struct PastTables {
  std::int64_t id = 0;
  WallTime at;
  Version version;
  std::string changes;
  std::vector<std::string> pools, locales;
  std::vector<std::string> policies;  // by pool
  SealedImage catalog_image, locale_image;
  catalog::View catalog;
  locale_map::View locale_map;
};
struct PastFile {
  std::string path;
  std::uint64_t bytes = 0;
  std::array<std::uint8_t, 32> hash{};  // of all of it, kept or not
  std::optional<std::string> content;   // absent: it was too large to keep
};
struct PastConfiguration {
  std::int64_t id = 0;
  WallTime at;
  Version version;
  std::string changes;
};

// Rounds of this time were dropped: what they changed is not known.
struct HistoryGap {
  WallTime from, until;
};

struct HistoryCounters {
  std::uint64_t rounds = 0, cells = 0;  // written
  std::uint64_t dropped = 0;            // cells of rounds that found the queue full, or the disk
};

class History {
 public:
  // Errors: unavailable (directory or files cannot be used), conflict (another process has it). A damaged file is moved
  // aside, and `alarm()` says so.
  [[nodiscard]] static Result<std::unique_ptr<History>> open(const std::string& directory,
                                                             const config::HistoryConfig& config,
                                                             WallTime now);
  ~History();  // writes what is queued
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  void offer(DecisionRound round);
  // Tables that are about to be used, with the files that made them: those that changed since the tables written last
  // are read here, by the caller, for the next configuration may be on disk by the time of writing.
  void offer_tables(std::shared_ptr<const Tables> tables, Version version, std::string changes);
  void audit(AuditEntry entry);

  // Waits until all that was offered is written. Errors: unavailable (the last write failed).
  [[nodiscard]] Status sync();
  [[nodiscard]] HistoryCounters counters() const;
  [[nodiscard]] std::string alarm() const;  // empty: all is well

  // ---- the past; Errors: unavailable (the file cannot be read) ----
  [[nodiscard]] Result<std::vector<PastDecision>> decisions(const DecisionFilter& filter);
  [[nodiscard]] Result<std::optional<PastDecision>> decision(const std::string& pool,
                                                             const std::string& locale,
                                                             WallTime at);
  // The newest gap that has anything between two times.
  [[nodiscard]] Result<std::optional<HistoryGap>> gap_between(WallTime from, WallTime until);
  // not_found: nothing is known of that time, or its images were too large.
  [[nodiscard]] Result<PastTables> tables_at(WallTime at);
  [[nodiscard]] Result<std::vector<PastConfiguration>> configurations(std::size_t limit);
  // The files of one; not_found.
  [[nodiscard]] Result<std::vector<PastFile>> files_of(std::int64_t configuration);
  [[nodiscard]] Result<std::vector<AuditEntry>> audit_log(std::size_t limit);
  // A copy that is whole, while everything goes on. Errors: conflict (the file is there already).
  [[nodiscard]] Status backup(const std::string& path);

  // Forgets what is too old and what is too much; the writer does so every ten minutes.
  void prune(WallTime now);

 private:
  struct State;
  explicit History(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

// Files that a configuration is made of, without keys: those of the configuration, zones, lists of prefixes and names.
[[nodiscard]] std::vector<std::string> files_of(const config::Config& config);
// One as it is on disk now. Errors: unavailable.
[[nodiscard]] Result<PastFile> read_file(const std::string& path);
[[nodiscard]] std::array<std::uint8_t, 32> hash_of_content(std::string_view content);

}  // namespace pharos::controlplane
