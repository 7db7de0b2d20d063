#include "pharos/controlplane/image/answer_encoder.hh"

#include "pharos/shared/answer.hh"
#include "pharos/wire/dns.hh"

#include <algorithm>
#include <cstring>

namespace pharos::controlplane {
namespace {

// What stands in front of the data of each record (RFC 1035, 4.1.3), its name being the question's.
struct RecordHead {
  Be16 owner = dns::pointer_to(dns::header_bytes);
  Be16 type;
  Be16 record_class = static_cast<std::uint16_t>(dns::Class::in);
  Be32 ttl_s;
  Be16 rdata_bytes;
};
static_assert(sizeof(RecordHead) == 12 && alignof(RecordHead) == 1);

[[nodiscard]] Status check(std::size_t records, std::size_t body_bytes, std::uint32_t ttl_s) {
  if (records == 0) return fail(ErrorCode::invalid, "an answer has at least one record");
  // One relocation for each record: their count is a u16 as well.
  if (body_bytes > answer_body_bytes_max) {
    return fail(ErrorCode::exhausted, std::to_string(records) + " records take " +
                                          std::to_string(body_bytes) + " bytes, an answer holds " +
                                          std::to_string(answer_body_bytes_max));
  }
  if (ttl_s > dns::ttl_max_s) {
    return fail(ErrorCode::invalid, "TTL " + std::to_string(ttl_s) + " is larger than " +
                                        std::to_string(dns::ttl_max_s));
  }
  return {};
}

}  // namespace

Status encode_answer(std::span<const OwnedRecord> records, OptionalRecords optional,
                     std::vector<std::byte>& out) {
  std::size_t required_bytes = 0;
  std::uint32_t ttl_max_s = 0;
  for (const auto& record : records) {
    required_bytes += sizeof(RecordHead) + record.rdata.size();
    ttl_max_s = std::max(ttl_max_s, record.ttl_s);
  }
  const std::size_t body_bytes = required_bytes + optional.bytes.size();
  if (auto status = check(records.size(), body_bytes, ttl_max_s); !status) return status;

  const auto count = static_cast<std::uint16_t>(records.size());
  const std::size_t start = out.size();
  out.resize(start + answer_record_bytes(static_cast<std::uint32_t>(body_bytes), count));
  std::byte* const body = out.data() + start + sizeof(Answer);
  std::byte* relocation = body + round_up(body_bytes, std::size_t{2});
  std::size_t at = 0;
  for (const auto& record : records) {
    store(relocation, static_cast<std::uint16_t>(at));
    relocation += sizeof(std::uint16_t);
    RecordHead head;
    head.type = record.type;
    head.ttl_s = record.ttl_s;
    head.rdata_bytes = static_cast<std::uint16_t>(record.rdata.size());
    store(body + at, head);
    at += sizeof head;
    if (!record.rdata.empty()) std::memcpy(body + at, record.rdata.data(), record.rdata.size());
    at += record.rdata.size();
  }
  if (!optional.bytes.empty()) std::memcpy(body + at, optional.bytes.data(), optional.bytes.size());
  Answer answer{};
  answer.body_bytes = static_cast<std::uint16_t>(body_bytes);
  answer.required_bytes = static_cast<std::uint16_t>(required_bytes);
  answer.answer_count = count;
  answer.additional_count = optional.count;
  answer.relocation_count = count;
  answer.checksum = answer_checksum({body, body_bytes});
  store(out.data() + start, answer);
  return {};
}

Status encode_address_answer(std::uint16_t type, std::uint32_t ttl_s,
                             std::span<const IpAddress> addresses, std::vector<std::byte>& out) {
  const bool ipv4 = type == static_cast<std::uint16_t>(dns::Type::a);
  if (!ipv4 && type != static_cast<std::uint16_t>(dns::Type::aaaa)) {
    return fail(ErrorCode::invalid, "type " + std::to_string(type) + " holds no address", {},
                "give type A (1) or AAAA (28)");
  }
  for (const auto& address : addresses) {
    if (address.is_ipv4() == ipv4) continue;
    return fail(ErrorCode::invalid,
                address.text() + " does not fit a record of type " + (ipv4 ? "A" : "AAAA"));
  }
  RecordHead head;
  head.type = type;
  head.ttl_s = ttl_s;
  head.rdata_bytes = ipv4 ? 4 : 16;
  const std::size_t record_bytes = sizeof head + head.rdata_bytes;
  const std::size_t body_bytes = record_bytes * addresses.size();
  if (auto status = check(addresses.size(), body_bytes, ttl_s); !status) return status;
  const auto count = static_cast<std::uint16_t>(addresses.size());
  const std::size_t start = out.size();
  out.resize(start + answer_record_bytes(static_cast<std::uint32_t>(body_bytes), count));
  std::byte* const body = out.data() + start + sizeof(Answer);
  std::byte* relocation = body + body_bytes;  // which is even
  std::byte* at = body;
  for (const auto& address : addresses) {
    store(relocation, static_cast<std::uint16_t>(at - body));
    relocation += sizeof(std::uint16_t);
    store(at, head);
    std::memcpy(at + sizeof head, address.bytes.data() + (ipv4 ? 12 : 0), ipv4 ? 4 : 16);
    at += record_bytes;
  }
  Answer answer{};
  answer.body_bytes = answer.required_bytes = static_cast<std::uint16_t>(body_bytes);
  answer.answer_count = answer.relocation_count = count;
  answer.checksum = answer_checksum({body, body_bytes});
  store(out.data() + start, answer);
  return {};
}

}  // namespace pharos::controlplane
