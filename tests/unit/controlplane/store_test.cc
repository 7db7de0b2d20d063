// The database: what is kept over restarts, and what damage does.
#include "pharos/controlplane/store/store.hh"

#include "pharos/controlplane/store/database.hh"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>

namespace pharos::controlplane {
namespace {

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    std::string pattern = testing::TempDir() + "pharos-store-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~StoreTest() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::unique_ptr<Store> open() const {
    auto store = Store::open(directory_, WallTime{1'700'000'000'000'000'000});
    EXPECT_TRUE(store) << store.error().text();
    return store ? std::move(*store) : nullptr;
  }
  [[nodiscard]] std::string file() const { return directory_ + "/controlplane.db"; }

  std::string directory_;
};

TEST_F(StoreTest, ANewDatabaseRemembersNothing) {
  const auto store = open();
  EXPECT_TRUE(store->remembered().lost);
  EXPECT_EQ(store->remembered().version, Version{});
  EXPECT_TRUE(store->remembered().alarm.empty());
}

TEST_F(StoreTest, PlannedWorkComesBackUntilItIsOverOrTakenBack) {
  const auto work = [](const char* id, std::vector<std::string> sites, std::int64_t ends_in_s) {
    config::MaintenanceConfig made;
    made.id = id;
    made.sites = std::move(sites);
    made.from = {wall_now().ns - 7'200'000'000'000};
    made.to = {wall_now().ns + ends_in_s * 1'000'000'000};
    return made;
  };
  {
    const auto store = open();
    store->save_maintenance(work("over", {"fra"}, -3600));
    store->save_maintenance(work("power", {"fra", "nyc"}, 3600));
    store->save_maintenance(work("cable", {"sin"}, 3600));
    store->save_maintenance(work("power", {"nyc"}, 7200));
    store->save_maintenance(work("cable", {}, 0));
    EXPECT_TRUE(store->sync());
  }
  const auto store = open();
  const auto& all = store->remembered().maintenance;
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].id, "power");
  EXPECT_EQ(all[0].sites, std::vector<std::string>{"nyc"});
  EXPECT_GT(all[0].to, wall_now());
}

