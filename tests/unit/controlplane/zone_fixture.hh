// Zones from text and catalogs from zones, for the tests of both. One temporary folder a test, removed with it.
#pragma once

#include "pharos/controlplane/image/catalog_builder.hh"
#include "pharos/controlplane/zone/load_zone.hh"
#include "pharos/shared/answer_text.hh"
#include "pharos/shared/catalog_image.hh"

#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace pharos::controlplane {

class ZoneTest : public testing::Test {
 protected:
  ZoneTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pharos-zone-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  ~ZoneTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    const auto path = (folder_ / name).string();
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  config::ZoneConfig config_of(const std::string& origin, const std::string& text) {
    config::ZoneConfig config;
    config.id = origin;
    config.file = write("zone" + std::to_string(++files_), text);
    return config;
  }

  ZoneReport check(const std::string& origin, const std::string& text) {
    return check_zone(config_of(origin, text));
  }

  // A zone that must load; it lives as long as the test.
  const ZoneData& zone(const std::string& origin, const std::string& text) {
    auto loaded = load_zone(config_of(origin, text));
    EXPECT_TRUE(loaded) << (loaded ? "" : loaded.error().text());
    zones_.push_back(loaded ? std::move(loaded->data) : ZoneData(dns::WireName{}));
    return zones_.back();
  }

  // SOA and NS in front of the rest, so that a test shows what it is about.
  static std::string with_apex(const std::string& rest) {
    return "$TTL 300\n@ 600 SOA ns1.ns. host.ns. 7 3600 600 86400 60\n@ NS ns1.ns.\n" + rest;
  }

  std::filesystem::path folder_;
  int files_ = 0;
  std::deque<ZoneData> zones_;
};

// A proven catalog and what it says of names.
class TestCatalog {
 public:
  static dns::NameHashKey key() {
    dns::NameHashKey key;
    for (unsigned i = 0; i < key.bytes.size(); ++i)
      key.bytes[i] = static_cast<std::byte>(i * 37 + 1);
    return key;
  }

  explicit TestCatalog(ImageBuffer image) : image_(std::move(image)) {
    auto proven = catalog::View::prove(image_);
    EXPECT_TRUE(proven) << (proven ? "" : proven.error().text());
    if (proven) view_ = *proven;
  }

  [[nodiscard]] const catalog::View& view() const { return view_; }
  [[nodiscard]] ImageBuffer& image() { return image_; }

  [[nodiscard]] const catalog::Node* find(const std::string& text) const {
    const auto name = dns::parse_name(text);
    EXPECT_TRUE(name) << text;
    dns::FoldedName folded;
    dns::scalar::fold_name(name->bytes.data(), name->length, folded);
    return view_.find(folded.bytes.data(), folded.length);
  }

  // The records of a slot; nothing where there is none, "pool N" where the ranking answers.
  [[nodiscard]] std::vector<std::string> slot(const std::string& name, unsigned type) const {
    const auto* node = find(name);
    if (node == nullptr) return {};
    for (const auto& slot : catalog::slots_of(*node)) {
      if (slot.type != type) continue;
      if (slot.kind == catalog::SlotKind::pool) return {"pool " + std::to_string(slot.value)};
      return answer_text(*view_.answer(slot.value), {node->name(), node->name_bytes});
    }
    return {};
  }

 private:
  ImageBuffer image_;
  catalog::View view_;
};

}  // namespace pharos::controlplane
