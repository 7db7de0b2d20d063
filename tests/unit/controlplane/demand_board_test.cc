#include "pharos/controlplane/assign/demand_board.hh"

#include <gtest/gtest.h>

namespace pharos::controlplane {
namespace {

constexpr Instant start{1'000'000'000};

TEST(DemandBoardTest, TurnsWeightsIntoRates) {
  DemandBoard board(2, 3, seconds(30));
  board.heard(1, 2, 999);  // before anybody looked at a clock
  board.tick(start);
  EXPECT_FALSE(board.known());
  board.heard(1, 2, 500);
  board.heard(1, 2, 500);
  board.heard(0, 0, 10);
  board.tick(start + seconds(10));
  EXPECT_TRUE(board.known());
  EXPECT_NEAR(board.rate(1, 2), 100, 1e-9) << "the first rate is not held down by the empty past";
  EXPECT_NEAR(board.rate(0, 0), 1, 1e-9);
  EXPECT_EQ(board.rate(0, 1), 0);
}

TEST(DemandBoardTest, ForgetsOverItsWindow) {
  DemandBoard board(1, 1, seconds(30));
  board.tick(start);
  Instant now = start;
  for (int i = 0; i < 30; ++i) {
    board.heard(0, 0, 1000);
    board.tick(now = now + seconds(5));
  }
  EXPECT_NEAR(board.rate(0, 0), 200, 0.01);
  for (int i = 0; i < 6; ++i) board.tick(now = now + seconds(5));  // one window of silence
  EXPECT_NEAR(board.rate(0, 0), 200 * 0.3679 / 1, 2);
}

TEST(DemandBoardTest, IgnoresWhatIsNotThere) {
  DemandBoard board(2, 2, seconds(30));
  board.tick(start);
  board.heard(2, 0, 5);
  board.heard(0, 2, 5);
  board.heard(0xffffffff, 0xffff, 5);
  board.tick(start + seconds(1));
  for (std::uint32_t p = 0; p < 2; ++p) {
    for (std::uint16_t l = 0; l < 2; ++l) EXPECT_EQ(board.rate(p, l), 0);
  }
  EXPECT_EQ(board.rate(7, 7), 0);
  DemandBoard{}.heard(0, 0, 1);
}

TEST(DemandBoardTest, ARestartDropsWhatIsLate) {
  DemandBoard board(1, 1, seconds(30));
  board.tick(start);
  board.heard(0, 0, 100);
  board.tick(start + seconds(1));
  board.heard(0, 0, 1'000'000);
  board.restart();
  board.heard(0, 0, 1'000'000);  // the rest of what was kept
  board.tick(start + seconds(20));
  EXPECT_NEAR(board.rate(0, 0), 100, 1e-9);
  board.heard(0, 0, 100);
  board.tick(start + seconds(21));
  EXPECT_NEAR(board.rate(0, 0), 100, 1e-9);
}

TEST(DemandBoardTest, TimeThatStandsStillDividesByNothing) {
  DemandBoard board(1, 1, seconds(30));
  board.tick(start);
  board.heard(0, 0, 100);
  board.tick(start);
  board.tick(start - seconds(5));
  EXPECT_EQ(board.rate(0, 0), 0);
  board.tick(start + seconds(10));
  EXPECT_NEAR(board.rate(0, 0), 10, 1e-9) << "what was heard is kept";
}

}  // namespace
}  // namespace pharos::controlplane
