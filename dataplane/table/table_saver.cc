// The saver's thread. See table_saver.hh.
#include "pharos/dataplane/table/table_saver.hh"

#include <signal.h>

#include <utility>

namespace pharos::dataplane {
namespace {

constexpr std::chrono::seconds retry_interval(5);

// A thread that takes no signals: they belong to the control thread.
template <typename Body>
std::thread quiet_thread(Body&& body) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::forward<Body>(body));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

TableSaver::TableSaver(TableFiles files, std::function<void()> on_start,
                       std::chrono::milliseconds interval)
    : files_(std::move(files)),
      interval_(interval),
      thread_(quiet_thread([this, on_start = std::move(on_start)] {
        if (on_start) on_start();
        run();
      })) {}

TableSaver::~TableSaver() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
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
