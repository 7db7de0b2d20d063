// Tables on disk: what was saved comes back; what is damaged costs no more than it must.
#include "pharos/dataplane/table/table_files.hh"

#include <gtest/gtest.h>

#include <fstream>

#include "table_fixture.hh"

namespace pharos::dataplane {
namespace {

constexpr Version v1{1, 1};
constexpr Version v2{1, 2};
constexpr Version v3{1, 3};

class TableFilesTest : public testing::Test {
 protected:
  TableFilesTest() {
    root_ = std::move(
        *make_root(nullptr, v1,
                   {share(catalog_of(v1)), share(locale_map_of(v1)), share(base_of(v1)), nullptr}));
  }

  void add_delta(Version version) {
    root_ = std::move(
        *make_root(root_.get(), version,
                   {nullptr, nullptr, nullptr, share(delta_of(version, root_->ranking))}));
  }
  void new_base(Version version) {
    root_ = std::move(
        *make_root(root_.get(), version, {nullptr, nullptr, share(base_of(version)), nullptr}));
  }
  void save(TableFiles& files) {
    const auto saved = files.save(set_of(*root_));
    EXPECT_TRUE(saved) << saved.error().text();
  }
  TableFiles open() { return std::move(*TableFiles::open(files_.directory() + "/tables")); }
  std::unique_ptr<const TableRoot> load() {
    notes_.clear();
    return open().load(notes_);
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(files_.directory() + "/tables")) {
      found.push_back(entry.path().filename().string());
    }
    return found;
  }
  // The one file whose name starts so.
  [[nodiscard]] std::string path_of(std::string_view start) const {
    for (const auto& name : names()) {
      if (name.starts_with(start)) return files_.directory() + "/tables/" + name;
    }
    ADD_FAILURE() << "no file " << start;
    return {};
  }
  static void flip_a_bit(const std::string& path, std::streamoff at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(at);
    file.put(byte);
  }

  TemporaryFiles files_;
  std::unique_ptr<const TableRoot> root_;
  std::vector<std::string> notes_;
};

TEST_F(TableFilesTest, ReplaceLinksThatStandInTheirPlaceAndFollowNone) {
  auto files = open();
  save(files);
  const auto all = names();
  const auto precious = files_.directory() + "/precious";
  std::ofstream(precious) << "precious";
  for (const auto& name : all) {
    for (const auto& path : {files_.directory() + "/tables/" + name,
                             files_.directory() + "/tables/" + name + ".new"}) {
      std::filesystem::remove(path);
      std::filesystem::create_symlink(precious, path);
    }
  }
  EXPECT_EQ(load(), nullptr) << "nothing is read through a link";
  auto again = open();
  save(again);
  std::string text;
  std::getline(std::ifstream(precious), text);
  EXPECT_EQ(text, "precious");
  for (const auto& name : all) {
    EXPECT_TRUE(std::filesystem::is_regular_file(
        std::filesystem::symlink_status(files_.directory() + "/tables/" + name)))
        << name;
  }
  EXPECT_NE(load(), nullptr);
}

TEST_F(TableFilesTest, BringBackWhatWasSaved) {
  auto files = open();
  save(files);
  add_delta(v2);
  add_delta(v3);
  save(files);
  const auto loaded = load();
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->version, v3);
  EXPECT_EQ(loaded->ranking.version(), v3);
  EXPECT_EQ(address_in(*loaded, 0), 1U);
  EXPECT_EQ(address_in(*loaded, 1), 3U);
  EXPECT_EQ(notes_.size(), 1U);
}

TEST_F(TableFilesTest, HoldNothingAtFirst) {
  EXPECT_EQ(load(), nullptr);
  EXPECT_TRUE(notes_.empty());
}

TEST_F(TableFilesTest, KeepTheFormerSetAndNoMore) {
  auto files = open();
  save(files);
  for (std::uint64_t generation = 2; generation < 6; ++generation) {
    new_base({1, generation});
    save(files);
  }
  // Two manifests, one catalog, one locale map, two bases.
  EXPECT_EQ(names().size(), 6U);
}

