// Both ends of the shared ring. See spsc_ring.hh.
//
// Positions count bytes since the ring was made and never wrap (2^64 bytes are centuries). Each side works
// from its own position; what it reads of the other's is only believed as far as it makes sense.
#include "pharos/shared/spsc_ring.hh"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <new>
#include <string>

namespace pharos {
namespace {

constexpr std::uint64_t record_unit_bytes = 8;
static_assert(sizeof(RingRecordHeader) == record_unit_bytes,
              "a filler fits wherever a turn may end");
static_assert(ring_capacity_bytes_min > 2 * (sizeof(RingRecordHeader) + ring_record_bytes_max),
              "with a filler in front, any record fits an empty ring");

constexpr bool is_capacity(std::uint64_t bytes) noexcept {
  return std::has_single_bit(bytes) && bytes >= ring_capacity_bytes_min &&
         bytes <= ring_capacity_bytes_max;
}

Result<Mapping> map_shared(int fd, std::uint64_t region_bytes) {
  void* at =
      ::mmap(nullptr, region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (at == MAP_FAILED) return fail_errno("mmap", "ring");
  return Mapping(at, region_bytes);
}

}  // namespace

Result<RingProducer> RingProducer::create(std::uint64_t capacity_bytes, const char* name) {
  if (!is_capacity(capacity_bytes)) {
    return fail(ErrorCode::invalid, "ring of " + std::to_string(capacity_bytes) + " bytes", name,
                "a power of two from 16 KiB to 256 MiB");
  }
  RingProducer ring;
  ring.fd_ = UniqueFd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!ring.fd_) return fail_errno("memfd_create", name);
  const std::uint64_t region_bytes = sizeof(RingHeader) + capacity_bytes;
  if (::ftruncate(ring.fd_.get(), static_cast<off_t>(region_bytes)) != 0)
    return fail_errno("ftruncate", name);
  // Fixed in size, so that the other side can never make an access of ours fault.
  if (::fcntl(ring.fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno("fcntl(F_ADD_SEALS)", name);
  }
  auto mapping = map_shared(ring.fd_.get(), region_bytes);
  if (!mapping) return std::unexpected(std::move(mapping).error().in(name));
  ring.mapping_ = std::move(*mapping);
  ring.header_ = new (ring.mapping_.data()) RingHeader{};
  ring.header_->magic = ring_magic;
  ring.header_->format_version = ring_format_version;
  ring.header_->capacity_bytes = capacity_bytes;
  ring.records_ = ring.mapping_.data() + sizeof(RingHeader);
  ring.capacity_bytes_ = capacity_bytes;
  return ring;
}

bool RingProducer::make_room(std::uint64_t needed_bytes) noexcept {
  const auto has_room = [&] {
    // A consumer that claims more than was produced, or falls back by more than the ring holds, gets no records.
    const std::uint64_t used = produced_bytes_ - consumed_bytes_seen_;
    return used <= capacity_bytes_ && needed_bytes <= capacity_bytes_ - used;
  };
  if (has_room()) return true;
  // acquire: pairs with the consumer's release(); its reads of this space come before our writes to it
  consumed_bytes_seen_ = header_->consumed_bytes.load(std::memory_order_acquire);
  return has_room();
}

bool RingProducer::push(RingRecordKind kind, ConstBytes head, ConstBytes body) noexcept {
  const std::uint64_t length = head.size() + body.size();
  const std::uint64_t record_bytes = round_up(sizeof(RingRecordHeader) + length, record_unit_bytes);
  const std::uint64_t position = produced_bytes_ & (capacity_bytes_ - 1);
  const std::uint64_t rest_of_turn = capacity_bytes_ - position;
  const std::uint64_t filler_bytes = record_bytes > rest_of_turn ? rest_of_turn : 0;
  if (length > ring_record_bytes_max || !make_room(filler_bytes + record_bytes)) [[unlikely]] {
    // relaxed: a statistic, ordered with nothing
    header_->dropped_records.store(++dropped_records_, std::memory_order_relaxed);
    return false;
  }
  if (filler_bytes != 0) {
    store(records_ + position,
          RingRecordHeader{static_cast<std::uint32_t>(filler_bytes - sizeof(RingRecordHeader)),
                           static_cast<std::uint32_t>(RingRecordKind::filler)});
  }
  std::byte* at = records_ + (filler_bytes != 0 ? 0 : position);
  store(at, RingRecordHeader{static_cast<std::uint32_t>(length), static_cast<std::uint32_t>(kind)});
  at += sizeof(RingRecordHeader);
  if (!head.empty()) std::memcpy(at, head.data(), head.size());
  if (!body.empty()) std::memcpy(at + head.size(), body.data(), body.size());
  produced_bytes_ += filler_bytes + record_bytes;
  // release: pairs with the consumer's load in pop(); the record is whole before it can be seen
  header_->produced_bytes.store(produced_bytes_, std::memory_order_release);
  return true;
}

Result<RingConsumer> RingConsumer::attach(UniqueFd fd) {
  struct stat about{};
  if (::fstat(fd.get(), &about) != 0) return fail_errno("fstat", "ring");
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return fail(ErrorCode::invalid, "not a memfd that is sealed against shrinking", "ring");
  }
  const auto region_bytes = static_cast<std::uint64_t>(about.st_size);
  if (region_bytes <= sizeof(RingHeader) || !is_capacity(region_bytes - sizeof(RingHeader))) {
    return fail(ErrorCode::invalid, std::to_string(region_bytes) + " bytes are no ring", "ring");
  }
  auto mapping = map_shared(fd.get(), region_bytes);
  if (!mapping) return std::unexpected(std::move(mapping).error());
  RingConsumer ring;
  ring.fd_ = std::move(fd);
  ring.mapping_ = std::move(*mapping);
  ring.header_ = reinterpret_cast<RingHeader*>(ring.mapping_.data());
  ring.records_ = ring.mapping_.data() + sizeof(RingHeader);
  ring.capacity_bytes_ = region_bytes - sizeof(RingHeader);
  if (ring.header_->magic != ring_magic || ring.header_->capacity_bytes != ring.capacity_bytes_) {
    return fail(ErrorCode::invalid, "wrong magic or size", "ring");
  }
  if (ring.header_->format_version != ring_format_version) {
    return fail(ErrorCode::unsupported, "unknown format version", "ring",
                "run both daemons from the same release");
  }
  // acquire: pairs with release() of the consumer before us, which may have been another process
  ring.consumed_bytes_ = ring.header_->consumed_bytes.load(std::memory_order_acquire);
  return ring;
}

std::nullopt_t RingConsumer::fault(std::uint64_t produced_bytes) noexcept {
  ++faults_;
  consumed_bytes_ = produced_bytes;
  release();  // or a ring that is full of nonsense would stay full
  return std::nullopt;
}

std::optional<RingConsumer::Record> RingConsumer::pop() noexcept {
  // acquire: pairs with the producer's store in push(); we see whole records
  const std::uint64_t produced_bytes = header_->produced_bytes.load(std::memory_order_acquire);
  // A filler stands in front of a record always, so that two rounds are enough.
  for (int round = 0; round < 2; ++round) {
    const std::uint64_t available = produced_bytes - consumed_bytes_;
    if (available == 0) return std::nullopt;
    const std::uint64_t position = consumed_bytes_ & (capacity_bytes_ - 1);
    const std::uint64_t reachable = std::min(available, capacity_bytes_ - position);
    if (available > capacity_bytes_ || position % record_unit_bytes != 0 ||
        reachable < sizeof(RingRecordHeader)) {
      return fault(produced_bytes);
    }
    // Read once: the producer may change it between two looks.
    const auto header = load<RingRecordHeader>(records_ + position);
    const std::uint64_t record_bytes =
        round_up(sizeof(RingRecordHeader) + std::uint64_t{header.length}, record_unit_bytes);
    if (record_bytes > reachable) return fault(produced_bytes);
    if (header.kind == static_cast<std::uint32_t>(RingRecordKind::filler)) {
      if (record_bytes != capacity_bytes_ - position) return fault(produced_bytes);
      consumed_bytes_ += record_bytes;
      continue;
    }
    if (header.length > ring_record_bytes_max) return fault(produced_bytes);
    std::memcpy(record_.data(), records_ + position + sizeof(RingRecordHeader), header.length);
    consumed_bytes_ += record_bytes;
    return Record{static_cast<RingRecordKind>(header.kind),
                  ConstBytes(record_).first(header.length)};
  }
  return fault(produced_bytes);
}

void RingConsumer::release() noexcept {
  // release: pairs with the producer's load in make_room(); our copies come before its next writes there
  header_->consumed_bytes.store(consumed_bytes_, std::memory_order_release);
}

}  // namespace pharos
