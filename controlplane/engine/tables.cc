#include "pharos/controlplane/engine/tables.hh"

#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/image/locale_builder.hh"
#include "pharos/controlplane/locale/locale_table.hh"

#include <sys/stat.h>

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <unordered_map>

namespace pharos::controlplane {
namespace {

// A thread is not worth its start for fewer: most zones are small, and most are taken over.
constexpr std::size_t zones_per_thread_min = 16;

std::string stamp_of(const std::vector<std::string>& files) {
  std::string stamp;
  for (const auto& file : files) stamp += file + ":" + file_stamp(file) + ";";
  return stamp;
}

// A zone without a file stands in the configuration: its fields are its stamp.
std::string stamp_of(const config::ZoneConfig& zone, const LoadedZone& loaded) {
  if (!zone.file.empty()) return stamp_of(loaded.data.files());
  std::string stamp =
      fmt::format("{} {} {} {}", zone.primary, zone.contact, zone.ttl.ns, zone.negative_ttl.ns);
  for (const auto& name : zone.nameservers) stamp += " " + name;
  for (const auto& [name, addresses] : zone.hosts) {
    stamp += " " + name + "=";
    for (const auto& address : addresses) stamp += address.text() + ",";
  }
  return stamp;
}

Result<ZoneState> zone_of(const config::ZoneConfig& zone, const ZoneReuse& reuse) {
  if (reuse.former != nullptr && !reuse.none && zone.id != reuse.except) {
    const auto at = reuse.former->zones.find(zone.id);
    if (at != reuse.former->zones.end() && at->second.stamp == stamp_of(zone, *at->second.zone)) {
      return at->second;
    }
  }
  auto loaded = load_zone(zone);
  if (!loaded) return std::unexpected(std::move(loaded).error().in("zone " + zone.id));
  ZoneState state;
  state.stamp = stamp_of(zone, *loaded);
  state.zone = std::make_shared<const LoadedZone>(std::move(*loaded));
  state.loaded = wall_now();
  return state;
}

// All zones in the order of the configuration, read on all cores. `broken_zone`: the first that failed.
Status add_zones(Tables& tables, const std::vector<config::ZoneConfig>& zones,
                 const ZoneReuse& reuse, std::string& broken_zone) {
  std::vector<std::optional<Result<ZoneState>>> states(zones.size());
  std::atomic<std::size_t> next{0};
  const auto read_some = [&] {
    // relaxed: it only deals the indices; the threads are joined before anything is looked at
    for (std::size_t i = 0; (i = next.fetch_add(1, std::memory_order_relaxed)) < zones.size();)
      states[i] = zone_of(zones[i], reuse);
  };
  {
    const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < std::min(cores, zones.size() / zones_per_thread_min); ++i)
      helpers.emplace_back(read_some);
    read_some();
  }
  for (std::size_t i = 0; i < zones.size(); ++i) {
    if (!*states[i]) {
      broken_zone = zones[i].id;
      return std::unexpected(std::move(*states[i]).error());
    }
    tables.zones.emplace(zones[i].id, std::move(**states[i]));
  }
  return {};
}

Status add_catalog(Tables& tables, const CatalogKeys& keys, Version version, const Tables* former) {
  std::vector<const ZoneData*> zones;
  for (const auto& [id, state] : tables.zones) zones.push_back(&state.zone->data);
  const auto pools = pools_of(*tables.world->config);
  const auto bindings = bindings_of(*tables.world->config, pools);
  auto policies = NamePolicies::make(*tables.world->config, bindings,
                                     former != nullptr ? former->policies.get() : nullptr);
  if (!policies) return std::unexpected(std::move(policies).error());
  tables.policies = std::move(*policies);
  const auto made = made_rrsets_of(*tables.world->config);
  if (!made) return std::unexpected(made.error());
  const CatalogInput input{zones,
                           bindings,
                           *made,
                           static_cast<std::uint32_t>(pools.size()),
                           pools_digest(pools),
                           keys,
                           tables.policies.get(),
                           version};
  const auto before =
      former != nullptr ? FormerCatalog{&former->catalog, &former->catalog_parts} : FormerCatalog{};
  auto built = build_catalog(input, before);
  if (!built) return std::unexpected(std::move(built).error());
  tables.catalog_parts = std::move(built->parts);
  auto sealed = SealedImage::seal(ImageKind::catalog, built->image);
  if (!sealed) return std::unexpected(std::move(sealed).error());
  tables.catalog_image = std::move(*sealed);
  auto proven = catalog::View::prove(tables.catalog_image.mapping.bytes());
  if (!proven) return std::unexpected(std::move(proven).error().in("catalog that we built"));
  tables.catalog = *proven;
  return {};
}

Status add_locales(Tables& tables, const LocaleTable& locales, Version version) {
  auto image = build_locale_image(locales, version);
  if (!image) return std::unexpected(std::move(image).error());
  auto sealed = SealedImage::seal(ImageKind::locale_map, *image);
  if (!sealed) return std::unexpected(std::move(sealed).error());
  tables.locale_image = std::move(*sealed);
  auto proven = locale_map::View::prove(tables.locale_image.mapping.bytes());
  if (!proven) return std::unexpected(std::move(proven).error().in("locale map that we built"));
  tables.locales = *proven;
  return {};
}

std::uint64_t served_names_gone(const Tables& former, const ZonePart& part,
                                const catalog::View& next) {
  const auto& all = former.catalog_parts.entries;
  std::uint64_t gone = 0;
  for (const auto& entry : std::span(all).subspan(part.first_entry, part.entry_count)) {
    const auto& node = *former.catalog.node(entry.ref);
    if (node.rrset_count == 0) continue;
    const auto* found = next.find(node.name(), node.name_bytes);
    gone += found == nullptr || found->rrset_count == 0;
  }
  return gone;
}

Status judge_shrink(std::uint64_t former, std::uint64_t removed, std::uint64_t left,
                    double shrink_limit) {
  const char* hint = "reload with force if that is meant";
  if (left == 0 && former > 0) {
    return fail(ErrorCode::conflict, "the plan has no names at all", "plan check", hint);
  }
  if (static_cast<double>(removed) > shrink_limit * static_cast<double>(former)) {
    return fail(ErrorCode::conflict,
                fmt::format("the plan removes {} of {} names, more than the limit of {:.0f} %",
                            removed, former, shrink_limit * 100),
                "plan check", hint);
  }
  return {};
}

}  // namespace