TEST_F(TableFilesTest, LeaveOutDeltasFromADamagedOneOn) {
  auto files = open();
  add_delta(v2);
  add_delta(v3);
  save(files);
  flip_a_bit(path_of("ranking-delta-1.3"), 300);
  const auto loaded = load();
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->version, v2);
  EXPECT_EQ(address_in(*loaded, 1), 2U);
  EXPECT_EQ(notes_.size(), 2U);
  EXPECT_NE(notes_[0].find("checksum"), std::string::npos) << notes_[0];
}

TEST_F(TableFilesTest, FallBackToTheFormerSetWhereABaseIsDamaged) {
  auto files = open();
  save(files);
  new_base(v2);
  save(files);
  flip_a_bit(path_of("ranking-base-1.2"), 300);
  auto loaded = load();
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->version, v1);
  loaded = load();  // and again: it is the newest set now
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->version, v1);
}

TEST_F(TableFilesTest, FallBackWhereTheManifestIsDamagedOrCut) {
  auto files = open();
  save(files);
  new_base(v2);
  save(files);
  const auto manifest = files_.directory() + "/tables/manifest";
  const auto size = std::filesystem::file_size(manifest);
  std::filesystem::resize_file(manifest, size / 2);
  EXPECT_EQ(load()->version, v1);
}

TEST_F(TableFilesTest, WriteADamagedFileAgain) {
  auto files = open();
  save(files);
  flip_a_bit(path_of("catalog-1.1"), 200);
  EXPECT_EQ(load(), nullptr);
  auto next = open();
  EXPECT_EQ(next.load(notes_), nullptr);
  save(next);
  EXPECT_NE(load(), nullptr);
}

TEST_F(TableFilesTest, SurviveAProcessThatWasKilledWhileWriting) {
  auto files = open();
  save(files);
  std::ofstream(files_.directory() + "/tables/ranking-base-1.2-0000000000000000.image.new")
      << "half";
  std::ofstream(files_.directory() + "/tables/ranking-base-1.2-0000000000000000.image") << "orphan";
  EXPECT_EQ(load()->version, v1);
  new_base(v2);
  auto next = open();
  (void)next.load(notes_);
  save(next);
  for (const auto& name : names())
    EXPECT_EQ(name.find("0000000000000000"), std::string::npos) << name;
}

TEST_F(TableFilesTest, FollowNoLinks) {
  auto files = open();
  save(files);
  const auto base = path_of("ranking-base-1.1");
  const auto elsewhere = files_.directory() + "/elsewhere";
  std::filesystem::rename(base, elsewhere);
  std::filesystem::create_symlink(elsewhere, base);
  EXPECT_EQ(load(), nullptr);
}

TEST_F(TableFilesTest, SayWhenTheDirectoryCannotBe) {
  std::ofstream(files_.directory() + "/file") << "in the way";
  EXPECT_FALSE(TableFiles::open(files_.directory() + "/file"));
  EXPECT_FALSE(TableFiles::open(files_.directory() + "/file/below"));
  auto files = open();
  std::filesystem::remove_all(files_.directory() + "/tables");
  EXPECT_FALSE(files.save(set_of(*root_)));
}

TEST(ManifestTest, IsReadAsItWasWritten) {
  const Manifest manifest{{3, 4}, "a.image", "b.image", {"c.image", "d.image"}};
  const auto again = Manifest::parse(manifest.text());
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(*again, manifest);
}

TEST(ManifestTest, IsRefusedWhereAnyBitOrByteIsWrong) {
  const auto text = Manifest{{3, 4}, "a.image", "b.image", {"c.image"}}.text();
  for (std::size_t length = 0; length < text.size(); ++length) {
    // The last byte is a line feed, which may be missing.
    EXPECT_EQ(Manifest::parse(text.substr(0, length)).has_value(), length + 1 == text.size())
        << length;
  }
  for (std::size_t bit = 0; bit + 8 < text.size() * 8; ++bit) {
    auto bent = text;
    bent[bit / 8] = static_cast<char>(bent[bit / 8] ^ 1 << bit % 8);
    EXPECT_FALSE(Manifest::parse(bent)) << bit;
  }
}

TEST(ManifestTest, NamesNoFileOutsideOfItsDirectory) {
  for (const char* name :
       {"../x.image", "a/b.image", "/x.image", ".image", "x", "x.image\n", "X.image"}) {
    EXPECT_FALSE(Manifest::parse(Manifest{{1, 1}, name, "b.image", {"c.image"}}.text())) << name;
  }
}

}  // namespace
}  // namespace pharos::dataplane
