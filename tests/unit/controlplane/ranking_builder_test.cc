// Ranking images, built by RankingBuilder and read through ranking::View, against a plain map of what was
// set.
#include "pharos/controlplane/image/ranking_builder.hh"

#include "pharos/shared/ranking_image.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>

#include "answers_by_hand.hh"

namespace pharos {
namespace {

using controlplane::CellContent;
using controlplane::RankingBuilder;
using controlplane::RankingLimits;
using ranking::View;

CellContent one(std::uint32_t number, std::uint32_t ttl_s = 30) {
  return {type_a, ttl_s, {{address(number)}}};
}
std::vector<std::string> names(const char* stem, std::size_t count) {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < count; ++i) result.push_back(stem + std::to_string(i));
  return result;
}
RankingBuilder builder(std::size_t pools, std::size_t locales, RankingLimits limits = {}) {
  return RankingBuilder(names("pool", pools), names("locale", locales), 11, 22, limits);
}

// What a data plane does with images: keeps them, and stacks their proven views.
struct Reader {
  std::vector<ImageBuffer> images;
  std::optional<View> view;

  void take_base(Result<ImageBuffer> image) {
    ASSERT_TRUE(image) << image.error().text();
    auto proven = View::prove_base(*image);
    ASSERT_TRUE(proven) << proven.error().text();
    images.push_back(std::move(*image));
    view = std::move(*proven);
  }
  void take_delta(Result<ImageBuffer> image) {
    ASSERT_TRUE(image) << image.error().text();
    auto proven = view->prove_delta(*image);
    ASSERT_TRUE(proven) << proven.error().text();
    images.push_back(std::move(*image));
    view = std::move(*proven);
  }
  const Answer* answer(std::uint32_t pool, std::uint32_t locale,
                       std::uint32_t client_hash = 0) const {
    return view->answer(view->row(pool)[locale], client_hash);
  }
};

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::uint32_t below(std::uint32_t limit) {
    return std::uniform_int_distribution<std::uint32_t>(0, limit - 1)(engine_);
  }
  CellContent content() {
    CellContent result{below(2) == 0 ? type_a : type_aaaa, 5 + below(3), {}};
    const std::uint32_t kind = below(10);
    if (kind == 0) return result;
    result.slots.resize(kind < 6 ? 1 : 1U << below(6));
    for (auto& slot : result.slots) {
      for (std::uint32_t i = 0; i <= below(4); ++i) {
        auto a = address(below(12));
        if (result.type == type_aaaa) a.bytes[0] = 0x20;
        slot.push_back(a);
      }
    }
    return result;
  }

 private:
  std::mt19937 engine_;
};

TEST(RankingBuilderTest, ABaseHoldsEveryCellAndNothingWhereNothingWasSet) {
  auto b = builder(2, 3);
  EXPECT_TRUE(b.dirty());
  const CellContent v6{type_aaaa, 60, {{IpAddress::parse("2001:db8::1").value()}}};
  ASSERT_TRUE(b.set(0, 1, one(1)));
  ASSERT_TRUE(b.set(1, 2, v6));
  Reader reader;
  reader.take_base(b.build_base({1, 5}));
  b.commit();
  EXPECT_FALSE(b.dirty());
  EXPECT_EQ(reader.view->pool_count(), 2U);
  EXPECT_EQ(reader.view->locale_count(), 3U);
  EXPECT_EQ(reader.view->content_id(), ranking::content_id_for(11, 22));
  EXPECT_EQ(reader.view->version(), (Version{1, 5}));
  EXPECT_EQ(b.committed_version(), (Version{1, 5}));
  expect_answer(reader.answer(0, 1), one(1), 0);
  expect_answer(reader.answer(1, 2), v6, 0);
  EXPECT_EQ(reader.answer(0, 0), nullptr);
  EXPECT_EQ(reader.answer(1, 0), nullptr);
}

