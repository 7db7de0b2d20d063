// The table store from the control plane's end of its socket. No threads of readers: `swap` only records.
#include "pharos/dataplane/table/table_store.hh"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include <fstream>

#include "table_fixture.hh"

namespace pharos::dataplane {
namespace {

using table_channel::Outcome;

constexpr Version v1{1, 1};
constexpr Version v2{1, 2};
constexpr Version v3{1, 3};

class TableStoreTest : public testing::Test {
 protected:
  TableStoreTest() { open(); }

  void open() {
    store_.reset();
    ring_ = UniqueFd(::memfd_create("ring", MFD_CLOEXEC));
    auto store = TableStore::open({files_.directory() + "/tables.sock",
                                   files_.directory() + "/state",
                                   0,
                                   {ring_.get(), ring_.get()}},
                                  [this](const TableRoot* next) { swapped_.push_back(next); });
    ASSERT_TRUE(store) << store.error().text();
    store_ = std::move(*store);
  }

  void turn() { dataplane::turn(*store_); }
  template <typename T>
  T receive_as(int socket) {
    auto received = table_channel::receive(socket);
    EXPECT_TRUE(received) << received.error().text();
    EXPECT_TRUE(received && std::holds_alternative<T>(received->message));
    return received ? std::get<T>(received->message) : T{};
  }
  UniqueFd connect() {
    auto client = table_channel::connect_to(files_.directory() + "/tables.sock");
    EXPECT_TRUE(client) << client.error().text();
    turn();
    return std::move(*client);
  }
  // A connection behind its hello.
  UniqueFd greeted() {
    auto client = connect();
    (void)receive_as<table_channel::Hello>(client.get());
    return client;
  }
  table_channel::Acknowledge publish(int client, Version version, const Images& images) {
    return publish_to(*store_, client, version, images);
  }
  static Images all_of(Version v) {
    return {{ImageKind::catalog, catalog_of(v)},
            {ImageKind::locale_map, locale_map_of(v)},
            {ImageKind::ranking_base, base_of(v)}};
  }
  [[nodiscard]] bool is_closed(int client) {
    turn();
    const auto received = table_channel::receive(client);
    return !received && received.error().what == "closed by peer";
  }

