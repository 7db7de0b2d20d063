// What the tests of the table folder share: images as shared mappings, a control plane's
// end of the tables socket.
#pragma once

#include "pharos/dataplane/table/root.hh"
#include "pharos/dataplane/table/table_store.hh"
#include "pharos/shared/table_channel.hh"

#include <poll.h>
#include <sys/mman.h>

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "temporary_files.hh"
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

// All that waits at the store's descriptors.
inline void turn(TableStore& store) {
  for (;;) {
    pollfd watched{store.fd(), POLLIN, 0};
    if (::poll(&watched, 1, 0) != 1) return;
    store.on_readable();
  }
}

using Images = std::vector<std::pair<ImageKind, ImageBuffer>>;

// Sends these to the store at the other end of `client`, and gives what it says of them.
inline table_channel::Acknowledge publish_to(TableStore& store, int client, Version version,
                                             const Images& images) {
  std::vector<UniqueFd> owners;
  std::vector<int> fds;
  std::vector<ImageKind> kinds;
  for (const auto& [kind, image] : images) {
    owners.push_back(std::move(*seal_in_memfd(image, "publish")));
    fds.push_back(owners.back().get());
    kinds.push_back(kind);
  }
  const auto message = table_channel::make_publish(version, kinds);
  EXPECT_TRUE(table_channel::send(client, object_bytes(message), fds));
  turn(store);
  const auto received = table_channel::receive(client);
  EXPECT_TRUE(received) << received.error().text();
  const auto* answer =
      received ? std::get_if<table_channel::Acknowledge>(&received->message) : nullptr;
  EXPECT_NE(answer, nullptr);
  return answer == nullptr ? table_channel::Acknowledge{} : *answer;
}

}  // namespace pharos::dataplane
