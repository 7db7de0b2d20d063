// Roots: what fits together becomes one, anything else leaves the one in use as it is.
#include "pharos/dataplane/table/root.hh"

#include <gtest/gtest.h>

#include "table_fixture.hh"

namespace pharos::dataplane {
namespace {

constexpr Version v1{1, 1};
constexpr Version v2{1, 2};
constexpr Version v3{1, 3};

NewImages all_of(Version v) {
  return {share(catalog_of(v)), share(locale_map_of(v)), share(base_of(v)), nullptr};
}

class RootTest : public testing::Test {
 protected:
  std::string refusal_of(Version version, const NewImages& images) {
    const auto next = make_root(root_.get(), version, images);
    return next ? "" : std::string(name_of(next.error().code));
  }
  std::unique_ptr<const TableRoot> root_ = std::move(*make_root(nullptr, v1, all_of(v1)));
};

TEST_F(RootTest, AnswersFromItsImages) {
  EXPECT_EQ(root_->version, v1);
  for (std::uint32_t pool = 0; pool < pool_count; ++pool) EXPECT_EQ(address_in(*root_, pool), 1U);
}

TEST_F(RootTest, ReplacesWhatIsNewAndKeepsTheRest) {
  const auto next =
      make_root(root_.get(), v2, {nullptr, nullptr, nullptr, share(delta_of(v2, root_->ranking))});
  ASSERT_TRUE(next) << next.error().text();
  EXPECT_EQ(address_in(**next, 0), 1U);
  EXPECT_EQ(address_in(**next, 1), 2U);
  EXPECT_EQ((*next)->catalog_bytes, root_->catalog_bytes);
  EXPECT_EQ((*next)->ranking_bytes.size(), 2U);
  root_ = std::move(*make_root(next->get(), v3, {nullptr, nullptr, share(base_of(v3)), nullptr}));
  EXPECT_EQ(root_->ranking_bytes.size(), 1U);
  EXPECT_EQ(address_in(*root_, 2), 3U);
}

TEST_F(RootTest, TakesABaseAndADeltaOnItTogether) {
  const auto base = base_of(v2);
  const auto view = ranking::View::prove_base(base);
  const auto next =
      make_root(root_.get(), v3, {nullptr, nullptr, share(base), share(delta_of(v3, *view))});
  ASSERT_TRUE(next) << next.error().text();
  EXPECT_EQ(address_in(**next, 0), 2U);
  EXPECT_EQ(address_in(**next, 1), 3U);
}

TEST_F(RootTest, NeverGoesBack) {
  EXPECT_EQ(refusal_of(v1, all_of(v1)), "conflict");
  EXPECT_EQ(refusal_of({1, 0}, all_of(v1)), "conflict");
  EXPECT_EQ(refusal_of({0, 99}, all_of({0, 99})), "conflict");
  EXPECT_EQ(refusal_of({2, 0}, all_of({2, 0})), "");  // a newer epoch starts anew
}

TEST_F(RootTest, NeedsAllPartsFirst) {
  for (int missing = 0; missing < 3; ++missing) {
    auto images = all_of(v1);
    if (missing == 0) images.catalog = nullptr;
    if (missing == 1) images.locale_map = nullptr;
    if (missing == 2) images.ranking_base = nullptr;
    EXPECT_FALSE(make_root(nullptr, v1, images)) << missing;
  }
  const auto delta_first =
      make_root(nullptr, v2, {nullptr, nullptr, nullptr, share(delta_of(v2, root_->ranking))});
  EXPECT_EQ(delta_first.error().code, ErrorCode::conflict);
}

TEST_F(RootTest, RefusesPartsThatDoNotFit) {
  using namespace test_images;
  EXPECT_EQ(refusal_of(v2, {share(make_catalog(v2, pool_count, 99)), nullptr, nullptr, nullptr}),
            "invalid");
  EXPECT_EQ(refusal_of(v2, {share(make_catalog(v2, pool_count + 1)), nullptr, nullptr, nullptr}),
            "invalid");
  EXPECT_EQ(refusal_of(v2, {share(make_catalog(v2, pool_count - 1)), nullptr, nullptr, nullptr}),
            "");
  EXPECT_EQ(refusal_of(v2, {nullptr, share(make_locale_map(v2, 1, 99)), nullptr, nullptr}),
            "invalid");
  EXPECT_EQ(refusal_of(v2, {nullptr, share(make_locale_map(v2, 2)), nullptr, nullptr}), "invalid");
  EXPECT_EQ(
      refusal_of(v2, {nullptr, nullptr, share(make_base(v2, 3, 2, address_of(v2), 99)), nullptr}),
      "invalid");
}

TEST_F(RootTest, RefusesImagesNewerThanItself) {
  EXPECT_EQ(refusal_of(v2, {share(catalog_of(v3)), nullptr, nullptr, nullptr}), "invalid");
  EXPECT_EQ(refusal_of(v2, {nullptr, nullptr, share(base_of(v3)), nullptr}), "invalid");
}

TEST_F(RootTest, CallsADeltaOutOfStepAConflict) {
  const auto newer_base = base_of(v2);
  const auto view = ranking::View::prove_base(newer_base);
  EXPECT_EQ(refusal_of(v3, {nullptr, nullptr, nullptr, share(delta_of(v3, *view))}), "conflict");
}

TEST_F(RootTest, RefusesAnImageInThePlaceOfAnother) {
  EXPECT_EQ(refusal_of(v2, {share(base_of(v2)), nullptr, nullptr, nullptr}), "invalid");
  EXPECT_EQ(refusal_of(v2, {nullptr, nullptr, nullptr, share(catalog_of(v2))}), "invalid");
}

}  // namespace
}  // namespace pharos::dataplane
