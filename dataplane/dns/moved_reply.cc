// Replies whose prepared answer stands under another name than it was made for: the SOA of a zone under a name below its
// apex, a wildcard's records under the name that it stands for. Their pointers move, and nothing else.
#include "pharos/dataplane/dns/deny.hh"
#include "pharos/dataplane/dns/plain_reply.hh"
#include "pharos/dataplane/dns/reply.hh"

#include <utility>

namespace pharos::dataplane {

namespace {

[[nodiscard]] dns::Rcode rcode_of(const Work& work) noexcept {
  return work.answer_class == AnswerClass::nxdomain ? dns::Rcode::nxdomain : dns::Rcode::noerror;
}

// A wildcard's owner is the QNAME, in its place; a zone's apex is where the QNAME ends.
[[nodiscard]] bool owner_stays(const Work& work) noexcept {
  return work.answer_class == AnswerClass::wildcard;
}

// Which answer, and under which name it was made.
void zone_stage(Burst& burst) noexcept {
  const catalog::View& catalog = burst.root.catalog;
  for (unsigned n = 0; n < burst.moved_count; ++n) {
    Work& work = burst.state.work[burst.moved[n]];
    if (work.answer_class != AnswerClass::wildcard) {
      const catalog::Zone& zone = catalog.zones()[work.node->zone];
      work.answer = catalog.answer(zone.negative);
      work.node = catalog.node(zone.apex);
      __builtin_prefetch(work.node);
    }
    __builtin_prefetch(work.answer);
    __builtin_prefetch(reinterpret_cast<const std::byte*>(work.answer) + 64);
  }
}

// Copies the pointers again, moved by what the name is longer than the one that the answer was made under: those into the
// body, and those to the owner unless it stays. Returns what that adds to the sum: a pointer at an even offset is a
// word of it, one at an odd offset lies across two, which swaps its bytes.
[[nodiscard, gnu::always_inline]] inline std::uint64_t move_pointers(const Answer& answer,
                                                                     std::byte* message,
                                                                     unsigned body_at,
                                                                     unsigned delta,
                                                                     bool owner_stays) noexcept {
  const std::uint16_t* relocations = answer.relocations();
  const std::byte* body = answer.body();
  unsigned even = 0, odd = 0;
  for (unsigned i = 0; i < answer.relocation_count; ++i) {
    const unsigned relocation = relocations[i];
    if (owner_stays && (relocation & relocation_of_body) == 0) continue;
    const unsigned at = relocation & ~unsigned{relocation_of_body};
    store(message + body_at + at, Be16(static_cast<std::uint16_t>(load<Be16>(body + at) + delta)));
    odd += at & 1;
    ++even;
  }
  even -= odd;
  if ((body_at & 1) != 0) std::swap(even, odd);
  return std::uint64_t{even} * byte_swap(static_cast<std::uint16_t>(delta)) +
         std::uint64_t{odd} * delta;
}

[[nodiscard, gnu::always_inline]] inline bool write_plain_moved(Burst& burst,
                                                                std::uint8_t index) noexcept {
  const Work& work = burst.state.work[index];
  Query& query = burst.queries[index];
  const Request& request = work.request;
  const Answer& answer = *work.answer;
  const PlainEnds ends = plain_ends(request, answer);
  if (!is_plain(burst.state, query, request, ends)) return false;
  const unsigned delta = request.name_bytes - unsigned{work.node->name_bytes};
  copy_body(query.message + request.question_end, answer.body(), answer.body_bytes);
  const auto moved =
      move_pointers(answer, query.message, request.question_end, delta, owner_stays(work));
  close_plain(burst.state, query, request, answer, ends, rcode_of(work), moved);
  return true;
}

[[gnu::noinline]] void write_moved_with_care(Burst& burst, std::uint8_t index) noexcept {
  const Work& work = burst.state.work[index];
  const unsigned owner_bytes = work.node->name_bytes;
  const unsigned owner_at = owner_stays(work)
                                ? dns::header_bytes
                                : dns::header_bytes + work.request.name_bytes - owner_bytes;
  ReplyBuilder reply(burst.state, burst.queries[index], work.request, burst.state.options[index]);
  reply.append(*work.answer, owner_at, owner_bytes);
  reply.finish(rcode_of(work), true, burst.counters);
}

}  // namespace

void moved_stage(Burst& burst) noexcept {
  zone_stage(burst);
  Tally tally;
  std::uint32_t nodata = 0, records = 0, nxdomain_plain = 0;
  for (unsigned n = 0; n < burst.moved_count; ++n) {
    const std::uint8_t i = burst.moved[n];
    const Work& work = burst.state.work[i];
    const bool no_name = work.answer_class == AnswerClass::nxdomain;
    const bool has_records = work.answer->answer_count != 0;
    records += has_records ? 1 : 0;
    nodata += no_name || has_records ? 0 : 1;
    if (write_plain_moved(burst, i)) [[likely]] {
      tally.add(burst.queries[i], work.request);
      nxdomain_plain += no_name ? 1 : 0;
    } else {
      write_moved_with_care(burst, i);
    }
  }
  tally.count(burst.counters);
  burst.counters.count(Counter::rcode_nxdomain, nxdomain_plain);
  burst.counters.count(Counter::rcode_noerror, tally.replies - nxdomain_plain);
  burst.counters.count(Counter::answers_nodata, nodata);
  burst.counters.count(Counter::answers_static, records);
}

}  // namespace pharos::dataplane
