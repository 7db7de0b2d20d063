// SRV, SVCB and HTTPS answers: bytes, what may be left out, and how the ranking builder takes them.
#include "pharos/controlplane/image/record_targets.hh"

#include "pharos/controlplane/image/ranking_builder.hh"
#include "pharos/shared/answer_text.hh"
#include "pharos/shared/ranking_image.hh"
#include "pharos/wire/name_text.hh"

#include <gtest/gtest.h>

namespace pharos::controlplane {
namespace {

using Lines = std::vector<std::string>;
constexpr std::uint16_t type_srv = 33, type_https = 65;

// Endpoints e0, e1, ... of one service at s.example.
config::ServiceConfig service(unsigned endpoints, unsigned addresses_each = 1) {
  config::ServiceConfig made;
  made.id = "s";
  made.names = {"s.example."};
  made.srv = {"_x._tcp"};
  made.https = {443};
  for (unsigned e = 0; e < endpoints; ++e) {
    auto& endpoint = made.endpoints.emplace_back();
    endpoint.id = "e" + std::to_string(e);
    endpoint.port = static_cast<std::uint16_t>(8000 + e);
    for (unsigned i = 0; i < addresses_each; ++i)
      endpoint.addresses.push_back(IpAddress::from_ipv4(0xc0000200 + e * 32 + i));
  }
  return made;
}

Lines text_of(const std::vector<std::byte>& bytes) {
  const auto* answer = reinterpret_cast<const Answer*>(bytes.data());
  EXPECT_TRUE(answer_is_sound(answer, bytes.size()));
  return answer_text(*answer, dns::parse_name("q.example.").value().view());
}

TEST(RecordTargetsTest, AnAnswerHasRecordsInOrderAndTheirAddressesBehind) {
  auto config = service(2);
  config.endpoints[1].target = "far.example.net.";
  const auto targets = record_targets_of(config, dns::Type::srv).value();
  std::vector<std::byte> out;
  ASSERT_TRUE(encode_record_answer(type_srv, 30, targets,
                                   std::vector<RankedRecord>{{1, 1, 7}, {0, 2, 5}}, out));
  EXPECT_EQ(text_of(out), (Lines{"answer q.example. 30 SRV 1 7 8001 far.example.net.",
                                 "answer q.example. 30 SRV 2 5 8000 e0.s.example.",
                                 "additional e0.s.example. 60 A 192.0.2.0"}));
  const auto* answer = reinterpret_cast<const Answer*>(out.data());
  EXPECT_EQ(answer->required_additional_count, 0);
  EXPECT_EQ(answer->body_bytes - answer->required_bytes, 14 + 10 + 4);
  EXPECT_EQ(answer->relocation_count, 2) << "only what points to the owner";
}

TEST(RecordTargetsTest, HttpsHasParametersAndNoWeight) {
  auto config = service(1);
  config.parameters = {{dns::svc_param::alpn, "\2h2"}};
  config.endpoints[0].ttl_max = seconds(9);
  const auto targets = record_targets_of(config, dns::Type::https).value();
  std::vector<std::byte> out;
  ASSERT_TRUE(
      encode_record_answer(type_https, 30, targets, std::vector<RankedRecord>{{0, 1, 0}}, out));
  EXPECT_EQ(text_of(out), (Lines{"answer q.example. 30 HTTPS 1 e0.s.example. alpn=h2 port=8000 "
                                 "ipv4hint=192.0.2.0",
                                 "additional e0.s.example. 9 A 192.0.2.0"}));
}

TEST(RecordTargetsTest, OptionalRecordsStayWithinWhatTheCommonReplyHolds) {
  const auto targets = record_targets_of(service(4, 16), dns::Type::srv).value();
  std::vector<RankedRecord> all;
  for (std::uint16_t i = 0; i < 4; ++i) all.push_back({i, static_cast<std::uint16_t>(i + 1), 1});
  std::vector<std::byte> out;
  ASSERT_TRUE(encode_record_answer(type_srv, 30, targets, all, out));
  const auto* answer = reinterpret_cast<const Answer*>(out.data());
  EXPECT_TRUE(answer_is_sound(answer, out.size()));
  EXPECT_EQ(answer->answer_count, 4);
  EXPECT_EQ(answer->additional_count, 32) << "of the best two, whole";
  EXPECT_LE(answer->body_bytes, 1232 - 12 - 11);
}

TEST(RecordTargetsTest, RefusesTargetsThatAreNotThereAndNamesThatAreNone) {
  const auto targets = record_targets_of(service(1), dns::Type::srv).value();
  std::vector<std::byte> out(3);
  EXPECT_FALSE(
      encode_record_answer(type_srv, 30, targets, std::vector<RankedRecord>{{1, 1, 1}}, out));
  EXPECT_FALSE(encode_record_answer(type_srv, 30, targets, {}, out));
  EXPECT_EQ(out.size(), 3U);
  auto config = service(1);
  config.endpoints[0].id = "a..b";
  config.endpoints[0].source = {"pharos.yaml", 7};
  const auto refused = record_targets_of(config, dns::Type::srv);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().text().starts_with("pharos.yaml:7")) << refused.error().text();
}

class RecordCellTest : public testing::Test {
 protected:
  CellContent cell(std::vector<std::vector<RankedRecord>> slots) {
    return {.type = type_srv, .ttl_s = 5, .records = std::move(slots), .targets = targets_};
  }
  RankingBuilder builder_{{"s/SRV"}, {"default"}, 1, 2};
  std::shared_ptr<const std::vector<RecordTarget>> targets_ =
      std::make_shared<const std::vector<RecordTarget>>(
          record_targets_of(service(2), dns::Type::srv).value());
};

TEST_F(RecordCellTest, SlotsAreServedAndAChangeIsADelta) {
  ASSERT_TRUE(builder_.set(0, 0, cell({{{0, 1, 1}}, {{1, 1, 1}}})));
  const auto base = builder_.build_base({1, 1});
  ASSERT_TRUE(base);
  const auto view = ranking::View::prove_base(*base);
  ASSERT_TRUE(view) << view.error().text();
  builder_.commit();
  const auto first = [](const ranking::View& v, std::uint32_t hash) {
    return answer_text(*v.answer(v.row(0)[0], hash), dns::parse_name("q.").value().view())[0];
  };
  EXPECT_EQ(first(*view, 0), "answer q. 5 SRV 1 1 8000 e0.s.example.");
  EXPECT_EQ(first(*view, 1), "answer q. 5 SRV 1 1 8001 e1.s.example.");
  ASSERT_TRUE(builder_.set(0, 0, cell({{{0, 1, 1}}, {{1, 1, 1}}})));
  EXPECT_FALSE(builder_.dirty()) << "the same again";
  ASSERT_TRUE(builder_.set(0, 0, cell({{{1, 1, 2}}, {{1, 1, 2}}})));
  const auto delta = builder_.build_delta({1, 2});
  ASSERT_TRUE(delta);
  const auto next = view->prove_delta(*delta);
  ASSERT_TRUE(next) << next.error().text();
  EXPECT_FALSE(ranking::is_slotted(next->row(0)[0])) << "equal slots are one answer";
  EXPECT_EQ(first(*next, 1), "answer q. 5 SRV 1 2 8001 e1.s.example.");
}

TEST_F(RecordCellTest, RefusesWhatNoCellCanBe) {
  EXPECT_FALSE(builder_.set(0, 0, cell({{{0, 1, 1}}, {}})));
  EXPECT_FALSE(builder_.set(0, 0, cell({{{2, 1, 1}}})));
  EXPECT_FALSE(builder_.set(0, 0, cell({{{0, 1, 1}}, {{0, 1, 1}}, {{1, 1, 1}}})));
  auto without = cell({{{0, 1, 1}}});
  without.targets = nullptr;
  EXPECT_FALSE(builder_.set(0, 0, without));
  auto both = cell({{{0, 1, 1}}});
  both.slots = {{IpAddress::from_ipv4(1)}};
  EXPECT_FALSE(builder_.set(0, 0, both));
  EXPECT_EQ(builder_.dirty_cell_count(), 0U);
  EXPECT_TRUE(builder_.set(0, 0, cell({}))) << "no answer";
}

}  // namespace
}  // namespace pharos::controlplane
