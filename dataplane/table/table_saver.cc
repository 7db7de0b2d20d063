// The saver's thread. See table_saver.hh.
#include "pharos/dataplane/table/table_saver.hh"

#include "pharos/base/thread.hh"
#include "pharos/base/turns.hh"

#include <utility>

namespace pharos::dataplane {
namespace {

constexpr std::chrono::seconds retry_interval(5);

}  // namespace

TableSaver::TableSaver(TableFiles files, std::function<void()> on_start,
                       std::chrono::milliseconds interval)
    : files_(std::move(files)), interval_(interval) {
  // Signals are the control thread's. Without a thread nothing is saved, and the report says why.
  const auto begin = [on_start = std::move(on_start)] {
    work_in_background();
    if (on_start) on_start();
  };
  auto started = start_quiet_thread(begin, [this] { run(); }, "saver of tables");
  if (started)
    thread_ = std::move(*started);
  else
    report_.last_error = started.error().text();
}

TableSaver::~TableSaver() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void TableSaver::submit(TableSet set) {
  std::optional<TableSet> newest(std::move(set));
  {
    const std::lock_guard lock(mutex_);
    waiting_.swap(newest);
  }
  changed_.notify_all();
  // A set that was skipped is freed here, without the lock: that may unmap gigabytes.
}

SaverReport TableSaver::report() const {
  const std::lock_guard lock(mutex_);
  return report_;
}

void TableSaver::run() {
  while (auto set = next()) save(std::move(*set));
}

std::optional<TableSet> TableSaver::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.has_value() || ending_; });
  return std::exchange(waiting_, std::nullopt);
}

void TableSaver::save(TableSet set) {
  const auto started = std::chrono::steady_clock::now();
  auto saved = files_.save(set);
  std::unique_lock lock(mutex_);
  if (saved) {
    ++report_.saved_sets;
    report_.newest = set.version;
    report_.last_error.clear();
    changed_.wait_until(lock, started + interval_, [this] { return ending_; });
    return;
  }
  ++report_.failures;
  report_.last_error = saved.error().text();
  if (ending_) return;
  if (!waiting_) waiting_ = std::move(set);
  changed_.wait_until(lock, started + retry_interval, [this] { return ending_; });
}

}  // namespace pharos::dataplane