TEST(RankingBuilderTest, OnlyOtherBytesMakeItDirty) {
  auto b = builder(1, 1);
  ASSERT_TRUE(b.set(0, 0, one(1)));
  ASSERT_TRUE(b.build_base({1, 1}));
  b.commit();
  ASSERT_TRUE(b.set(0, 0, one(1)));
  EXPECT_FALSE(b.dirty());
  ASSERT_TRUE(b.set(0, 0, one(1, 31)));
  EXPECT_TRUE(b.dirty());
  EXPECT_EQ(b.dirty_cell_count(), 1U);
  ASSERT_TRUE(b.set(0, 0, one(1)));
  EXPECT_FALSE(b.dirty());
  EXPECT_EQ(b.dirty_cell_count(), 0U);
}

TEST(RankingBuilderTest, ADeltaHoldsTheRowsOfChangedPoolsAndKeepsTheOtherCellsAsTheyAre) {
  auto b = builder(3, 4);
  for (std::uint32_t pool = 0; pool < 3; ++pool) {
    for (std::uint16_t locale = 0; locale < 4; ++locale)
      ASSERT_TRUE(b.set(pool, locale, one(pool * 4 + locale)));
  }
  Reader reader;
  reader.take_base(b.build_base({1, 1}));
  b.commit();
  const auto before = *reader.view;
  ASSERT_TRUE(b.set(1, 2, one(99)));
  ASSERT_TRUE(b.set(1, 3, one(0)));  // stands in the base too, under another pool
  ASSERT_TRUE(b.set(1, 0, {}));      // answers nothing any more
  reader.take_delta(b.build_delta({1, 2}));
  b.commit();
  EXPECT_EQ(b.segment_count(), 2U);
  EXPECT_EQ(reader.view->version(), (Version{1, 2}));
  EXPECT_EQ(reader.view->base_version(), (Version{1, 1}));
  EXPECT_EQ(reader.view->row(0), before.row(0));
  EXPECT_EQ(reader.view->row(2), before.row(2));
  EXPECT_EQ(reader.view->row(1)[1], before.row(1)[1]);
  EXPECT_EQ(ranking::segment_of(reader.view->row(1)[2]), 1U);
  EXPECT_EQ(ranking::segment_of(reader.view->row(1)[3]), 1U);
  expect_answer(reader.answer(1, 2), one(99), 0);
  expect_answer(reader.answer(1, 3), one(0), 0);
  EXPECT_EQ(reader.answer(1, 0), nullptr);
  EXPECT_LT(reader.images[1].size(), reader.images[0].size());
}

TEST(RankingBuilderTest, WhatWasRolledBackComesWithTheNextDelta) {
  auto b = builder(2, 1);
  Reader reader;
  reader.take_base(b.build_base({1, 1}));
  b.commit();
  ASSERT_TRUE(b.set(0, 0, one(1)));
  ASSERT_TRUE(b.build_delta({1, 2}));
  b.rollback();
  EXPECT_TRUE(b.dirty());
  ASSERT_TRUE(b.set(1, 0, one(2)));
  reader.take_delta(b.build_delta({1, 3}));
  b.commit();
  EXPECT_FALSE(b.dirty());
  expect_answer(reader.answer(0, 0), one(1), 0);
  expect_answer(reader.answer(1, 0), one(2), 0);
}

TEST(RankingBuilderTest, ChangesBetweenBuildAndCommitBelongToTheNextBuild) {
  auto b = builder(2, 1);
  ASSERT_TRUE(b.set(0, 0, one(1)));
  Reader reader;
  reader.take_base(b.build_base({1, 1}));
  ASSERT_TRUE(b.set(0, 0, one(2)));
  b.commit();
  EXPECT_EQ(b.dirty_cell_count(), 1U);
  reader.take_delta(b.build_delta({1, 2}));
  ASSERT_TRUE(b.set(0, 0, one(1)));  // back to what the base has, while the delta is on its way
  ASSERT_TRUE(b.set(1, 0, one(3)));
  b.commit();
  EXPECT_EQ(b.dirty_cell_count(), 2U);
  expect_answer(reader.answer(0, 0), one(2), 0);
  reader.take_delta(b.build_delta({1, 3}));
  b.commit();
  EXPECT_FALSE(b.dirty());
  expect_answer(reader.answer(0, 0), one(1), 0);
  expect_answer(reader.answer(1, 0), one(3), 0);
}

