// Making of roots. See root.hh.
#include "pharos/dataplane/table/root.hh"

#include <spdlog/fmt/fmt.h>

#include <string_view>

namespace pharos::dataplane {
namespace {

std::string text_of(Version version) {
  return fmt::format("{}.{}", version.epoch, version.generation);
}

std::unexpected<Error> refuse(std::string what, std::string where = "tables") {
  return fail(ErrorCode::invalid, std::move(what), std::move(where));
}

// Replaces `view` and `bytes` by the image where there is one.
template <typename View>
Status take(const SharedImage& image, View& view, SharedImage& bytes, std::string_view name) {
  if (!image) return {};
  auto proven = View::prove(image->bytes());
  if (!proven) return std::unexpected(std::move(proven).error().in(name));
  view = std::move(*proven);
  bytes = image;
  return {};
}

Status take_base(const SharedImage& image, TableRoot& root) {
  if (!image) return {};
  auto proven = ranking::View::prove_base(image->bytes());
  if (!proven) return std::unexpected(std::move(proven).error().in("ranking base"));
  root.ranking = std::move(*proven);
  root.ranking_bytes = {image};
  return {};
}

Status take_delta(const SharedImage& image, TableRoot& root) {
  if (!image) return {};
  if (root.ranking_bytes.empty()) {
    return fail(ErrorCode::conflict, "no base is in use that it could follow", "ranking delta",
                "send a base");
  }
  auto proven = root.ranking.prove_delta(image->bytes());
  if (!proven) return std::unexpected(std::move(proven).error().in("ranking delta"));
  root.ranking = std::move(*proven);
  // It may stand in the place of the newest ones.
  root.ranking_bytes.resize(root.ranking.segment_count() - 1);
  root.ranking_bytes.push_back(image);
  return {};
}

// The former set, and with it its counts, where nothing about the policies changed.
Status take_policies(TableRoot& root, unsigned seat_count) {
  const auto& policies = root.catalog.policies();
  if (policies.empty()) {
    root.policies.reset();
    return {};
  }
  if (root.policies && root.policies->content_id() == policies.content_id() &&
      root.policies->seat_count() >= seat_count) {
    return {};
  }
  auto set = PolicySet::make(policies, seat_count);
  if (!set) return std::unexpected(std::move(set).error());
  root.policies = std::move(*set);
  return {};
}

Status check_fit(const TableRoot& root) {
  if (!root.catalog_bytes || !root.locale_bytes || root.ranking_bytes.empty()) {
    return refuse("the first tables need a catalog, a locale map and a ranking base");
  }
  const auto& catalog = root.catalog;
  const auto& locales = root.locales;
  const auto& ranking = root.ranking;
  if (ranking.content_id() !=
      ranking::content_id_for(catalog.header().content_id, locales.header().content_id)) {
    return refuse(
        "the ranking was made for other pools or locales than those of catalog and locale map");
  }
  if (locales.summary().locale_count != ranking.locale_count()) {
    return refuse(fmt::format("{} locales in the map, {} in the ranking",
                              locales.summary().locale_count, ranking.locale_count()));
  }
  if (catalog.summary().pool_count > ranking.pool_count()) {
    return refuse(fmt::format("{} pools in the catalog, {} in the ranking",
                              catalog.summary().pool_count, ranking.pool_count()));
  }
  for (const Version part :
       {catalog.header().version, locales.header().version, ranking.version()}) {
    if (part > root.version) {
      return refuse(
          fmt::format("an image of version {} in tables {}", text_of(part), text_of(root.version)));
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<const TableRoot>> make_root(const TableRoot* current, Version version,
                                                   const NewImages& images, unsigned seat_count) {
  const Version in_use = current != nullptr ? current->version : Version{};
  if (version <= in_use) {
    return fail(ErrorCode::conflict,
                fmt::format("version {} is not newer than {}, which is in use", text_of(version),
                            text_of(in_use)),
                "tables");
  }
  auto root =
      current != nullptr ? std::make_unique<TableRoot>(*current) : std::make_unique<TableRoot>();
  root->version = version;
  auto good = take(images.catalog, root->catalog, root->catalog_bytes, "catalog");
  if (good) good = take(images.locale_map, root->locales, root->locale_bytes, "locale map");
  if (good) good = take_base(images.ranking_base, *root);
  if (good) good = take_delta(images.ranking_delta, *root);
  if (good) good = check_fit(*root);
  if (good && images.catalog) good = take_policies(*root, seat_count);
  if (!good) return std::unexpected(std::move(good).error());
  return root;
}

}  // namespace pharos::dataplane