  TemporaryFiles files_;
  UniqueFd ring_;
  std::vector<const TableRoot*> swapped_;
  std::unique_ptr<TableStore> store_;
};

TEST_F(TableStoreTest, SpeaksFirstAndHandsTheRingsOver) {
  const auto client = connect();
  auto received = table_channel::receive(client.get());
  ASSERT_TRUE(received) << received.error().text();
  const auto& hello = std::get<table_channel::Hello>(received->message);
  EXPECT_EQ(hello.worker_count, 2U);
  EXPECT_EQ(received->fds.size(), 2U);
  EXPECT_EQ(hello.in_use, Version{});
  EXPECT_EQ(hello.boot_id, store_->boot_id());
  EXPECT_TRUE(store_->connected());
}

TEST_F(TableStoreTest, AdoptsAndAcknowledges) {
  const auto client = greeted();
  const auto first = publish(client.get(), v1, all_of(v1));
  ASSERT_EQ(first.outcome, Outcome::adopted) << first.reason.data();
  EXPECT_EQ(first.in_use, v1);
  ASSERT_EQ(swapped_.size(), 1U);
  EXPECT_EQ(swapped_[0], store_->root());
  EXPECT_EQ(address_in(*store_->root(), 1), 1U);

  const auto second = publish(client.get(), v2,
                              {{ImageKind::ranking_delta, delta_of(v2, store_->root()->ranking)}});
  EXPECT_EQ(second.outcome, Outcome::adopted) << second.reason.data();
  EXPECT_EQ(address_in(*store_->root(), 1), 2U);

  const auto hello = [&] {
    const auto next = connect();
    return receive_as<table_channel::Hello>(next.get());
  }();
  EXPECT_EQ(hello.in_use, v2);
  EXPECT_EQ(hello.ranking, v2);
  EXPECT_EQ(hello.ranking_base, v1);
  EXPECT_EQ(hello.ranking_segments, 2U);
  EXPECT_EQ(hello.pools_id, test_images::pools_id);
  EXPECT_EQ(hello.locales_id, test_images::locales_id);
}

TEST_F(TableStoreTest, RefusesWhatIsStaleAndKeepsWhatIsInUse) {
  const auto client = greeted();
  publish(client.get(), v2, all_of(v2));
  for (const Version old : {v2, v1, Version{0, 9}}) {
    const auto answer = publish(client.get(), old, all_of(old));
    EXPECT_EQ(answer.outcome, Outcome::stale);
    EXPECT_EQ(answer.version, old);
    EXPECT_EQ(answer.in_use, v2);
  }
  EXPECT_EQ(swapped_.size(), 1U);
  EXPECT_EQ(store_->root()->version, v2);
}

TEST_F(TableStoreTest, RefusesDamageAndSaysWhy) {
  const auto client = greeted();
  publish(client.get(), v1, all_of(v1));
  auto images = all_of(v2);
  images[2].second[500] ^= std::byte{1};
  const auto answer = publish(client.get(), v2, images);
  EXPECT_EQ(answer.outcome, Outcome::refused);
  EXPECT_NE(std::string(answer.reason.data()).find("checksum"), std::string::npos)
      << answer.reason.data();
  EXPECT_EQ(store_->root()->version, v1);
  EXPECT_EQ(publish(client.get(), v3, all_of(v3)).outcome, Outcome::adopted);
}

TEST_F(TableStoreTest, AsksForABaseWhereADeltaIsOutOfStep) {
  const auto client = greeted();
  publish(client.get(), v1, all_of(v1));
  const auto elsewhere = base_of(v2);
  const auto view = ranking::View::prove_base(elsewhere);
  const auto answer = publish(client.get(), v3, {{ImageKind::ranking_delta, delta_of(v3, *view)}});
  EXPECT_EQ(answer.outcome, Outcome::out_of_step);
}

TEST_F(TableStoreTest, RefusesDescriptorsThatAreNoSealedImages) {
  const auto client = greeted();
  const UniqueFd unsealed(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto image = catalog_of(v1);
  ASSERT_EQ(::write(unsealed.get(), image.data(), image.size()),
            static_cast<ssize_t>(image.size()));
  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (const int fd : {unsealed.get(), null.get(), client.get()}) {
    const ImageKind kinds[] = {ImageKind::catalog};
    const auto message = table_channel::make_publish(v1, kinds);
    const int fds[] = {fd};
    ASSERT_TRUE(table_channel::send(client.get(), object_bytes(message), fds));
    turn();
    const auto answer = receive_as<table_channel::Acknowledge>(client.get());
    EXPECT_EQ(answer.outcome, Outcome::refused);
    EXPECT_NE(std::string(answer.reason.data()).find("sealed"), std::string::npos);
  }
}

TEST_F(TableStoreTest, HangsUpOnAPeerThatBreaksTheProtocol) {
  const auto garbage = greeted();
  ASSERT_TRUE(table_channel::send(garbage.get(), as_bytes("GET / HTTP/1.0"), {}));
  EXPECT_TRUE(is_closed(garbage.get()));
  EXPECT_FALSE(store_->connected());

  const auto reversed = greeted();
  const auto acknowledge = table_channel::make_acknowledge(Outcome::adopted, v1, v1, "");
  ASSERT_TRUE(table_channel::send(reversed.get(), object_bytes(acknowledge), {}));
  EXPECT_TRUE(is_closed(reversed.get()));

  const auto good = greeted();
  EXPECT_EQ(publish(good.get(), v1, all_of(v1)).outcome, Outcome::adopted);
}

TEST_F(TableStoreTest, PrefersTheNewerConnection) {
  const auto older = greeted();
  const auto newer = greeted();
  EXPECT_TRUE(is_closed(older.get()));
  EXPECT_EQ(publish(newer.get(), v1, all_of(v1)).outcome, Outcome::adopted);
}

TEST_F(TableStoreTest, GoesOnWhenThePeerIsGoneBeforeItsAnswer) {
  {
    const auto client = greeted();
    const auto fd = seal_in_memfd(catalog_of(v1), "publish");
    const int fds[] = {fd->get()};
    const ImageKind kinds[] = {ImageKind::catalog};
    ASSERT_TRUE(table_channel::send(client.get(),
                                    object_bytes(table_channel::make_publish(v1, kinds)), fds));
  }
  turn();
  EXPECT_FALSE(store_->connected());
  const auto next = greeted();
  EXPECT_EQ(publish(next.get(), v1, all_of(v1)).outcome, Outcome::adopted);
}

TEST_F(TableStoreTest, KeepsAHistoryOfSixtyFour) {
  const auto client = greeted();
  const auto images = all_of(v1);
  for (std::uint64_t i = 0; i < adoptions_kept + 6; ++i) publish(client.get(), v1, images);
  publish(client.get(), v2, images);
  const auto history = store_->history();
  ASSERT_EQ(history.size(), adoptions_kept);
  EXPECT_EQ(history[0].version, v2);
  EXPECT_EQ(history[0].outcome, Outcome::adopted);
  EXPECT_EQ(history[0].kinds.size(), 3U);
  EXPECT_GT(history[0].image_bytes, 1000U);
  EXPECT_EQ(history[1].outcome, Outcome::stale);
  EXPECT_FALSE(history[1].reason.empty());
}

TEST_F(TableStoreTest, StartsAgainFromTheDisk) {
  EXPECT_FALSE(store_->load().adopted);
  {
    const auto client = greeted();
    publish(client.get(), v1, all_of(v1));
    publish(client.get(), v2, {{ImageKind::ranking_delta, delta_of(v2, store_->root()->ranking)}});
  }
  open();  // the one before writes what waits, and ends with swap(nullptr)
  EXPECT_EQ(swapped_.back(), nullptr);
  const auto loaded = store_->load();
  EXPECT_TRUE(loaded.adopted);
  ASSERT_NE(store_->root(), nullptr);
  EXPECT_EQ(swapped_.back(), store_->root());
  EXPECT_EQ(store_->root()->version, v2);
  EXPECT_EQ(store_->history().at(0).origin, Adoption::Origin::disk);
  const auto client = greeted();
  EXPECT_EQ(publish(client.get(), v2, all_of(v2)).outcome, Outcome::stale);
  EXPECT_EQ(
      publish(client.get(), v3, {{ImageKind::ranking_delta, delta_of(v3, store_->root()->ranking)}})
          .outcome,
      Outcome::adopted);
}

TEST_F(TableStoreTest, ServesAlsoWhereTheDiskDoesNot) {
  const auto client = greeted();
  std::filesystem::remove_all(files_.directory() + "/state");
  std::ofstream(files_.directory() + "/state") << "in the way";
  EXPECT_EQ(publish(client.get(), v1, all_of(v1)).outcome, Outcome::adopted);
  store_.reset();  // waits for the saver, which fails
  std::filesystem::remove(files_.directory() + "/state");
  open();
  EXPECT_FALSE(store_->load().adopted);
}

TEST_F(TableStoreTest, LeavesTheSocketToTheOneThatHasIt) {
  const auto second =
      TableStore::open({files_.directory() + "/tables.sock", "", 0, {}}, [](const TableRoot*) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_FALSE(greeted().get() < 0);
}

}  // namespace
}  // namespace pharos::dataplane
