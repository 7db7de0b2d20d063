#include "pharos/dataplane/observe/observer.hh"

#include "pharos/base/clock.hh"

#include <cstring>

namespace pharos::dataplane {

void Observer::before(const Watch& watch, std::span<const Query> queries,
                      CoreCounters& counters) noexcept {
  sampled_count_ = 0;
  if (!watch.dnstap) return;
  sampler_.pass(static_cast<unsigned>(queries.size()), watch.dnstap->every, [&](unsigned index) {
    sampled_[sampled_count_++] = static_cast<std::uint8_t>(index);
  });
  if (sampled_count_ == 0) return;
  query_ns_ = wall_now().ns;
  if (!watch.dnstap->queries) return;
  for (unsigned i = 0; i < sampled_count_; ++i) {
    const Query& query = queries[sampled_[i]];
    const CopyHead head{.query_ns = query_ns_, .kind = CopyKind::query};
    copy(*watch.dnstap, query, head, query.length, counters);
  }
}

void Observer::after(const Watch& watch, std::span<const Query> queries,
                     CoreCounters& counters) noexcept {
  if (sampled_count_ == 0 || !watch.dnstap->responses) return;
  const auto response_ns = wall_now().ns;
  for (unsigned i = 0; i < sampled_count_; ++i) {
    const Query& query = queries[sampled_[i]];
    if (query.verdict != Verdict::answered) continue;
    const CopyHead head{
        .query_ns = query_ns_, .response_ns = response_ns, .kind = CopyKind::response};
    copy(*watch.dnstap, query, head, query.reply_bytes, counters);
  }
}

// The message is masked where it lies in the ring, before anybody can see it.
void Observer::copy(const DnstapWatch& watch, const Query& query, CopyHead head,
                    std::uint32_t bytes, CoreCounters& counters) noexcept {
  RecordRing& ring = *(*watch.rings)[seat_];
  std::byte* record = ring.reserve(sizeof head + bytes);
  if (record == nullptr) {
    counters.count(Counter::dnstap_dropped);
    return;
  }
  std::byte* message = record + sizeof head;
  std::memcpy(message, query.message, bytes);
  head.ipv4 = query.source.is_ipv4();
  head.client = watch.mask.apply(query.source);
  head.client_given = watch.mask.key || watch.mask.prefix_bits(head.ipv4) != 0;
  head.transport = query.transport;
  const bool readable = mask_message({message, bytes}, watch.mask);
  head.message_bytes = readable ? bytes : 0;
  if (!readable) counters.count(Counter::dnstap_unreadable);
  store(record, head);
  ring.commit();
  counters.count(Counter::dnstap_messages);
}

}  // namespace pharos::dataplane
