// Queries in, replies out: serve_burst as a table. Every row says what the reply reads like and which counters moved;
// all others must have stood still. Buffers hold exactly the bytes that the contract allows to touch.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "query_table.hh"

namespace pharos::dataplane {
namespace {

using namespace packets;  // NOLINT

class QueryTest : public testing::TestWithParam<QueryRow> {};

void expect_sum(const QueryReply& reply) {
  const auto expected = static_cast<std::uint16_t>(internet_sum(reply.message));
  EXPECT_EQ(byte_swap(reply.checksum) % 0xffff, expected % 0xffff);
}

TEST_P(QueryTest, IsAnswered) {
  const QueryRow& row = GetParam();
  const QueryReply reply = serve(row);
  if (row.reply.empty()) {
    EXPECT_NE(reply.verdict, Verdict::answered);
  } else {
    EXPECT_EQ(MessageText::of(reply.message), row.reply) << hex_text(reply.message);
    expect_sum(reply);
  }
  EXPECT_EQ(moved(reply.counters), row.counts);
}

INSTANTIATE_TEST_SUITE_P(Answers, QueryTest, testing::ValuesIn(answer_rows()));
INSTANTIATE_TEST_SUITE_P(Wildcards, QueryTest, testing::ValuesIn(wildcard_rows()));
INSTANTIATE_TEST_SUITE_P(Chains, QueryTest, testing::ValuesIn(chain_rows()));
INSTANTIATE_TEST_SUITE_P(Cuts, QueryTest, testing::ValuesIn(cut_rows()));
INSTANTIATE_TEST_SUITE_P(Ranked, QueryTest, testing::ValuesIn(ranked_rows()));
INSTANTIATE_TEST_SUITE_P(Subnets, QueryTest, testing::ValuesIn(subnet_mode_rows()));
INSTANTIATE_TEST_SUITE_P(Edns, QueryTest, testing::ValuesIn(edns_rows()));
INSTANTIATE_TEST_SUITE_P(Sizes, QueryTest, testing::ValuesIn(size_rows()));
INSTANTIATE_TEST_SUITE_P(Refused, QueryTest, testing::ValuesIn(refused_rows()));

TEST(QueryBytesTest, APlainHitToTheByte) {
  const QueryReply reply = serve({"", ask("www.example", type_a, Edns{}), {}, {}});
  EXPECT_EQ(hex_text(reply.message),
            "1234850000010001000000010377777707"
            "6578616d706c650000010001"
            "c00c000100010000012c0004c0000250"
            "00002904d0000000000000");
}

TEST(QueryBytesTest, EveryTruncationIsAnErrorOrADrop) {
  for (const QueryRow& row : all_query_rows()) {
    if (row.what == std::string_view("bytes behind the question"))
      continue;  // sound once they are cut
    for (std::size_t length = 0; length < row.request.size(); ++length) {
      QueryRow cut = row;
      cut.request.resize(length);
      const QueryReply reply = serve(cut);
      if (reply.verdict != Verdict::answered) continue;
      const auto lines = MessageText::of(reply.message);
      EXPECT_FALSE(lines.back().starts_with("BROKEN")) << row.what << " cut to " << length;
      EXPECT_EQ(lines[0].find("NOERROR"), std::string::npos)
          << row.what << " cut to " << length << ": " << lines[0];
      expect_sum(reply);
    }
  }
}

// The whole table in bursts of every size: order and company must not matter.
TEST(QueryBytesTest, ABurstAnswersAsItsQueriesWouldAlone) {
  std::vector<QueryRow> rows;
  for (QueryRow& row : all_query_rows()) {
    if (row.options.nsid == "pop1" && row.options.ecs_enabled && row.options.server_id == "ns7" &&
        row.options.udp_payload_max_bytes == 1232)
      rows.push_back(row);
  }
  ServeState state(query_options());
  state.set_time(wall_s, {});
  for (const std::size_t burst : {2U, 7U, 32U, 64U}) {
    for (std::size_t first = 0; first < rows.size(); first += burst) {
      std::vector<Octets> buffers;
      std::vector<Query> queries;
      CoreCounters counters;
      const std::size_t end = std::min(first + burst, rows.size());
      for (std::size_t i = first; i < end; ++i) {
        buffers.emplace_back(rows[i].request)
            .resize(std::max<std::size_t>(rows[i].request.size(), rows[i].capacity) +
                    query_slack_bytes);
        Query& query = queries.emplace_back();
        query.length = static_cast<std::uint16_t>(rows[i].request.size());
        query.capacity = rows[i].capacity;
        query.transport = rows[i].transport;
        query.source = *IpAddress::parse(rows[i].source);
      }
      for (std::size_t i = 0; i < queries.size(); ++i) queries[i].message = buffers[i].data();
      serve_burst(state, query_tables(), queries, counters);
      for (std::size_t i = 0; i < queries.size(); ++i) {
        const QueryReply alone = serve(rows[first + i]);
        EXPECT_EQ(queries[i].verdict, alone.verdict) << rows[first + i].what;
        if (alone.verdict != Verdict::answered) continue;
        const Octets reply(buffers[i].begin(), buffers[i].begin() + queries[i].reply_bytes);
        EXPECT_EQ(hex_text(reply), hex_text(alone.message)) << rows[first + i].what;
      }
    }
  }
}

// With a buffer that ends where the contract says it may: sanitizers see every byte read behind it.
TEST(QueryBytesTest, AMessageCutAnywhereWithoutRoomIsDropped) {
  const Octets whole = ask("www.example", type_a);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    QueryRow row{"", whole, {}, {}, "192.0.2.1"};
    row.request.resize(length);
    row.capacity = 0;
    const QueryReply reply = serve(row);
    EXPECT_EQ(reply.verdict, length < 12 ? Verdict::drop_dns_short : Verdict::drop_no_room)
        << length << " octets";
  }
}

TEST(SlotTest, AClientBlockAlwaysGetsItsSlotAndAllSlotsAreDealt) {
  std::map<std::string, int> seen;
  for (int block = 0; block < 4096; ++block) {
    const std::string net =
        "10." + std::to_string(block / 256) + "." + std::to_string(block % 256) + ".";
    std::string first;
    for (const char* host : {"1", "77", "255"}) {
      const QueryReply reply = serve({"", ask("dealt.example", type_a), {}, {}, net + host});
      const auto lines = MessageText::of(reply.message);
      ASSERT_EQ(lines.size(), 3U);
      if (first.empty()) first = lines[2];
      EXPECT_EQ(lines[2], first);
    }
    ++seen[first];
  }
  EXPECT_EQ(seen.size(), 64U);
  for (const auto& [answer, count] : seen) {  // 64 expected; 8 standard deviations
    EXPECT_GT(count, 0) << answer;
    EXPECT_LT(count, 128) << answer;
  }
}

TEST(SlotTest, ScopeOfADealtAnswerIsTheBlockThatPicksTheSlot) {
  const QueryReply v4 =
      serve({"",
             ask("dealt.example", type_a, Edns{.options = option(8, hex("0001 20 00 0a010203"))}),
             {},
             {}});
  EXPECT_EQ(MessageText::of(v4.message).back(), "opt 1232 | 8:000120180a010203");
  const QueryReply v6 = serve(
      {"",
       ask("dealt.example", type_a, Edns{.options = option(8, hex("0002 40 00 20010db812345678"))}),
       {},
       {}});
  EXPECT_EQ(MessageText::of(v6.message).back(), "opt 1232 | 8:0002403820010db812345678");
}

TEST(CookieTest, AServerCookieOfOursIsTakenAndReturned) {
  const QueryReply first =
      serve({"",
             ask("www.example", type_a, Edns{.options = option(10, hex("2464c4abcf10c957"))}),
             {},
             {}});
  const auto line = MessageText::of(first.message).back();
  const auto cookie = line.substr(line.find("10:") + 3);
  const QueryReply second =
      serve({"", ask("www.example", type_a, Edns{.options = option(10, hex(cookie))}), {}, {}});
  EXPECT_EQ(MessageText::of(second.message).back(), line);
  EXPECT_EQ(second.counters.read(Counter::queries_cookie_valid), 1U);
}

}  // namespace
}  // namespace pharos::dataplane