std::string file_stamp(const std::string& path) {
  struct stat about{};
  if (::stat(path.c_str(), &about) != 0) return "absent";
  return fmt::format("{}:{}:{}.{}", about.st_ino, about.st_size, about.st_mtim.tv_sec,
                     about.st_mtim.tv_nsec);
}

namespace {

Result<SealedImage> opened(ImageKind kind, Result<UniqueFd> fd) {
  if (!fd) return std::unexpected(std::move(fd).error());
  SealedImage image;
  image.kind = kind;
  image.fd = std::move(*fd);
  auto mapping = map_sealed(image.fd.get());
  if (!mapping) return std::unexpected(std::move(mapping).error());
  image.mapping = std::move(*mapping);
  return image;
}

}  // namespace

Result<SealedImage> SealedImage::seal(ImageKind kind, ConstBytes bytes) {
  return opened(kind, seal_in_memfd(bytes, std::string(name_of(kind)).c_str()));
}

Result<SealedImage> SealedImage::seal(ImageKind kind, const ImageDraft& draft) {
  return opened(kind, seal_in_memfd(draft, std::string(name_of(kind)).c_str()));
}

Result<std::shared_ptr<const Tables>> build_tables(std::shared_ptr<const config::Config> config,
                                                   const CatalogKeys& keys, Version version,
                                                   const ZoneReuse& reuse,
                                                   std::string& broken_zone) {
  auto tables = std::make_shared<Tables>();
  if (auto added = add_zones(*tables, config->zones, reuse, broken_zone); !added)
    return std::unexpected(added.error());
  auto locales = load_locales(*config);
  if (!locales) return std::unexpected(std::move(locales).error());
  auto world = make_world(std::move(config), locales->names);
  if (!world) return std::unexpected(std::move(world).error());
  tables->world = std::move(*world);
  if (auto added = add_catalog(*tables, keys, version, reuse.former); !added)
    return std::unexpected(added.error());
  if (auto added = add_locales(*tables, *locales, version); !added)
    return std::unexpected(added.error());
  return tables;
}

// Only zones that were put together anew can have lost names: others have the same records and services.
Status check_shrink(const Tables& former, const Tables& next, double shrink_limit) {
  std::unordered_map<const ZoneData*, const ZoneSources*> kept;
  for (const ZonePart& part : next.catalog_parts.zones)
    kept.emplace(part.sources.zone, &part.sources);
  std::uint64_t removed = 0;
  for (const ZonePart& part : former.catalog_parts.zones) {
    const auto at = kept.find(part.sources.zone);
    if (at != kept.end() && at->second->surroundings == part.sources.surroundings) continue;
    removed += served_names_gone(former, part, next.catalog);
  }
  return judge_shrink(former.name_count(), removed, next.name_count(), shrink_limit);
}

Status check_shrink(std::uint64_t former_name_count, const Tables& next, double shrink_limit) {
  const auto left = next.name_count();
  return judge_shrink(former_name_count, former_name_count - std::min(former_name_count, left),
                      left, shrink_limit);
}

}  // namespace pharos::controlplane
