#include "pharos/controlplane/image/records_writer.hh"

#include <algorithm>
#include <bit>
#include <cstring>

namespace pharos::controlplane {

using ranking::Ref;
using Id = ContentStore::Id;

RecordsWriter::RecordsWriter(ContentStore& store, unsigned segment, std::uint64_t build,
                             std::uint64_t bytes_limit)
    : store_(store),
      segment_(segment),
      build_(build),
      bytes_limit_(std::min(bytes_limit, bytes_max)),
      bytes_(ranking::ref_unit_bytes) {}  // unit 0 is unused

Ref RecordsWriter::reserve_row(std::uint32_t locale_count) {
  return ranking::make_ref(segment_, take(locale_count * sizeof(Ref), ranking::ref_unit_bytes),
                           false);
}

void RecordsWriter::set_cell(Ref row, std::uint32_t locale, Ref cell) noexcept {
  store(bytes_.data() + ranking::offset_bytes_of(row) + locale * sizeof(Ref), cell);
}

Ref RecordsWriter::ref_of(Id id) {
  if (id == ContentStore::none) return 0;
  if (const Ref ref = store_.placed(id, build_); ref != 0) return ref;
  const Ref ref = store_.is_slotted(id) ? put_slots(id) : put_answer(id);
  store_.place(id, build_, ref);
  return ref;
}

// The offset of zeroed room.
std::uint64_t RecordsWriter::take(std::uint64_t size_bytes, std::uint64_t alignment) {
  const std::uint64_t offset = round_up<std::uint64_t>(bytes_.size(), alignment);
  bytes_.resize(offset + round_up<std::uint64_t>(size_bytes, ranking::ref_unit_bytes));
  return offset;
}

// The same, on no more cache lines than the size needs: a reader fetches each line.
std::uint64_t RecordsWriter::take_few_lines(std::uint64_t size_bytes) {
  constexpr std::uint64_t line_bytes = 64;
  const auto lines = [](std::uint64_t size) { return (size + line_bytes - 1) / line_bytes; };
  const bool straddles = lines(bytes_.size() % line_bytes + size_bytes) > lines(size_bytes);
  return take(size_bytes, straddles ? line_bytes : ranking::ref_unit_bytes);
}

Ref RecordsWriter::put_answer(Id id) {
  const ConstBytes content = store_.bytes(id);
  const std::uint64_t offset = take_few_lines(content.size());
  std::memcpy(bytes_.data() + offset, content.data(), content.size());
  return ranking::make_ref(segment_, offset, false);
}

Ref RecordsWriter::put_slots(Id id) {
  const auto slots = store_.slots(id);
  const std::uint64_t offset = take_few_lines(sizeof(ranking::SlotTable) + slots.size_bytes());
  const ranking::SlotTable head{static_cast<std::uint16_t>(std::countr_zero(slots.size())), 0};
  store(bytes_.data() + offset, head);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const Ref answer = ref_of(slots[slot]);
    store(bytes_.data() + offset + sizeof head + slot * sizeof(Ref), answer);
  }
  return ranking::make_ref(segment_, offset, true);
}

}  // namespace pharos::controlplane
