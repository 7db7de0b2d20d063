// Ranking images: bases and deltas that are proven, and the many ways of not being.
#include "pharos/shared/ranking_image.hh"

#include <gtest/gtest.h>

#include <algorithm>

#include "test_images.hh"

namespace pharos::ranking {
namespace {

using test_images::assemble_ranking;
using test_images::first_address;
using test_images::make_base;
using test_images::make_delta;
using test_images::Records;

constexpr Version v1{1, 1};
constexpr Version v2{1, 2};
constexpr Version v3{1, 3};

constexpr std::uint32_t cell_number(std::uint32_t pool, std::uint32_t locale) {
  return pool * 100 + locale;
}

std::uint32_t address_in(const View& view, std::uint32_t pool, std::uint32_t locale,
                         std::uint32_t hash = 0) {
  const Answer* answer = view.answer(view.row(pool)[locale], hash);
  return answer == nullptr ? 0 : first_address(*answer);
}

// A base of one pool and two locales from hand-made cells.
template <typename Fill>
Result<View> base_of(Fill&& fill) {
  Records records(0);
  std::vector<Ref> cells = {0, 0};
  Ref row = fill(records, cells);
  if (row == 0) row = records.add_row(cells);
  const RowEntry rows[] = {{0, row}};
  static ImageBuffer image;  // the view borrows it until the next call
  image = assemble_ranking(v1, {1, 2, 0, 0, v1, v1}, rows, records.bytes(), 7);
  return View::prove_base(image);
}

// A delta on `onto` likewise.
template <typename Fill>
Result<View> delta_of(const View& onto, Fill&& fill) {
  Records records(onto.segment_count());
  std::vector<Ref> cells = {0, 0};
  fill(records, cells);
  const RowEntry rows[] = {{0, records.add_row(cells)}};
  static ImageBuffer image;
  image = assemble_ranking(v2, {1, 2, onto.segment_count(), 0, v1, onto.version()}, rows,
                           records.bytes(), 7);
  return onto.prove_delta(image);
}

constexpr std::uint32_t ten[] = {10};
constexpr std::uint32_t twenty[] = {20};

TEST(RankingImageTest, AnswersWhatTheBaseSays) {
  const auto image = make_base(v1, 5, 3, cell_number);
  const auto view = View::prove_base(image);
  ASSERT_TRUE(view) << view.error().text();
  EXPECT_EQ(view->version(), v1);
  EXPECT_EQ(view->pool_count(), 5U);
  EXPECT_EQ(view->locale_count(), 3U);
  for (std::uint32_t pool = 0; pool < 5; ++pool) {
    for (std::uint32_t locale = 0; locale < 3; ++locale) {
      EXPECT_EQ(address_in(*view, pool, locale), cell_number(pool, locale));
    }
  }
}

TEST(RankingImageTest, PicksAnswersBySlot) {
  const auto view = base_of([](Records& records, std::vector<Ref>& cells) {
    const Ref answers[] = {records.add_answer(60, ten), records.add_answer(60, twenty)};
    cells[1] = records.add_slots(answers);
    return Ref{0};
  });
  ASSERT_TRUE(view) << view.error().text();
  EXPECT_EQ(address_in(*view, 0, 0), 0U);
  EXPECT_EQ(address_in(*view, 0, 1, 4), 10U);
  EXPECT_EQ(address_in(*view, 0, 1, 7), 20U);
}

TEST(RankingImageTest, AcceptsABaseWithoutPools) {
  EXPECT_TRUE(View::prove_base(make_base(v1, 0, 1, cell_number)));
  EXPECT_FALSE(View::prove_base(make_base(v1, 0, 0, cell_number)));
}

TEST(RankingImageTest, PutsADeltaOnTop) {
  const auto base = make_base(v1, 5, 3, cell_number);
  const auto view = View::prove_base(base);
  const std::uint32_t changed[] = {1, 4};
  const auto delta =
      make_delta(v2, *view, changed, [](auto, auto locale) { return 9000 + locale; });
  const auto next = view->prove_delta(delta);
  ASSERT_TRUE(next) << next.error().text();
  EXPECT_EQ(next->version(), v2);
  EXPECT_EQ(next->base_version(), v1);
  EXPECT_EQ(next->segment_count(), 2U);
  EXPECT_EQ(address_in(*next, 4, 2), 9002U);
  EXPECT_EQ(address_in(*next, 3, 2), cell_number(3, 2));
  EXPECT_EQ(address_in(*view, 4, 2), cell_number(4, 2));  // the former view stays as it was
}

TEST(RankingImageTest, TakesThirtyOneDeltasAndNoMore) {
  std::vector<ImageBuffer> images = {make_base(v1, 2, 1, cell_number)};
  auto view = View::prove_base(images[0]);
  const std::uint32_t changed[] = {1};
  for (std::uint32_t i = 1; i < segments_max; ++i) {
    images.push_back(make_delta({1, 1 + i}, *view, changed, [i](auto, auto) { return i; }));
    auto next = view->prove_delta(images.back());
    ASSERT_TRUE(next) << next.error().text();
    EXPECT_EQ(address_in(*next, 1, 0), i);
    view = std::move(next);
  }
  const auto one_more = make_delta({1, 99}, *view, changed, cell_number);
  EXPECT_EQ(view->prove_delta(one_more).error().code, ErrorCode::conflict);
}

// A base of six pools, and deltas of pools 1, 2 and 1 again on it.
struct Stack {
  std::vector<ImageBuffer> images;
  View view;

