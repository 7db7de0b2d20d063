// TableStore: where tables arrive. Owns the tables socket, the current root, and the last good
// images on disk.
//
// All calls come from the data plane's control thread; only the saver (a thread of its own inside)
// touches the disk after start-up, so that adoption never waits for one. Workers see nothing of
// this but the pointer that `swap` publishes.
//
//   connection -> receive -> prove -> make_root -> swap, which returns after a grace period
//                              |          |          |
//                              |          |          +-> free the old root -> acknowledge
//                              +----------+-> refused, stale, out of step:
//                                             nothing changes -> acknowledge
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/dataplane/table/root.hh"
#include "pharos/shared/table_channel.hh"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pharos::dataplane {

struct TableStoreOptions {
  std::string socket_path;      // <run>/tables.sock
  std::string state_directory;  // <state>/tables; made if absent. Empty: nothing is kept or loaded
  unsigned allowed_uid = 0;     // may connect beside root and our own user
  std::vector<int> ring_fds;  // borrowed: one ring per worker, handed over with Hello (at most 64)
  std::function<void()> on_saver_start = {};  // first thing in the saver's thread; may be empty
  unsigned seat_count = 1;                    // serving threads: see make_root()
};

// Makes `next` (null at the end) what workers load, and returns when none can hold the former root
// any more. The packet path gives this: store with release order, then synchronize_rcu(). Called by
// the control thread only.
using SwapRoot = std::function<void(const TableRoot* next)>;

// One publish and what became of it, for `generations`.
struct Adoption {
  enum class Origin : std::uint8_t { published, disk };

  Version version;
  Origin origin = Origin::published;
  std::vector<ImageKind> kinds;
  std::uint64_t image_bytes = 0;  // of all images that came with it
  table_channel::Outcome outcome = table_channel::Outcome::adopted;
  std::string reason;  // why not; empty where adopted
  WallTime at;
  std::int64_t proving_us = 0;   // mapping, proving and fitting together
  std::int64_t swapping_us = 0;  // swap and grace period
};
inline constexpr unsigned adoptions_kept = 64;

// What the saver has done so far.
struct SaverReport {
  std::uint64_t saved_sets = 0;
  std::uint64_t failures = 0;
  std::string last_error;  // empty when the newest write succeeded
  Version newest;          // on disk
};

class TableStore {
 public:
  // Opens the socket and the state directory. Errors: unavailable, conflict (another data plane
  // listens there).
  [[nodiscard]] static Result<std::unique_ptr<TableStore>> open(TableStoreOptions options,
                                                                SwapRoot swap);
  // Ends with swap(nullptr), then frees the root. Sets that wait for the disk are written first.
  ~TableStore();
  TableStore(const TableStore&) = delete;
  TableStore& operator=(const TableStore&) = delete;

  // Adopts the newest set on disk that proves sound, before any connection is served. Returns what
  // happened, in words for the log: each damaged file, and the set taken. True in `adopted` where
  // tables are now in use.
  struct Loaded {
    bool adopted = false;
    std::vector<std::string> notes;
  };
  Loaded load();

  // For the owner's poll set: one epoll descriptor, readable when on_readable() has work.
  [[nodiscard]] int fd() const noexcept;
  // Accepts, receives, adopts, acknowledges: a bounded number of messages, never blocks on the
  // socket.
  void on_readable();

  // The root in use, null before the first. For the control thread; good until the next call of
  // on_readable().
  [[nodiscard]] const TableRoot* root() const noexcept;
  [[nodiscard]] bool connected() const noexcept;  // a control plane is there
  [[nodiscard]] std::uint64_t boot_id() const noexcept;
  [[nodiscard]] std::vector<Adoption> history() const;  // newest first
  [[nodiscard]] SaverReport saver_report() const;
  // Queries that a policy of the root in use has decided since the start, in this set of policies and former ones.
  [[nodiscard]] std::uint64_t policy_hits(std::uint32_t rule) const;

 private:
  struct State;
  explicit TableStore(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace pharos::dataplane
