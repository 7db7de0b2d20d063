// Counts of name policies over the life of tables: what a reload keeps, and that every serving thread has a seat.
#include "pharos/dataplane/table/table_store.hh"

#include <gtest/gtest.h>

#include "table_fixture.hh"

namespace pharos::dataplane {
namespace {

using Ids = std::vector<std::string>;

ImageBuffer catalog_with(Version version, const Ids& policies) {
  return test_images::CatalogWriter(pool_count).image(version, test_images::pools_id, policies);
}

class PolicyHitsTest : public testing::Test {
 protected:
  PolicyHitsTest() {
    TableStoreOptions options;
    options.socket_path = files_.directory() + "/tables.sock";
    options.state_directory = files_.directory() + "/state";
    options.seat_count = seats;
    auto store = TableStore::open(std::move(options), [](const TableRoot*) {});
    EXPECT_TRUE(store) << store.error().text();
    store_ = std::move(*store);
    client_ = std::move(*table_channel::connect_to(files_.directory() + "/tables.sock"));
    turn(*store_);
    EXPECT_TRUE(table_channel::receive(client_.get()));  // the hello
  }

  // Tables with these policies, all else as before.
  void publish(const Ids& policies) {
    const Version version{1, ++generation_};
    const auto answer = publish_to(*store_, client_.get(), version,
                                   {{ImageKind::catalog, catalog_with(version, policies)},
                                    {ImageKind::locale_map, locale_map_of(version)},
                                    {ImageKind::ranking_base, base_of(version)}});
    ASSERT_EQ(answer.outcome, table_channel::Outcome::adopted) << answer.reason.data();
  }

  void hit(unsigned seat, std::uint32_t rule, unsigned times) {
    for (; times > 0; --times) store_->root()->policies->count(seat, rule + 1);
  }
  [[nodiscard]] std::vector<std::uint64_t> hits() const {
    std::vector<std::uint64_t> all;
    for (std::uint32_t i = 0; i < store_->root()->catalog.policies().rules().size(); ++i)
      all.push_back(store_->policy_hits(i));
    return all;
  }

  static constexpr unsigned seats = 3;
  TemporaryFiles files_;
  std::unique_ptr<TableStore> store_;
  UniqueFd client_;
  std::uint64_t generation_ = 0;
};

using Counts = std::vector<std::uint64_t>;

TEST_F(PolicyHitsTest, SumTheSeatsOfAllServingThreads) {
  publish({"a", "b"});
  EXPECT_EQ(store_->root()->policies->seat_count(), seats);
  EXPECT_EQ(hits(), (Counts{0, 0}));
  for (unsigned seat = 0; seat < seats; ++seat) hit(seat, 1, seat + 1);
  EXPECT_EQ(hits(), (Counts{0, 6}));
}

TEST_F(PolicyHitsTest, GoOnWhereAReloadChangesNothingAboutPolicies) {
  publish({"a", "b"});
  const auto* set = store_->root()->policies.get();
  hit(0, 0, 4);
  publish({"a", "b"});
  EXPECT_EQ(store_->root()->policies.get(), set) << "the very same expressions and counts";
  EXPECT_EQ(hits(), (Counts{4, 0}));
}

TEST_F(PolicyHitsTest, FollowAPolicyByItsNameThroughReloads) {
  publish({"a", "b", "c"});
  hit(0, 0, 1);
  hit(1, 1, 10);
  hit(2, 2, 100);
  publish({"c", "new", "b"});
  EXPECT_EQ(hits(), (Counts{100, 0, 10}));
  hit(0, 0, 5);
  publish({"b", "c"});
  EXPECT_EQ(hits(), (Counts{10, 105}));
  publish({"a", "b", "c"});
  EXPECT_EQ(hits(), (Counts{0, 10, 105})) << "what was gone begins anew";
}

TEST_F(PolicyHitsTest, EndWithTheLastPolicy) {
  publish({"a"});
  hit(0, 0, 7);
  publish({});
  EXPECT_EQ(store_->root()->policies, nullptr);
  publish({"a"});
  EXPECT_EQ(hits(), (Counts{0}));
}

TEST(PolicySetTest, HasASeatForEveryServingThreadAndNoneForMoreThanThereCanBe) {
  const auto root_with = [](const TableRoot* former, Version version, unsigned seat_count) {
    const Ids ids{"a"};
    auto root = make_root(former, version,
                          {.catalog = share(catalog_with(version, ids)),
                           .locale_map = share(locale_map_of(version)),
                           .ranking_base = share(base_of(version)),
                           .ranking_delta = nullptr},
                          seat_count);
    EXPECT_TRUE(root) << root.error().text();
    return std::move(*root);
  };
  const auto first = root_with(nullptr, {1, 1}, 2);
  EXPECT_EQ(first->policies->seat_count(), 2U);
  const auto fewer = root_with(first.get(), {1, 2}, 1);
  EXPECT_EQ(fewer->policies, first->policies) << "enough is enough";
  const auto more = root_with(fewer.get(), {1, 3}, 5);
  EXPECT_NE(more->policies, first->policies);
  EXPECT_EQ(more->policies->seat_count(), 5U);
  EXPECT_EQ(root_with(nullptr, {1, 1}, 0)->policies->seat_count(), 1U);
  EXPECT_EQ(root_with(nullptr, {1, 1}, 100'000)->policies->seat_count(), policy_seats_max);
}

}  // namespace
}  // namespace pharos::dataplane