  Stack() {
    images.push_back(make_base(v1, 6, 2, cell_number));
    view = View::prove_base(images[0]).value();
    for (const std::uint32_t pool : {1U, 2U, 1U}) {
      const std::uint32_t changed[] = {pool};
      const Version version{1, 1 + images.size()};
      const auto number = [&](auto, auto) {
        return static_cast<std::uint32_t>(version.generation);
      };
      images.push_back(make_delta(version, view, changed, number));
      view = view.prove_delta(images.back()).value();
    }
  }
  // A delta of these pools at `segment`, on the version below it.
  [[nodiscard]] static ImageBuffer delta_at(std::uint32_t segment,
                                            std::span<const std::uint32_t> pools) {
    return test_images::make_ranking(
        {1, 9}, {6, 2, segment, 0, v1, {1, segment}}, pools,
        [](auto pool, auto) { return 900 + pool; }, 7);
  }
};

TEST(RankingImageTest, ADeltaTakesThePlaceOfTheNewestOnes) {
  const Stack stack;
  const std::uint32_t pools[] = {1, 2, 4};
  const auto merged = Stack::delta_at(2, pools);
  const auto view = stack.view.prove_delta(merged);
  ASSERT_TRUE(view) << view.error().text();
  EXPECT_EQ(view->segment_count(), 3U);
  EXPECT_EQ(view->version(), (Version{1, 9}));
  EXPECT_EQ(view->version_of(1), v2);
  EXPECT_EQ(view->version_of(2), (Version{1, 9}));
  for (const std::uint32_t pool : {0U, 1U, 2U, 3U, 4U, 5U}) {
    const bool written = pool == 1 || pool == 2 || pool == 4;
    EXPECT_EQ(address_in(*view, pool, 1), written ? 900 + pool : cell_number(pool, 1));
  }
  // As from a disk: base, first delta, and the one that took the place of the others.
  const auto first = View::prove_base(stack.images[0])->prove_delta(stack.images[1]);
  const auto loaded = first->prove_delta(merged);
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(address_in(*loaded, 2, 0), 902U);
}

TEST(RankingImageTest, RefusesADeltaThatLeavesARowOfTheSegmentsThatItReplaces) {
  const Stack stack;
  const std::uint32_t all[] = {1, 2}, without_2[] = {1, 4}, without_1[] = {2};
  EXPECT_TRUE(stack.view.prove_delta(Stack::delta_at(1, all)));
  EXPECT_FALSE(stack.view.prove_delta(Stack::delta_at(1, without_2)));
  EXPECT_FALSE(stack.view.prove_delta(Stack::delta_at(2, without_1)));
  EXPECT_TRUE(stack.view.prove_delta(Stack::delta_at(3, without_2))) << "2 lies below";
  EXPECT_FALSE(stack.view.prove_delta(Stack::delta_at(0, all)));
  EXPECT_FALSE(stack.view.prove_delta(Stack::delta_at(5, all)));
}

TEST(RankingImageTest, CarriesOnlyFromBelowWhereItReplaces) {
  const Stack stack;
  const auto at = [&](std::uint32_t segment, std::uint32_t pool, std::uint32_t other) {
    Records records(segment);
    const std::vector<Ref> cells(stack.view.row(pool), stack.view.row(pool) + 2);
    RowEntry rows[] = {{pool, records.add_row(cells)}, {other, 0}};
    const std::vector<Ref> others(2, records.add_answer(5, twenty));
    rows[1].row = records.add_row(others);
    std::ranges::sort(rows, {}, &RowEntry::pool);
    const auto image =
        assemble_ranking({1, 9}, {6, 2, segment, 0, v1, {1, segment}}, rows, records.bytes(), 7);
    return static_cast<bool>(stack.view.prove_delta(image));
  };
  EXPECT_TRUE(at(4, 1, 3)) << "on top, all are below";
  EXPECT_TRUE(at(3, 2, 1)) << "in segment 2";
  EXPECT_FALSE(at(2, 2, 1)) << "in the segment that is replaced";
  EXPECT_FALSE(at(2, 1, 2)) << "in one above it";
}

TEST(RankingImageTest, RefusesADeltaOutOfStep) {
  const auto base = make_base(v1, 2, 1, cell_number);
  const auto view = View::prove_base(base);
  const std::uint32_t changed[] = {1};
  const auto code_of = [&](Version version, Summary summary, std::uint64_t content_id) {
    const auto image =
        test_images::make_ranking(version, summary, changed, cell_number, content_id);
    const auto next = view->prove_delta(image);
    return next ? "adopted" : name_of(next.error().code);
  };
  const Summary good{2, 1, 1, 0, v1, v1};
  EXPECT_EQ(code_of(v2, good, 7), "adopted");
  EXPECT_EQ(code_of(v1, good, 7), "conflict");
  EXPECT_EQ(code_of({0, 9}, good, 7), "conflict");
  EXPECT_EQ(code_of(v3, {2, 1, 1, 0, v1, v2}, 7), "conflict");
  EXPECT_EQ(code_of(v3, {2, 1, 1, 0, v2, v1}, 7), "conflict");
  EXPECT_EQ(code_of(v2, {2, 1, 2, 0, v1, v1}, 7), "conflict");
  EXPECT_EQ(code_of(v2, good, 8), "conflict");
  EXPECT_EQ(code_of(v2, {3, 1, 1, 0, v1, v1}, 7), "invalid");
  EXPECT_EQ(code_of(v2, {2, 2, 1, 0, v1, v1}, 7), "invalid");
  EXPECT_EQ(code_of(v2, {2, 1, 1, 1, v1, v1}, 7), "invalid");
}

TEST(RankingImageTest, RefusesRowsThatAreMissingTwiceOrUnknown) {
  const auto rows_of = [](std::vector<std::uint32_t> pools, std::uint32_t pool_count) {
    const auto image =
        test_images::make_ranking(v1, {pool_count, 1, 0, 0, v1, v1}, pools, cell_number, 7);
    return View::prove_base(image).has_value();
  };
  EXPECT_TRUE(rows_of({0, 1, 2}, 3));
  EXPECT_FALSE(rows_of({0, 1}, 3));
  EXPECT_FALSE(rows_of({0, 1, 2, 3}, 3));
  EXPECT_FALSE(rows_of({0, 1, 1}, 3));
  EXPECT_FALSE(rows_of({0, 2, 1}, 3));
  EXPECT_FALSE(rows_of({1, 2, 3}, 3));

  const auto base = make_base(v1, 3, 1, cell_number);
  const auto view = View::prove_base(base);
  const auto delta_rows = [&](std::vector<std::uint32_t> pools) {
    const auto image = make_delta(v2, *view, pools, cell_number);
    return view->prove_delta(image).has_value();
  };
  EXPECT_TRUE(delta_rows({}));
  EXPECT_TRUE(delta_rows({0, 2}));
  EXPECT_FALSE(delta_rows({2, 0}));
  EXPECT_FALSE(delta_rows({1, 1}));
  EXPECT_FALSE(delta_rows({3}));
}

TEST(RankingImageTest, RefusesRefsThatLeadOutside) {
  const auto with_cell = [](auto&& cell_of) {
    return base_of([&](Records& records, std::vector<Ref>& cells) {
             const Ref answer = records.add_answer(60, ten);
             cells[0] = answer;
             cells[1] = cell_of(answer, records);
             return Ref{0};
           })
        .has_value();
  };
  EXPECT_TRUE(with_cell([](Ref answer, auto&) { return answer; }));
  EXPECT_FALSE(with_cell([](Ref, auto&) { return offset_mask; }));
  EXPECT_FALSE(with_cell([](Ref answer, auto&) { return answer | 1U << segment_shift; }));
  EXPECT_FALSE(with_cell([](Ref answer, auto&) { return answer | 31U << segment_shift; }));
  EXPECT_FALSE(with_cell([](Ref answer, auto&) { return answer | slotted_bit; }));
  EXPECT_FALSE(with_cell([](Ref answer, auto&) { return answer + 1; }));  // inside of the answer
  EXPECT_FALSE(
      with_cell([](Ref, auto& records) { return make_ref(0, records.bytes().size(), false); }));
}

TEST(RankingImageTest, RefusesRowsThatLeadOutside) {
  const auto with_row = [](auto&& row_of) {
    return base_of([&](Records& records, std::vector<Ref>& cells) {
             cells[0] = cells[1] = records.add_answer(60, ten);
             return row_of(records.add_row(cells), records);
           })
        .has_value();
  };
  EXPECT_TRUE(with_row([](Ref row, auto&) { return row; }));
  EXPECT_FALSE(with_row([](Ref row, auto&) { return row | slotted_bit; }));
  EXPECT_FALSE(with_row([](Ref row, auto&) { return row + 1; }));
  EXPECT_FALSE(with_row([](Ref row, auto&) { return row - 2; }));  // inside of the answer
  EXPECT_FALSE(with_row([](Ref row, auto&) { return row | 1U << segment_shift; }));
  EXPECT_FALSE(with_row([](Ref, auto&) { return offset_mask; }));
}

TEST(RankingImageTest, RefusesSlotTablesThatAreNotSound) {
  const auto with_table = [](std::uint16_t log2, std::uint16_t reserved, auto&& slots_of) {
    return base_of([&](Records& records, std::vector<Ref>& cells) {
             const std::vector<Ref> slots = slots_of(records.add_answer(60, ten));
             std::vector<std::byte> bytes;
             test_images::append_object(bytes, SlotTable{log2, reserved});
             test_images::append(bytes, std::as_bytes(std::span(slots)));
             const Ref row_place = 0;
             cells[0] = records.add(bytes, true);
             return row_place;
           })
        .has_value();
  };
  EXPECT_TRUE(with_table(1, 0, [](Ref answer) { return std::vector{answer, answer}; }));
  EXPECT_FALSE(with_table(1, 1, [](Ref answer) { return std::vector{answer, answer}; }));
  EXPECT_FALSE(with_table(11, 0, [](Ref answer) { return std::vector<Ref>(2048, answer); }));
  EXPECT_TRUE(with_table(10, 0, [](Ref answer) { return std::vector<Ref>(1024, answer); }));
  EXPECT_FALSE(with_table(10, 0, [](Ref answer) { return std::vector<Ref>(900, answer); }));
  EXPECT_FALSE(with_table(0xffff, 0, [](Ref answer) { return std::vector{answer}; }));
  EXPECT_FALSE(with_table(1, 0, [](Ref answer) { return std::vector{answer, Ref{0}}; }));
  EXPECT_FALSE(
      with_table(1, 0, [](Ref answer) { return std::vector{answer, answer | slotted_bit}; }));
  EXPECT_FALSE(with_table(
      1, 0, [](Ref answer) { return std::vector{answer, answer | 1U << segment_shift}; }));
}

TEST(RankingImageTest, RefusesAnAnswerThatIsNotSound) {
  const auto view = base_of([](Records& records, std::vector<Ref>& cells) {
    auto answer = test_images::a_answer(60, ten);
    answer.back() ^= std::byte{1};
    cells[0] = records.add(answer);
    return Ref{0};
  });
  EXPECT_FALSE(view);
}

TEST(RankingImageTest, LetsPoolsShareRowsOfABase) {
  Records records(0);
  const Ref cells[] = {records.add_answer(60, ten)};
  const Ref row = records.add_row(cells);
  const RowEntry rows[] = {{0, row}, {1, row}};
  const auto image = assemble_ranking(v1, {2, 1, 0, 0, v1, v1}, rows, records.bytes(), 7);
  EXPECT_TRUE(View::prove_base(image));
}

class RankingCarryTest : public testing::Test {
 protected:
  // Cell 0: one answer. Cell 1: two slots.
  RankingCarryTest() {
    Records records(0);
    plain_ = records.add_answer(60, ten);
    slots_[0] = records.add_answer(60, ten);
    slots_[1] = records.add_answer(60, twenty);
    const Ref cells[] = {plain_, table_ = records.add_slots(slots_)};
    const RowEntry rows[] = {{0, records.add_row(cells)}};
    image_ = assemble_ranking(v1, {1, 2, 0, 0, v1, v1}, rows, records.bytes(), 7);
    view_ = *View::prove_base(image_);
  }
  template <typename Fill>
  bool adopts(Fill&& fill) {
    return delta_of(view_, fill).has_value();
  }

