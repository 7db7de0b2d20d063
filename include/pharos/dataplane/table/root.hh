// The root of all tables: one immutable object per published version, swapped under liburcu QSBR.
//
// The control thread makes roots and frees them after a grace period; a worker loads the pointer
// once a burst and may use it until its next quiescent point. Images outlive the roots that use
// them.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"
#include "pharos/dataplane/match/policy_set.hh"
#include "pharos/shared/catalog_image.hh"
#include "pharos/shared/locale_image.hh"
#include "pharos/shared/ranking_image.hh"

#include <memory>
#include <vector>

namespace pharos::dataplane {

// The bytes behind a view: a sealed memfd (map_sealed), or a private copy of a file
// (read_image_file).
using SharedImage = std::shared_ptr<const Mapping>;

struct TableRoot {
  // Read by workers:
  Version version;
  catalog::View catalog;
  locale_map::View locales;
  ranking::View ranking;
  std::shared_ptr<PolicySet> policies;  // null: no name policies; goes on where they are the same

  // Held for lifetime; touched by the control thread only:
  SharedImage catalog_bytes;
  SharedImage locale_bytes;
  std::vector<SharedImage> ranking_bytes;  // base first, then deltas by segment
};

// Parts for a next root: those that are null stay as they are in `current`.
struct NewImages {
  SharedImage catalog;
  SharedImage locale_map;
  SharedImage ranking_base;
  SharedImage ranking_delta;  // on ranking_base where both are given
};

// Proves the new images, and that all parts fit together: content ids and counts of pools and locales, no image newer
// than `version`, and that Hyperscan takes the expressions of policies. `seat_count` is the number of serving threads (match/policy_set.hh).
// `current` may be null for the first root, which needs catalog, locale map and base.
// Errors: conflict (`version` is not newer than `current`, or the delta is out of step with its ranking), invalid,
// unsupported.
[[nodiscard]] Result<std::unique_ptr<const TableRoot>> make_root(const TableRoot* current,
                                                                 Version version,
                                                                 const NewImages& images,
                                                                 unsigned seat_count = 1);

}  // namespace pharos::dataplane
