// Which files of a configuration the history keeps.
#include <filesystem>
#include <map>

#include "history_fixture.hh"

namespace pharos::controlplane {
namespace {

// A configuration of some zone files, offered as often as the test wants.
class HistoryFilesTest : public HistoryTest {
 protected:
  HistoryFilesTest() {
    files_.write("pharos.yaml",
                 "zone_files: zones\nsites: [{id: fra, location: [50.11, 8.68]}]\nservices: []\n");
    for (const char* zone : {"a", "b", "c"}) write(zone, '1');
  }
  std::string write(const std::string& zone, char serial) {
    return files_.write("zones/" + zone + ".example.zone",
                        std::string("$TTL 60\n@ SOA ns host ") + serial +
                            " 3600 600 86400 30\n@ NS ns\nns A 192.0.2.1\n");
  }
  void offer(History& history) {
    auto config = config::load(files_.directory() + "/pharos.yaml");
    ASSERT_TRUE(config) << config.error().text();
    std::string broken;
    const auto tables = build_tables(std::make_shared<const config::Config>(std::move(*config)), {},
                                     {1, ++generation_}, {}, broken);
    ASSERT_TRUE(tables) << tables.error().text();
    history.offer_tables(*tables, {1, generation_}, "a test");
    ASSERT_TRUE(history.sync());
  }
  // The serial of each zone in the newest configuration, by the name of its file.
  static std::map<std::string, char> serials(History& history) {
    std::map<std::string, char> found;
    const auto newest = history.configurations(1);
    EXPECT_TRUE(newest && !newest->empty());
    const auto files = history.files_of(newest->front().id);
    EXPECT_TRUE(files);
    for (const auto& file : *files) {
      const auto name = std::filesystem::path(file.path).filename().string();
      const auto at = file.content.value_or("").find("host ");
      if (at != std::string::npos) found[name.substr(0, 1)] = (*file.content)[at + 5];
    }
    return found;
  }
  std::uint64_t generation_ = 0;
};

TEST_F(HistoryFilesTest, EachConfigurationHasAllItsFilesThoughFewChanged) {
  const auto history = open();
  offer(*history);
  EXPECT_EQ(serials(*history), (std::map<std::string, char>{{"a", '1'}, {"b", '1'}, {"c", '1'}}));
  write("b", '2');
  offer(*history);
  EXPECT_EQ(serials(*history), (std::map<std::string, char>{{"a", '1'}, {"b", '2'}, {"c", '1'}}));
  std::filesystem::remove(files_.directory() + "/zones/a.example.zone");
  write("d", '3');
  offer(*history);
  EXPECT_EQ(serials(*history), (std::map<std::string, char>{{"b", '2'}, {"c", '1'}, {"d", '3'}}));
  const auto all = history->configurations(10);
  ASSERT_EQ(all->size(), 3U);
  EXPECT_EQ(history->files_of(all->back().id)->size(), 4U)
      << "the first: pharos.yaml and three zones";
}

TEST_F(HistoryFilesTest, AFileThatDidNotChangeIsNotReadAgain) {
  const auto history = open();
  offer(*history);
  // Another content behind the same stamp: only who reads the file sees it.
  const auto path = write("b", '1');
  const auto time = std::filesystem::last_write_time(path);
  offer(*history);
  write("b", '9');
  std::filesystem::last_write_time(path, time);
  offer(*history);
  EXPECT_EQ(serials(*history)["b"], '1');
}

TEST_F(HistoryTest, AFileTooLargeToKeepIsKnownByItsHash) {
  const auto path = files_.write("large.zone", "");
  std::filesystem::resize_file(path, history_file_bytes_max);
  const auto kept = read_file(path);
  ASSERT_TRUE(kept && kept->content);
  EXPECT_EQ(kept->hash, hash_of_content(*kept->content));
  std::filesystem::resize_file(path, history_file_bytes_max + 1);
  const auto large = read_file(path);
  ASSERT_TRUE(large);
  EXPECT_FALSE(large->content);
  EXPECT_EQ(large->bytes, history_file_bytes_max + 1);
  EXPECT_EQ(large->hash, hash_of_content(std::string(history_file_bytes_max + 1, '\0')));
  EXPECT_FALSE(read_file(path + ".gone"));
}

}  // namespace
}  // namespace pharos::controlplane