  ImageBuffer image_;
  View view_;
  Ref plain_ = 0;
  Ref table_ = 0;
  Ref slots_[2] = {};
};

TEST_F(RankingCarryTest, CarriesCellsThatStayAsTheyAre) {
  EXPECT_TRUE(adopts([&](Records&, auto& cells) { cells = {plain_, table_}; }));
  EXPECT_TRUE(adopts([&](Records&, auto& cells) { cells = {0, table_}; }));
  EXPECT_TRUE(adopts([&](Records& r, auto& cells) { cells = {r.add_answer(5, twenty), table_}; }));
}

TEST_F(RankingCarryTest, RefusesARefThatNamesSomethingElseOfAnOlderSegment) {
  EXPECT_FALSE(adopts([&](Records&, auto& cells) { cells = {table_, table_}; }));
  EXPECT_FALSE(adopts([&](Records&, auto& cells) { cells = {slots_[0], table_}; }));
  EXPECT_FALSE(adopts([&](Records&, auto& cells) { cells = {plain_, plain_}; }));
  EXPECT_FALSE(adopts([&](Records&, auto& cells) { cells = {plain_, table_ & ~slotted_bit}; }));
  EXPECT_FALSE(adopts([&](Records&, auto& cells) { cells = {make_ref(5, 16, false), table_}; }));
}

TEST_F(RankingCarryTest, CarriesSingleSlots) {
  const auto with_slots = [&](auto&& slots_of) {
    return adopts([&](Records& r, auto& cells) {
      const std::vector<Ref> slots = slots_of(r.add_answer(5, twenty));
      cells = {plain_, r.add_slots(slots)};
    });
  };
  EXPECT_TRUE(with_slots([&](Ref fresh) { return std::vector{fresh, slots_[1]}; }));
  EXPECT_TRUE(with_slots([&](Ref fresh) { return std::vector{slots_[0], fresh}; }));
  EXPECT_FALSE(with_slots([&](Ref fresh) { return std::vector{slots_[1], fresh}; }));
  EXPECT_FALSE(with_slots([&](Ref) { return std::vector{slots_[0]}; }));  // of another slot count
  EXPECT_FALSE(with_slots([&](Ref fresh) { return std::vector{plain_, fresh}; }));
}

TEST_F(RankingCarryTest, SharesNoSlotTableThatCarries) {
  const auto with_both = [&](bool carry) {
    return adopts([&](Records& r, auto& cells) {
      const Ref fresh = r.add_answer(5, twenty);
      const Ref slots[] = {fresh, carry ? slots_[1] : fresh};
      const Ref table = r.add_slots(slots);
      cells = {table, table};
    });
  };
  EXPECT_TRUE(with_both(false));
  EXPECT_FALSE(with_both(true));
}

TEST(RankingImageTest, SharesNoRowThatCarries) {
  Records base_records(0);
  const Ref base_cells[] = {base_records.add_answer(60, ten), base_records.add_answer(60, ten)};
  const Ref base_row = base_records.add_row(base_cells);
  const RowEntry base_rows[] = {{0, base_row}, {1, base_row}};
  const auto base = assemble_ranking(v1, {2, 2, 0, 0, v1, v1}, base_rows, base_records.bytes(), 7);
  const auto view = View::prove_base(base);
  ASSERT_TRUE(view);
  for (const bool carry : {false, true}) {
    Records records(1);
    const Ref fresh = records.add_answer(60, twenty);
    const Ref cells[] = {fresh, carry ? base_cells[1] : fresh};
    const Ref row = records.add_row(cells);
    const RowEntry rows[] = {{0, row}, {1, row}};
    const auto delta = assemble_ranking(v2, {2, 2, 1, 0, v1, v1}, rows, records.bytes(), 7);
    EXPECT_EQ(view->prove_delta(delta).has_value(), !carry);
  }
}

TEST(RankingImageTest, WantsOneNameForEachPoolOrNone) {
  const auto with_names = [](std::string_view names) {
    Records records(0);
    const Ref cells[] = {records.add_answer(60, ten)};
    const RowEntry rows[] = {{0, records.add_row(cells)}, {1, records.add_row(cells)}};
    const auto image = assemble_ranking(v1, {2, 1, 0, 0, v1, v1}, rows, records.bytes(), 7, names);
    return View::prove_base(image).has_value();
  };
  EXPECT_TRUE(with_names(""));
  EXPECT_TRUE(
      with_names("\x03"
                 "one"
                 "\x03"
                 "two"));
  EXPECT_FALSE(
      with_names("\x03"
                 "one"));
  EXPECT_FALSE(
      with_names("\x03"
                 "one"
                 "\x04"
                 "two"));
  EXPECT_FALSE(
      with_names("\x03"
                 "one"
                 "\x02"
                 "two"));
}

TEST(RankingImageTest, DumpsWhatClientsGet) {
  const auto base = make_base(v1, 2, 3, [](auto pool, auto) { return 0xc0000200 + pool; });
  const auto view = View::prove_base(base);
  ASSERT_TRUE(view);
  const auto text = dump(base);
  EXPECT_NE(text.find("ranking base version 1.1"), std::string::npos) << text;
  EXPECT_NE(text.find("192.0.2.1"), std::string::npos) << text;
  const std::uint32_t changed[] = {1};
  const auto delta = make_delta(v2, *view, changed, cell_number);
  EXPECT_NE(dump(delta).find("follows 1.1"), std::string::npos) << dump(delta);
}

TEST(RankingImageTest, RefusesEveryTruncation) {
  const auto image = make_base(v1, 2, 2, cell_number);
  for (std::size_t length = 0; length < image.size(); ++length) {
    const ImageBuffer cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(View::prove_base(cut)) << length;
  }
}

TEST(RankingImageTest, ContentIdDependsOnBothAndOnTheirOrder) {
  EXPECT_EQ(content_id_for(1, 2), content_id_for(1, 2));
  EXPECT_NE(content_id_for(1, 2), content_id_for(2, 1));
  EXPECT_NE(content_id_for(1, 2), content_id_for(1, 3));
  EXPECT_NE(content_id_for(0, 0), content_id_for(0, 1));
}

}  // namespace
}  // namespace pharos::ranking
