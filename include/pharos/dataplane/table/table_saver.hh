// The saver: a thread that keeps the disk up with the tables in use, so that adoption never waits for a disk.
//
// submit() only puts the newest set in place; sets that follow each other faster than the disk or than
// one write in 100 ms are skipped. A write that fails is tried again after 5 s, with the newest set.
#pragma once

#include "pharos/dataplane/table/table_files.hh"
#include "pharos/dataplane/table/table_store.hh"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace pharos::dataplane {

class TableSaver {
 public:
  // `on_start` runs first thing in the thread; may be empty.
  explicit TableSaver(TableFiles files, std::function<void()> on_start = {},
                      std::chrono::milliseconds interval = std::chrono::milliseconds(100));
  // Writes what waits, once, and ends the thread.
  ~TableSaver();
  TableSaver(const TableSaver&) = delete;
  TableSaver& operator=(const TableSaver&) = delete;

  void submit(TableSet set);
  [[nodiscard]] SaverReport report() const;

 private:
  void run();
  // Waits for a set to write; nothing at the end.
  [[nodiscard]] std::optional<TableSet> next();
  // Writes `set` and waits until the next write is due.
  void save(TableSet set);

  TableFiles files_;  // the thread's own
  const std::chrono::milliseconds interval_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::optional<TableSet> waiting_;
  SaverReport report_;
  bool ending_ = false;

  std::thread thread_;  // last: starts when all else stands
};

}  // namespace pharos::dataplane
