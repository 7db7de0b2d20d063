// The tables of one configuration: zones, locales, and the sealed, proven images made from them.
//
// Built off the engine thread (loading a large zone must not delay a beacon), constant after that,
// swapped in whole. A build that fails changes nothing: the former tables go on.
#pragma once

#include "pharos/base/fd.hh"
#include "pharos/controlplane/engine/world.hh"
#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/policy/name_policies.hh"
#include "pharos/controlplane/zone/load_zone.hh"
#include "pharos/shared/catalog_image.hh"
#include "pharos/shared/locale_image.hh"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace pharos::controlplane {

// An image in a sealed memfd: what is proven is what is sent.
struct SealedImage {
  ImageKind kind = ImageKind::catalog;
  UniqueFd fd;
  Mapping mapping;
  [[nodiscard]] static Result<SealedImage> seal(ImageKind kind, ConstBytes bytes);
  [[nodiscard]] static Result<SealedImage> seal(ImageKind kind, const ImageDraft& draft);
};

struct ZoneState {
  std::shared_ptr<const LoadedZone> zone;
  std::string stamp;  // of its files: names, sizes, times of change
  WallTime loaded;
};

struct Tables {
  std::shared_ptr<const World> world;
  std::map<std::string, ZoneState> zones;  // by id
  SealedImage catalog_image;
  SealedImage locale_image;
  catalog::View catalog;
  CatalogParts catalog_parts;  // of `zones` and `policies`
  locale_map::View locales;
  std::shared_ptr<const NamePolicies> policies;  // null: there are none

  // Names with data or services in the catalog.
  [[nodiscard]] std::uint64_t name_count() const noexcept { return catalog_parts.served_names(); }
  [[nodiscard]] std::uint64_t pools_id() const noexcept { return catalog.header().content_id; }
  [[nodiscard]] std::uint64_t locales_id() const noexcept { return locales.header().content_id; }
};

// Which zones may be taken over from former tables instead of being read: all whose files are
// unchanged, but for these. What the catalog has of them is taken over as well.
struct ZoneReuse {
  const Tables* former = nullptr;
  std::string except;
  bool none = false;
};

// Reads zones, locales and prefixes, and builds both images under `version`. `broken_zone` gets the
// id of the zone that failed, if one did. Errors: as of what it calls, each with file and line.
[[nodiscard]] Result<std::shared_ptr<const Tables>> build_tables(
    std::shared_ptr<const config::Config> config, const CatalogKeys& keys, Version version,
    const ZoneReuse& reuse, std::string& broken_zone);

// The check before publishing: a plan that removes more than `shrink_limit` of the names that
// existed is refused unless it is forced, and so is one without any name. Errors: conflict.
[[nodiscard]] Status check_shrink(const Tables& former, const Tables& next, double shrink_limit);
// The same against a count remembered from before a restart.
[[nodiscard]] Status check_shrink(std::uint64_t former_name_count, const Tables& next,
                                  double shrink_limit);

// Changes whenever the file does: what file it is, its size, the time of its last change. "absent" where it is not.
[[nodiscard]] std::string file_stamp(const std::string& path);

// What differs between two configurations and their tables, in words; empty when nothing does.
[[nodiscard]] std::vector<std::string> differences(const Tables& former, const Tables& next);

}  // namespace pharos::controlplane
