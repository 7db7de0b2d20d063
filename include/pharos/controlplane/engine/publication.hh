// What to publish next: versions, images, and what the data plane is known to have.
//
//   Round -> apply() -> RankingBuilder --- next() ---> seal, prove ---> Outgoing ---> (socket)
//                                            ^                                           |
//                        commit or rollback  +------------- acknowledged() <-------------+
//
// One publish is in flight at a time; changes meanwhile gather in the builder. After a connection
// the whole set goes out, unless the data plane says that it still has exactly what this process
// sent it last. Owned by the engine thread; does no I/O beyond making memfds.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/controlplane/engine/engine.hh"
#include "pharos/controlplane/engine/tables.hh"
#include "pharos/controlplane/image/ranking_builder.hh"
#include "pharos/shared/ranking_image.hh"
#include "pharos/shared/table_channel.hh"

#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace pharos::controlplane {

inline constexpr std::size_t generations_kept = 64;

struct Outgoing {
  Version version;
  std::vector<ImageKind> kinds;
  std::vector<int> fds;  // borrowed; good until the acknowledgement
};

enum class PublishOutcome : std::uint8_t { pending, adopted, refused };

struct GenerationRecord {
  Version version;
  std::vector<ImageKind> kinds;
  std::uint64_t bytes = 0;
  PublishOutcome outcome = PublishOutcome::pending;
  std::string reason;
  Instant at;
  Instant adopted;  // at the data plane's swap
};

class Publication {
 public:
  // `last`: the newest version ever published; `lost`: that memory is gone, so that a data plane
  // with tables means a new epoch.
  Publication(std::shared_ptr<const Tables> tables, Version last, bool lost);

  // New tables: the next publish is a whole set. Cells of the new world must follow by apply().
  void replace_tables(std::shared_ptr<const Tables> tables);
  // Takes changed cells. Errors: of the builder; then the former answers of those cells stay.
  [[nodiscard]] Status apply(const Round& round);

  void connected(const table_channel::Hello& hello);
  void disconnected();
  // What to send now, if anything: changes; or, where there have been none for a moment, deltas merged into one, which
  // changes would wait for. Errors: an image did not build or prove; nothing is sent and the
  // next change tries again.
  [[nodiscard]] Result<std::optional<Outgoing>> next(Instant now);
  void acknowledged(const table_channel::Acknowledge& acknowledge);

  [[nodiscard]] bool is_connected() const noexcept { return connected_; }
  // The data plane has everything that was ranked so far.
  [[nodiscard]] bool settled() const noexcept;
  [[nodiscard]] Version last() const noexcept {
    return last_;
  }  // published, perhaps still in flight
  [[nodiscard]] Version in_use() const noexcept { return in_use_; }  // acknowledged; 0.0: none yet
  [[nodiscard]] const Tables& tables() const noexcept { return *tables_; }
  [[nodiscard]] std::shared_ptr<const Tables> shared_tables() const noexcept { return tables_; }
  [[nodiscard]] const std::deque<GenerationRecord>& generations() const noexcept {
    return generations_;
  }
  [[nodiscard]] const std::string& alarm() const noexcept { return alarm_; }
  [[nodiscard]] unsigned segment_count() const noexcept { return builder_.segment_count(); }

 private:
  enum class Need : std::uint8_t { delta, base, everything };
  struct InFlight {
    Version version;
    Need what = Need::delta;
    SealedImage ranking;
    ranking::View view;
    std::shared_ptr<const Tables> tables;  // sent with it; null: none
    bool of_former_tables = false;         // the builder that made it is gone
  };

  [[nodiscard]] Version next_version() const noexcept;
  [[nodiscard]] Result<SealedImage> build_ranking(Version version, Need& what, ranking::View& view);
  [[nodiscard]] bool may_tidy(Instant now) const noexcept;
  void settle(bool adopted);
  void note(const InFlight& sent, Instant now);

  std::shared_ptr<const Tables> tables_;
  RankingBuilder builder_;
  Version last_;
  Version in_use_;
  bool lost_;
  bool connected_ = false;
  bool blocked_ = false;  // the last try failed: wait for a change
  Need need_ = Need::everything;
  Instant sent_at_;            // the last publish
  std::uint64_t boot_id_ = 0;  // of the data plane that has what we sent
  std::optional<InFlight> in_flight_;
  std::vector<SealedImage> segments_;  // of the ranking in use: the view borrows them
  ranking::View view_;
  std::deque<GenerationRecord> generations_;  // newest first
  std::string alarm_;
};

}  // namespace pharos::controlplane