TEST(RankingBuilderTest, BuildsComeOneAtATimeAndWithGrowingVersions) {
  auto b = builder(1, 1);
  EXPECT_EQ(b.build_delta({1, 1}).error().code, ErrorCode::exhausted);  // nothing to follow
  ASSERT_TRUE(b.build_base({1, 7}));
  EXPECT_EQ(b.build_base({1, 8}).error().code, ErrorCode::conflict);
  b.commit();
  EXPECT_EQ(b.build_base({1, 7}).error().code, ErrorCode::conflict);
  EXPECT_EQ(b.build_delta({1, 6}).error().code, ErrorCode::conflict);
  EXPECT_TRUE(b.build_base({2, 1}));  // a new epoch begins at any generation
}

TEST(RankingBuilderTest, SendsForABaseWhenTheShareOfDeltasIsUsedUp) {
  auto small =
      builder(64, 1, {.delta_segments_max = 20, .delta_share_max = 0.5, .delta_bytes_free = 0});
  ASSERT_TRUE(small.build_base({1, 1}));
  small.commit();
  ASSERT_TRUE(small.set(0, 0, one(1)));
  ASSERT_TRUE(small.build_delta({1, 2}));
  small.commit();
  for (std::uint32_t pool = 0; pool < 64; ++pool) ASSERT_TRUE(small.set(pool, 0, one(100 + pool)));
  EXPECT_EQ(small.build_delta({1, 3}).error().code, ErrorCode::exhausted);
  EXPECT_EQ(small.dirty_cell_count(), 64U);
  EXPECT_TRUE(small.build_base({1, 3}));
}

// Deltas of one pool each: each row is written again about log2(pools) times, and segments are as few.
TEST(RankingBuilderTest, DeltasTakeInThoseBeforeThemAsTheyAddUp) {
  for (const unsigned most : {24U, 3U, 1U, 1000U}) {
    constexpr std::uint32_t pools = 128;
    auto b = builder(
        pools, 2,
        {.delta_segments_max = most, .delta_share_max = 1000, .delta_bytes_free = 1U << 30});
    Reader reader;
    reader.take_base(b.build_base({1, 1}));
    b.commit();
    std::uint64_t bytes = 0;
    for (std::uint32_t turn = 0; turn < 2 * pools; ++turn) {
      ASSERT_TRUE(b.set(turn % pools, 1, one(turn)));
      auto delta = b.build_delta({1, 2 + turn});
      ASSERT_TRUE(delta) << delta.error().text();
      bytes += delta->size();
      reader.take_delta(std::move(delta));
      b.commit();
      ASSERT_EQ(reader.view->segment_count(), b.segment_count());
      ASSERT_LE(b.segment_count(), std::min(1 + most, 9U));
      for (std::uint32_t pool = 0; pool < pools && turn % 37 == 0; ++pool) {
        const auto last = pool <= turn % pools ? turn - turn % pools + pool
                          : turn < pools       ? pool
                                               : turn - turn % pools - pools + pool;
        if (pool > turn) {
          ASSERT_EQ(reader.answer(pool, 1), nullptr);
        } else {
          expect_answer(reader.answer(pool, 1), one(last), 0);
        }
        ASSERT_FALSE(HasFailure()) << "pool " << pool << " turn " << turn << " most " << most;
      }
    }
    if (most > 8) {
      EXPECT_LT(bytes, 2 * pools * 9 * 300);
    }
  }
}

