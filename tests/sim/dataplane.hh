// A simulated data plane: the real proving and fitting together of roots (dataplane/table/root.hh), without socket,
// workers or disk. What TableStore decides about a publish is decided here in the same order.
#pragma once

#include "pharos/controlplane/engine/publication.hh"
#include "pharos/dataplane/table/root.hh"
#include "pharos/shared/table_channel.hh"

#include <memory>
#include <optional>
#include <vector>

#include "scenario.hh"
#include "witness.hh"

namespace pharos::sim {

// What a cell answers, by value, and which share of its slots says what.
struct Cell {
  struct Told {
    std::vector<Place> places;  // in the order of the answer
    double share = 0;           // of the slots
  };
  controlplane::CellContent content;
  std::vector<Told> told;
};
[[nodiscard]] Cell read_cell(const controlplane::CellAnswers& answers);

// What the control plane had ranked when it built an image: what the image has to say.
struct Expected {
  std::shared_ptr<const controlplane::World> world;
  std::uint64_t pools_id = 0, locales_id = 0;      // of the tables that it came with
  std::vector<std::shared_ptr<const Cell>> cells;  // [pool * locales + locale]

  [[nodiscard]] const Cell& at(std::uint32_t pool, std::uint16_t locale) const {
    return *cells[std::size_t{pool} * world->locales.size() + locale];
  }
};

struct PublishMessage {
  Version version;
  std::vector<ImageKind> kinds;
  std::vector<dataplane::SharedImage> images;
  std::shared_ptr<const Expected> expected;
  bool corrupted = false;
};

// A set of tables, in use or on disk.
struct TableSet {
  std::shared_ptr<const dataplane::TableRoot> root;
  std::shared_ptr<const Expected> expected;
};

// An answer as a client reads it.
struct Reply {
  std::uint32_t ttl_s = 0;
  std::vector<IpAddress> addresses;
};

class DataPlane {
 public:
  // Starts from what is on disk, which may be nothing.
  DataPlane(std::uint64_t boot_id, TableSet from_disk) noexcept
      : boot_id_(boot_id), tables_(std::move(from_disk)) {}

  [[nodiscard]] table_channel::Hello hello() const;
  [[nodiscard]] table_channel::Acknowledge publish(const PublishMessage& message, Instant now,
                                                   Witness& witness);

  [[nodiscard]] const TableSet& tables() const noexcept { return tables_; }
  [[nodiscard]] Version in_use() const noexcept {
    return tables_.root ? tables_.root->version : Version{};
  }

 private:
  std::uint64_t boot_id_;
  TableSet tables_;
};

// What a root answers for a pool; nothing where it answers nothing.
[[nodiscard]] std::optional<Reply> reply_of(const dataplane::TableRoot& root, std::uint32_t pool,
                                            std::uint16_t locale, std::uint32_t client_hash);

// Whether every name of the world is there, is answered unless its policy says otherwise, and every answer is
// what was ranked (promises 3 and 4). Empty: all is well; else what is not.
[[nodiscard]] std::string check_tables(const TableSet& tables);

}  // namespace pharos::sim
