// What the tests of the table folder share: images as shared mappings, a directory of their own, a control plane's
// end of the tables socket.
#pragma once

#include "pharos/dataplane/table/root.hh"
#include "pharos/shared/table_channel.hh"

#include <sys/mman.h>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "unit/shared/test_tables.hh"

namespace pharos::dataplane {

constexpr std::uint32_t pool_count = 3;
constexpr std::uint32_t locale_count_log2 = 1;
constexpr std::uint32_t locale_count = 1U << locale_count_log2;

inline SharedImage share(const ImageBuffer& image) {
  const auto fd = seal_in_memfd(image, "table_test");
  EXPECT_TRUE(fd);
  auto mapping = map_sealed(fd->get());
  EXPECT_TRUE(mapping) << mapping.error().text();
  return std::make_shared<const Mapping>(std::move(*mapping));
}

// All addresses of version n are n: an answer tells which version it comes from.
inline test_images::AddressOf address_of(Version version) {
  return [version](auto, auto) { return static_cast<std::uint32_t>(version.generation); };
}
inline ImageBuffer catalog_of(Version v) {
  return test_images::make_catalog(v, pool_count);
}
inline ImageBuffer locale_map_of(Version v) {
  return test_images::make_locale_map(v, locale_count_log2);
}
inline ImageBuffer base_of(Version v) {
  return test_images::make_base(v, pool_count, locale_count, address_of(v),
                                test_images::ranking_id());
}
// Changes pool 1.
inline ImageBuffer delta_of(Version v, const ranking::View& onto) {
  const std::uint32_t pools[] = {1};
  return test_images::make_delta(v, onto, pools, address_of(v));
}

inline std::uint32_t address_in(const TableRoot& root, std::uint32_t pool) {
  const auto name = test_images::service_name(pool);
  dns::FoldedName folded;
  std::vector<std::byte> padded = name;
  padded.resize(name.size() + dns::name_slack_bytes);
  dns::fold_name(padded.data(), static_cast<unsigned>(name.size()), folded);
  const auto* node = root.catalog.find(folded.bytes.data(), folded.length);
  if (node == nullptr) return 0;
  const auto cell =
      root.ranking.row(catalog::slots_of(*node)[0].value)[root.locales.find_ipv4(0).index];
  const Answer* answer = root.ranking.answer(cell, 0);
  return answer == nullptr ? 0 : test_images::first_address(*answer);
}

class OwnDirectory {
 public:
  OwnDirectory() {
    char pattern[] = "/tmp/pharos_table_test.XXXXXX";
    path_ = ::mkdtemp(pattern);
  }
  ~OwnDirectory() { std::filesystem::remove_all(path_); }
  OwnDirectory(const OwnDirectory&) = delete;
  OwnDirectory& operator=(const OwnDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace pharos::dataplane