// A delta takes in few rows of others while there is a free place, and all that add up where there is none.
TEST(RankingBuilderTest, ADeltaTakesInNoMoreRowsThanItMayAndTheRestIsMergedLater) {
  constexpr std::uint32_t pools = 128, most = 10, rows_max = 4;
  for (const bool tidies : {false, true}) {
    auto b = builder(pools, 2,
                     {.delta_segments_max = most,
                      .delta_share_max = 1000,
                      .delta_bytes_free = 1U << 30,
                      .merged_rows_max = rows_max});
    Reader reader;
    reader.take_base(b.build_base({1, 1}));
    b.commit();
    EXPECT_FALSE(b.untidy());
    std::uint64_t generation = 1;
    unsigned merges = 0;
    for (std::uint32_t pool = 0; pool < pools; ++pool) {
      ASSERT_TRUE(b.set(pool, 1, one(pool)));
      const bool full = b.segment_count() > most;
      auto delta = b.build_delta({1, ++generation});
      ASSERT_TRUE(delta) << delta.error().text();
      if (!full) {
        ASSERT_LE(delta->size(), 1024U) << "row " << pool;  // of five rows, some 100 bytes each
      }
      reader.take_delta(std::move(delta));
      b.commit();
      ASSERT_LE(b.segment_count(), most + 1);
      ASSERT_EQ(reader.view->segment_count(), b.segment_count());
      if (!tidies || !b.untidy()) continue;
      ASSERT_GT(b.segment_count(), most / 2);
      const auto merged = b.draft_merged({1, ++generation});
      ASSERT_TRUE(merged) << merged.error().text();
      reader.take_delta(merged->buffer());
      b.commit();
      EXPECT_FALSE(b.untidy());
      EXPECT_FALSE(b.dirty());
      ++merges;
    }
    EXPECT_EQ(merges > 0, tidies);
    for (std::uint32_t pool = 0; pool < pools; ++pool)
      expect_answer(reader.answer(pool, 1), one(pool), 0);
  }
}

TEST(RankingBuilderTest, AChainOfSegmentsIsSoundByItselfAfterMerges) {
  Random random(3);
  auto b = builder(10, 3, {.delta_share_max = 1000, .delta_bytes_free = 1U << 30});
  std::vector<ImageBuffer> chain;
  chain.push_back(b.build_base({1, 1}).value());
  b.commit();
  for (std::uint64_t generation = 2; generation < 60; ++generation) {
    for (std::uint32_t i = 0; i <= random.below(3); ++i) {
      ASSERT_TRUE(
          b.set(random.below(10), static_cast<std::uint16_t>(random.below(3)), random.content()));
    }
    auto delta = b.build_delta({1, generation});
    ASSERT_TRUE(delta) << delta.error().text();
    b.commit();
    chain.resize(b.segment_count() - 1);
    chain.push_back(std::move(*delta));
    auto view = View::prove_base(chain[0]).value();
    for (std::size_t i = 1; i < chain.size(); ++i) {
      auto next = view.prove_delta(chain[i]);
      ASSERT_TRUE(next) << generation << ": " << next.error().text();
      view = std::move(*next);
    }
    EXPECT_EQ(view.version(), (Version{1, generation}));
  }
}

