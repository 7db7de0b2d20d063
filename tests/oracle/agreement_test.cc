// The packet path against the reference responder: random zones and services, random questions, random EDNS, UDP and
// TCP, every truncation of a request and of a reply.
//
// What must agree: header, question octet by octet, every record with its TTL, OPT with all options; records of one RRset
// in any order, but those of services, whose order is the answer. The reference knows no size, so that truncation is
// held against the packet path's own whole reply: whole where it fits, without optional records where only that fits,
// else empty with TC, and never shorter than it needs to be.
//
// PHAROS_AGREEMENT_SECONDS=N runs longer (10 by default), PHAROS_AGREEMENT_SEED=N starts elsewhere. The test ends with
// the first difference and prints seed, zones, question and both replies.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>

#include "../packets/message_text.hh"
#include "random_request.hh"

namespace pharos::oracle {
namespace {

using dataplane::Transport;
using Lines = std::vector<std::string>;

constexpr unsigned questions_a_world = 400;

std::uint64_t number_from(const char* variable, std::uint64_t fallback) {
  const char* text = std::getenv(variable);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

// Lines in an order that does not depend on the order of records in an RRset, names folded. `ranked`: the answer
// section as it is.
Lines comparable(const Octets& message, bool ranked) {
  Lines lines = packets::MessageText::of(message);
  for (auto& line : lines) {
    std::ranges::transform(line, line.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  }
  const auto set_of = [](const std::string& line) {  // section, owner, TTL, type
    std::size_t at = 0;
    for (int words = 0; words < 4 && at != std::string::npos; ++words) at = line.find(' ', at + 1);
    return line.substr(0, at);
  };
  const auto sortable = [&](const std::string& line) {
    return (line.starts_with("an ") && !ranked) || line.starts_with("ns ");
  };
  for (auto first = lines.begin(); first != lines.end();) {
    auto last = first + 1;
    while (last != lines.end() && sortable(*first) && set_of(*last) == set_of(*first)) ++last;
    std::sort(first, last);
    first = last;
  }
  const auto additional =
      std::ranges::find_if(lines, [](const auto& l) { return l.starts_with("ar "); });
  auto behind = additional;
  while (behind != lines.end() && behind->starts_with("ar ")) ++behind;
  std::sort(additional, behind);
  return lines;
}

std::string text_of(const Lines& lines) {
  std::string text;
  for (const auto& line : lines) text += "  " + line + "\n";
  return text;
}

class AgreementTest : public testing::Test {
 protected:
  // Holds both replies to one request against each other; false at a difference.
  bool compare(TwoResponders& responders, const Octets& request, const IpAddress& source) {
    ++requests_;
    const auto expected = responders.reference.answer(request, source);
    const auto whole = responders.served(request, source, Transport::tcp);
    const auto describe = [&](const Octets& reply, const std::string& what) {
      return what + "\nrequest " + packets::hex_text(request) + " from " + source.text() +
             "\npacket path\n" + text_of(packets::MessageText::of(reply)) + "reference\n" +
             text_of(packets::MessageText::of(expected ? expected->wire(true) : Octets())) +
             responders.zone_text;
    };
    if (expected.has_value() != whole.has_value()) {
      ADD_FAILURE() << describe(whole.value_or(Octets()), "one of them sends nothing");
      return false;
    }
    if (!expected) return true;
    const bool same_question =
        whole->size() >= 12 + expected->question.size() &&
        std::equal(expected->question.begin(), expected->question.end(), whole->begin() + 12);
    if (!same_question || comparable(*whole, expected->ranked) !=
                              comparable(expected->wire(true), expected->ranked)) {
      ADD_FAILURE() << describe(*whole, "they differ over TCP");
      return false;
    }
    const auto udp = responders.served(request, source, Transport::udp);
    const auto fault = fault_of_udp(*udp, *whole, *expected, limit_of(request, *expected));
    if (fault.empty()) return true;
    ADD_FAILURE() << describe(*udp, fault);
    return false;
  }

  // The size that a request allows: that of its OPT, from 512 to ours.
  static std::size_t limit_of(const Octets& request, const ReferenceReply& expected) {
    if (!expected.opt) return 512;
    std::size_t at = 12 + expected.question.size();
    for (;;) {  // to the OPT record, the first one
      while (request[at] != std::byte{0}) at += 1U + std::to_integer<std::size_t>(request[at]);
      const auto field = [&](std::size_t offset) {
        return std::to_integer<std::size_t>(request[at + offset]) << 8 |
               std::to_integer<std::size_t>(request[at + offset + 1]);
      };
      if (field(1) == type_opt) return std::clamp<std::size_t>(field(3), 512, payload_bytes_max);
      at += 11 + field(9);
    }
  }

  static std::string fault_of_udp(const Octets& udp, const Octets& whole,
                                  const ReferenceReply& expected, std::size_t limit) {
    if (udp.size() > limit) return "the reply is longer than " + std::to_string(limit);
    if (whole.size() <= limit) return udp == whole ? "" : "what fits is not the same over UDP";
    if ((udp[2] & std::byte{0x02}) == std::byte{0}) {
      const bool same =
          comparable(udp, expected.ranked) == comparable(expected.wire(false), expected.ranked);
      return same ? "" : "more than optional records was left out, without TC";
    }
    ReferenceReply empty = expected;
    empty.flags |= 0x0200;
    empty.answer.clear();
    empty.authority.clear();
    empty.required.clear();
    const bool same = comparable(udp, false) == comparable(empty.wire(false), false);
    return same ? "" : "a truncated reply is not empty";
  }

  // One question at every size that a client may offer: a reply loses its optional records, and then all, exactly
  // where it no longer fits.
  void compare_all_sizes(TwoResponders& responders, const std::string& name, std::uint16_t type) {
    const auto source = responders.client();
    const auto ask = [&](std::size_t size, Transport transport) {
      const auto edns = packets::Edns{.payload = static_cast<std::uint16_t>(size)};
      return *responders.served(packets::query({.name = name, .type = type}, edns), source,
                                transport);
    };
    const Octets whole = ask(4096, Transport::tcp);
    if (whole.size() > 4095) return;
    std::size_t least = 0;  // without optional records
    for (std::size_t size = whole.size() + 1; size >= 512; --size) {
      const Octets reply = ask(size, Transport::udp);
      ASSERT_LE(reply.size(), size) << name;
      ++sizes_;
      if (size >= whole.size()) {
        ASSERT_EQ(reply, whole) << name << " at " << size;
        continue;
      }
      const bool truncated = (reply[2] & std::byte{0x02}) != std::byte{0};
      if (!truncated && least == 0) least = reply.size();
      if (!truncated) {
        ASSERT_EQ(reply.size(), least) << name << " at " << size;
        ASSERT_GE(size, least);
      } else if (least != 0) {
        ASSERT_LT(size, least) << name << ": truncated at " << size << ", where it fits";
      }
    }
  }

  std::uint64_t requests_ = 0;
  std::uint64_t sizes_ = 0;
};

TEST_F(AgreementTest, ThePacketPathAnswersAsTheReferenceDoes) {
  const auto seconds = number_from("PHAROS_AGREEMENT_SECONDS", 10);
  std::uint64_t seed = number_from("PHAROS_AGREEMENT_SEED", 1);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  const std::uint64_t first = seed;
  for (; seed == first || std::chrono::steady_clock::now() < end; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TwoResponders responders(seed);
    Random random(seed + 1'000'000);
    RandomRequest next(random, responders);
    for (unsigned i = 0; i < questions_a_world; ++i) {
      const auto source = responders.client();
      const Octets request = next(source);
      if (!compare(responders, request, source)) return;
      if (i % 40 != 0) continue;
      for (std::size_t bytes = 0; bytes < request.size(); ++bytes) {
        const Octets cut(request.begin(), request.begin() + static_cast<std::ptrdiff_t>(bytes));
        if (!compare(responders, cut, source)) return;
      }
    }
    for (const auto& [name, type] :
         {std::pair{"many.test.", 1}, {"many.test.", 15}, {"step.test.", 1}, {"x.test.", 16}}) {
      compare_all_sizes(responders, name, static_cast<std::uint16_t>(type));
      if (HasFatalFailure()) return;
    }
  }
  std::cout << seed - first << " worlds from seed " << first << ", " << requests_
            << " requests over UDP and TCP, " << sizes_ << " sizes of reply\n";
  EXPECT_GT(requests_, 400U);
}

}  // namespace
}  // namespace pharos::oracle