TEST_F(StoreTest, EverythingComesBackAfterARestart) {
  dns::NameHashKey key;
  key.bytes[7] = std::byte{9};
  ranking::ClientHashKey client_key{};
  client_key[3] = std::byte{5};
  config::ScoreConfig exponents;
  exponents.proximity = 2.5;
  {
    const auto store = open();
    store->save_version({3, 0xfedcba9876543210});
    store->save_hash_key(key);
    store->save_client_key(client_key);
    store->save_name_count(77);
    store->save_override("web", "fra", config::Override::drain);
    store->save_override("web", "sin", config::Override::up);
    store->save_override("web", "sin", config::Override::automatic);
    store->save_weight("api", "fra", 2.25);
    store->save_weight("api", "sin", 1);
    store->save_weight("api", "sin", std::nullopt);
    store->save_exponents(exponents);
    store->save_freshness({{"fra", 0xffffffffffffffff, 12, {1, 2}}, {"sin", 1, 2, {}}});
    store->save_freshness({{"sin", 1, 9, {5}}});
    store->save_site_down("nyc", true);
    store->save_site_down("fra", true);
    store->save_site_down("fra", false);
    EXPECT_TRUE(store->sync());
    EXPECT_TRUE(store->failure().empty());
  }
  const auto store = open();
  const auto& all = store->remembered();
  EXPECT_FALSE(all.lost);
  EXPECT_EQ(all.version, (Version{3, 0xfedcba9876543210}));
  ASSERT_TRUE(all.hash_key);
  EXPECT_EQ(all.hash_key->bytes, key.bytes);
  ASSERT_TRUE(all.client_key);
  EXPECT_EQ(*all.client_key, client_key);
  EXPECT_EQ(all.name_count, 77U);
  EXPECT_EQ(all.overrides.at({"web", "fra"}), config::Override::drain);
  EXPECT_EQ(all.overrides.at({"web", "sin"}), config::Override::automatic);
  EXPECT_EQ(all.weights.size(), 1U);
  EXPECT_DOUBLE_EQ(all.weights.at({"api", "fra"}), 2.25);
  ASSERT_TRUE(all.exponents);
  EXPECT_DOUBLE_EQ(all.exponents->proximity, 2.5);
  ASSERT_EQ(all.freshness.size(), 2U);
  EXPECT_EQ(all.freshness[0].boot_epoch, 0xffffffffffffffff);
  EXPECT_EQ(all.freshness[0].key_fingerprints, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(all.freshness[1].sequence, 9U);
  EXPECT_EQ(all.down_sites, std::set<std::string>{"nyc"});
}

TEST_F(StoreTest, WhatIsQueuedIsWrittenBeforeTheEnd) {
  {
    const auto store = open();
    for (std::uint64_t g = 1; g <= 2000; ++g) store->save_version({1, g});
  }
  EXPECT_EQ(open()->remembered().version, (Version{1, 2000}));
}

TEST_F(StoreTest, ADamagedDatabaseIsMovedAsideAndSaidSo) {
  open()->save_version({4, 4});
  for (const auto& [name, content] :
       {std::pair("text", std::string(5000, 'x')), std::pair("zeros", std::string(4096, '\0'))}) {
    std::filesystem::remove(file() + "-wal");
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << content;
    const auto store = open();
    ASSERT_NE(store, nullptr) << name;
    EXPECT_TRUE(store->remembered().lost) << name;
    EXPECT_NE(store->remembered().alarm.find("damaged-1700000000"), std::string::npos) << name;
    EXPECT_TRUE(std::filesystem::exists(file() + ".damaged-1700000000"));
    store->save_version({1, 1});
    EXPECT_TRUE(store->sync());
  }
}

TEST_F(StoreTest, DamageInTheMiddleIsFound) {
  {
    const auto store = open();
    for (int i = 0; i < 3000; ++i)
      store->save_override("service", "endpoint" + std::to_string(i), config::Override::up);
    ASSERT_TRUE(store->sync());
  }
  std::fstream damaged(file(), std::ios::binary | std::ios::in | std::ios::out);
  damaged.seekp(4096 * 6);
  damaged << std::string(8192, '\x5a');
  damaged.close();
  const auto store = open();
  ASSERT_NE(store, nullptr);
  EXPECT_FALSE(store->remembered().alarm.empty());
}

TEST_F(StoreTest, ADatabaseOfAnotherProgramIsNotTouchedInPlace) {
  {
    sqlite3* other = nullptr;
    ASSERT_EQ(sqlite3_open(file().c_str(), &other), SQLITE_OK);
    sqlite3_exec(other, "PRAGMA application_id = 5; CREATE TABLE t (x)", nullptr, nullptr, nullptr);
    sqlite3_close(other);
  }
  const auto store = open();
  ASSERT_NE(store, nullptr);
  EXPECT_FALSE(store->remembered().alarm.empty());
  EXPECT_TRUE(std::filesystem::exists(file() + ".damaged-1700000000"));
}

TEST_F(StoreTest, ALinkInThePlaceOfAFileIsRefusedAndNotFollowed) {
  const auto elsewhere = directory_ + "/elsewhere";
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    std::filesystem::create_symlink(elsewhere, file() + suffix);
    const auto store = Store::open(directory_, {});
    ASSERT_FALSE(store) << suffix;
    EXPECT_EQ(store.error().code, ErrorCode::denied);
    EXPECT_FALSE(std::filesystem::exists(elsewhere));
    std::filesystem::remove(file() + suffix);
  }
}

TEST_F(StoreTest, ADirectoryThatOthersMayWriteToIsRefused) {
  std::filesystem::permissions(directory_, std::filesystem::perms::all);
  const auto store = Store::open(directory_, {});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::denied);
}

TEST_F(StoreTest, ADirectoryThatCannotBeIsAClearError) {
  std::ofstream(directory_ + "/file") << "x";
  const auto store = Store::open(directory_ + "/file/below", {});
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().text().find("state directory"), std::string::npos);
}

TEST_F(StoreTest, AStatementServesTheNextOfItsTextAndRemembersNothing) {
  auto database = Database::open(file(), store_kind);
  ASSERT_TRUE(database);
  const char* put = "INSERT INTO down_sites VALUES (?1)";
  EXPECT_TRUE(database->prepare(put).bind(1, std::string_view("fra")).run());
  EXPECT_TRUE(database->prepare(put).bind(1, std::string_view("nyc")).run());
  EXPECT_FALSE(database->prepare(put).bind(1, std::string_view("nyc")).run()) << "there already";
  EXPECT_NE(database->message().find("UNIQUE"), std::string::npos) << database->message();
  EXPECT_TRUE(database->prepare("SELECT ?1 IS NULL").row()) << "what it was bound to is gone";
  EXPECT_TRUE(database->prepare(put).bind(1, std::string_view("sin")).run());

  const char* all = "SELECT site FROM down_sites ORDER BY site";
  {
    auto outer = database->prepare(all);
    ASSERT_TRUE(outer.row());
    auto inner = database->prepare(all);
    ASSERT_TRUE(inner.row());
    ASSERT_TRUE(inner.row());
    EXPECT_EQ(inner.text(0), "nyc");
    EXPECT_EQ(outer.text(0), "fra") << "two that are under way are two";
  }
  auto moved = std::move(*database);
  EXPECT_TRUE(moved.prepare(all).row()) << "wherever the database goes";
}

}  // namespace
}  // namespace pharos::controlplane