TEST(RankingBuilderTest, RefusesBadContentAndKeepsTheOld) {
  auto b = builder(1, 1);
  ASSERT_TRUE(b.set(0, 0, one(1)));
  EXPECT_EQ(b.set(1, 0, one(2)).error().code, ErrorCode::not_found);
  EXPECT_EQ(b.set(0, 1, one(2)).error().code, ErrorCode::not_found);
  EXPECT_FALSE(b.set(0, 0, {type_a, 1, {{address(1)}, {address(2)}, {address(3)}}}));
  EXPECT_FALSE(b.set(0, 0, {type_a, 1, {{address(1)}, {}}}));
  EXPECT_FALSE(b.set(0, 0, {type_aaaa, 1, {{address(1)}}}));
  EXPECT_FALSE(b.set(0, 0, {type_a, 1, {{address(1)}, {IpAddress::parse("2001:db8::1").value()}}}));
  EXPECT_FALSE(b.set(0, 0, {type_a, 1, std::vector<std::vector<IpAddress>>(2048, {address(1)})}));
  EXPECT_FALSE(b.set(0, 0, {type_a, 0x80000000, {{address(1)}}}));
  EXPECT_EQ(b.set(0, 0, {type_a, 1, {{address(1)}, {}}}).error().where,
            "pool pool0, locale locale0");
  Reader reader;
  reader.take_base(b.build_base({1, 1}));
  expect_answer(reader.answer(0, 0), one(1), 0);
}

TEST(RankingBuilderTest, SlotsThatRepeatFoldAndEqualSlotsBecomeOneAnswer) {
  auto b = builder(3, 1);
  const CellContent folded{type_a, 9, {{address(1)}, {address(2)}, {address(1)}, {address(2)}}};
  const CellContent equal{type_a, 9, {{address(1)}, {address(1)}, {address(1)}, {address(1)}}};
  const CellContent distinct{type_a, 9, {{address(1)}, {address(2)}, {address(2)}, {address(1)}}};
  ASSERT_TRUE(b.set(0, 0, folded));
  ASSERT_TRUE(b.set(1, 0, equal));
  ASSERT_TRUE(b.set(2, 0, distinct));
  Reader reader;
  reader.take_base(b.build_base({1, 1}));
  const auto log2_of = [&](std::uint32_t pool) {
    return reinterpret_cast<const ranking::SlotTable*>(reader.view->at(reader.view->row(pool)[0]))
        ->slot_count_log2;
  };
  EXPECT_EQ(log2_of(0), 1);
  EXPECT_FALSE(ranking::is_slotted(reader.view->row(1)[0]));
  EXPECT_EQ(log2_of(2), 2);
  for (std::uint32_t hash = 0; hash < 8; ++hash) {
    expect_answer(reader.answer(0, 0, hash), folded, hash);
    expect_answer(reader.answer(1, 0, hash), equal, hash);
    expect_answer(reader.answer(2, 0, hash), distinct, hash);
  }
}

TEST(RankingBuilderTest, EqualAnswersAndRowsAreStoredOnce) {
  auto b = builder(100, 50);
  for (std::uint32_t pool = 0; pool < 100; ++pool) {
    for (std::uint16_t locale = 0; locale < 50; ++locale)
      ASSERT_TRUE(b.set(pool, locale, one(locale % 2)));
  }
  Reader reader;
  reader.take_base(b.build_base({1, 1}));
  for (std::uint32_t pool = 1; pool < 100; ++pool)
    EXPECT_EQ(reader.view->row(pool), reader.view->row(0));
  EXPECT_EQ(reader.view->row(0)[0], reader.view->row(0)[48]);
  EXPECT_NE(reader.view->row(0)[0], reader.view->row(0)[1]);
}

TEST(RankingBuilderTest, AnAnswerTouchesNoMoreCacheLinesThanItsSizeNeeds) {
  auto b = builder(1, 40);
  for (std::uint16_t locale = 0; locale < 40; ++locale) {
    CellContent content{type_a, 30, {{}}};
    for (unsigned i = 0; i < 1U + locale % 9; ++i)
      content.slots[0].push_back(address(locale * 10U + i));
    ASSERT_TRUE(b.set(0, locale, content));
  }
  Reader reader;
  reader.take_base(b.build_base({1, 1}));
  for (std::uint32_t locale = 0; locale < 40; ++locale) {
    const Answer* answer = reader.answer(0, locale);
    const auto start = reinterpret_cast<std::uintptr_t>(answer);
    const auto size = answer_record_bytes(answer->body_bytes, answer->relocation_count);
    EXPECT_EQ((start + size - 1) / 64 - start / 64 + 1, (size + 63) / 64) << locale;
  }
}

