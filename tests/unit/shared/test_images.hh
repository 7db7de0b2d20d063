// Small images made by hand, for tests that need sound ones to start from. Deliberately not the control
// plane's builders: two independent writers of one format are what keeps its description honest.
#pragma once

#include "pharos/shared/answer.hh"
#include "pharos/shared/image.hh"
#include "pharos/shared/ranking_image.hh"
#include "pharos/wire/dns.hh"

#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace pharos::test_images {

inline void append(std::vector<std::byte>& to, ConstBytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}
template <typename T>
void append_object(std::vector<std::byte>& to, const T& object) {
  append(to, object_bytes(object));
}

// Makes the checksum right again after a test has changed bytes.
inline void seal_checksum(ImageBuffer& image) {
  const std::uint64_t checksum = image_checksum(image);
  std::memcpy(image.data() + offsetof(ImageHeader, checksum), &checksum, sizeof checksum);
}

// A record owned by the QNAME: pointer, type, class IN, TTL, RDATA.
inline std::vector<std::byte> record(dns::Type type, std::uint32_t ttl_s, ConstBytes rdata) {
  std::vector<std::byte> bytes;
  append_object(bytes, Be16(dns::pointer_to(dns::header_bytes)));
  append_object(bytes, Be16(static_cast<std::uint16_t>(type)));
  append_object(bytes, Be16(1));
  append_object(bytes, Be32(ttl_s));
  append_object(bytes, Be16(static_cast<std::uint16_t>(rdata.size())));
  append(bytes, rdata);
  return bytes;
}

// An answer of A records, all of them in the answer section.
inline std::vector<std::byte> a_answer(std::uint32_t ttl_s,
                                       std::span<const std::uint32_t> addresses) {
  std::vector<std::byte> body;
  std::vector<std::uint16_t> relocations;
  for (const Be32 address : addresses) {
    relocations.push_back(static_cast<std::uint16_t>(body.size()));
    append(body, record(dns::Type::a, ttl_s, object_bytes(address)));
  }
  Answer answer{};
  answer.body_bytes = answer.required_bytes = static_cast<std::uint16_t>(body.size());
  answer.answer_count = static_cast<std::uint16_t>(addresses.size());
  answer.relocation_count = static_cast<std::uint16_t>(relocations.size());
  answer.checksum = answer_checksum(body);
  std::vector<std::byte> bytes;
  append_object(bytes, answer);
  append(bytes, body);
  append(bytes, std::as_bytes(std::span(relocations)));
  return bytes;
}

// The records section of a ranking image in the making.
class Records {
 public:
  explicit Records(unsigned segment) : segment_(segment) {
    if (segment == 0) bytes_.resize(ranking::ref_unit_bytes);  // ref 0 means none
  }
  ranking::Ref add(ConstBytes record, bool slotted = false) {
    bytes_.resize(round_up(bytes_.size(), std::size_t{ranking::ref_unit_bytes}));
    const auto ref = ranking::make_ref(segment_, bytes_.size(), slotted);
    append(bytes_, record);
    return ref;
  }
  ranking::Ref add_answer(std::uint32_t ttl_s, std::span<const std::uint32_t> addresses) {
    return add(a_answer(ttl_s, addresses));
  }
  ranking::Ref add_row(std::span<const ranking::Ref> cells) { return add(std::as_bytes(cells)); }
  ranking::Ref add_slots(std::span<const ranking::Ref> answers) {
    std::vector<std::byte> bytes;
    append_object(bytes, ranking::SlotTable{
                             static_cast<std::uint16_t>(std::bit_width(answers.size()) - 1), 0});
    append(bytes, std::as_bytes(answers));
    return add(bytes, true);
  }
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  unsigned segment_;
  std::vector<std::byte> bytes_;
};

inline ImageBuffer assemble_ranking(Version version, const ranking::Summary& summary,
                                    std::span<const ranking::RowEntry> rows, ConstBytes records,
                                    std::uint64_t content_id, std::string_view names = {}) {
  using ranking::Section;
  const SectionContent sections[] = {
      {std::to_underlying(Section::summary), sizeof summary, object_bytes(summary)},
      {std::to_underlying(Section::rows), sizeof(ranking::RowEntry), std::as_bytes(rows)},
      {std::to_underlying(Section::records), 1, records},
      {std::to_underlying(Section::names), 1, as_bytes(names)},
  };
  const auto kind = summary.segment == 0 ? ImageKind::ranking_base : ImageKind::ranking_delta;
  return assemble_image(kind, version, content_id, sections);
}

// One A record per cell; `address_of` says which.
using AddressOf = std::function<std::uint32_t(std::uint32_t pool, std::uint32_t locale)>;

inline ImageBuffer make_ranking(Version version, const ranking::Summary& summary,
                                std::span<const std::uint32_t> pools, const AddressOf& address_of,
                                std::uint64_t content_id) {
  Records records(summary.segment);
  std::vector<ranking::RowEntry> rows;
  for (const std::uint32_t pool : pools) {
    std::vector<ranking::Ref> cells;
    for (std::uint32_t locale = 0; locale < summary.locale_count; ++locale) {
      const std::uint32_t address[] = {address_of(pool, locale)};
      cells.push_back(records.add_answer(60, address));
    }
    rows.push_back({pool, records.add_row(cells)});
  }
  return assemble_ranking(version, summary, rows, records.bytes(), content_id);
}

inline ImageBuffer make_base(Version version, std::uint32_t pool_count, std::uint32_t locale_count,
                             const AddressOf& address_of, std::uint64_t content_id = 7) {
  std::vector<std::uint32_t> pools(pool_count);
  for (std::uint32_t i = 0; i < pool_count; ++i) pools[i] = i;
  return make_ranking(version, {pool_count, locale_count, 0, 0, version, version}, pools,
                      address_of, content_id);
}

inline ImageBuffer make_delta(Version version, const ranking::View& onto,
                              std::span<const std::uint32_t> pools, const AddressOf& address_of) {
  return make_ranking(version,
                      {onto.pool_count(), onto.locale_count(), onto.segment_count(), 0,
                       onto.base_version(), onto.version()},
                      pools, address_of, onto.content_id());
}

// The address of the first A record of an answer in the form that a_answer() writes.
inline std::uint32_t first_address(const Answer& answer) {
  return load<Be32>(answer.body() + 12);
}

}  // namespace pharos::test_images