// Everything at once, as an engine and a data plane would do it.
TEST(RankingBuilderTest, ARandomLifeAgreesWithAPlainMap) {
  constexpr std::uint32_t pools = 12;
  constexpr std::uint16_t locales = 5;
  for (unsigned seed = 1; seed <= 8; ++seed) {
    Random random(seed);
    auto b = builder(pools, locales,
                     {.delta_segments_max = 1 + random.below(31),
                      .delta_share_max = 0.6,
                      .delta_bytes_free = random.below(3) * 4096});
    using Model = std::map<std::pair<std::uint32_t, std::uint16_t>, CellContent>;
    Model wanted;
    Model published;
    Reader reader;
    unsigned bases = 0;
    unsigned deltas = 0;
    const auto set_some = [&](std::uint32_t count) {
      for (std::uint32_t i = 0; i < count; ++i) {
        const auto pool = random.below(pools);
        const auto locale = static_cast<std::uint16_t>(random.below(locales));
        const auto content = random.below(8) == 0 ? published[{pool, locale}] : random.content();
        ASSERT_TRUE(b.set(pool, locale, content));
        wanted[{pool, locale}] = content;
      }
    };
    for (std::uint64_t generation = 1; generation < 80; ++generation) {
      set_some(random.below(6));
      auto image = b.build_delta({1, generation});
      const bool is_base = !image;
      if (is_base) {
        ASSERT_EQ(image.error().code, ErrorCode::exhausted);
        image = b.build_base({1, generation});
      }
      // set_some changes `wanted`: NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
      Model built = wanted;
      set_some(random.below(3));  // while it is on its way
      if (random.below(5) == 0) {
        b.rollback();
        continue;
      }
      is_base ? reader.take_base(std::move(image)) : reader.take_delta(std::move(image));
      if (HasFatalFailure()) return;
      b.commit();
      (is_base ? bases : deltas) += 1;
      published = built;
      for (std::uint32_t pool = 0; pool < pools; ++pool) {
        for (std::uint16_t locale = 0; locale < locales; ++locale) {
          for (std::uint32_t hash = 0; hash < 32; ++hash) {
            expect_answer(reader.answer(pool, locale, hash), published[{pool, locale}], hash);
            ASSERT_FALSE(HasFatalFailure()) << "seed " << seed << " generation " << generation
                                            << " pool " << pool << " locale " << locale;
          }
        }
      }
    }
    EXPECT_GT(bases, 1U) << seed;
    EXPECT_GT(deltas, 10U) << seed;
  }
}

TEST(RankingBuilderTest, EqualCallsGiveEqualBytes) {
  const auto life = [](unsigned detours) {
    Random random(5);
    auto b = builder(6, 4);
    std::vector<ImageBuffer> images;
    for (std::uint64_t generation = 1; generation < 8; ++generation) {
      for (unsigned i = 0; i < 10; ++i) {
        const auto pool = random.below(6);
        const auto locale = static_cast<std::uint16_t>(random.below(4));
        const auto content = random.content();
        // Contents that come and go give the store another past, but the same present.
        for (unsigned d = 0; d < detours; ++d) EXPECT_TRUE(b.set(pool, locale, one(200 + d)));
        EXPECT_TRUE(b.set(pool, locale, content));
      }
      images.push_back(generation % 4 == 1 ? b.build_base({1, generation}).value()
                                           : b.build_delta({1, generation}).value());
      b.commit();
    }
    return images;
  };
  EXPECT_EQ(life(0), life(0));
  EXPECT_EQ(life(0), life(3));
}

}  // namespace
}  // namespace pharos
