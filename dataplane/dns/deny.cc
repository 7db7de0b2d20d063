#include "pharos/dataplane/dns/deny.hh"

#include "pharos/dataplane/dns/plain_reply.hh"
#include "pharos/dataplane/dns/reply.hh"

namespace pharos::dataplane {

namespace {

// RFC 2308, 2: the SOA of the zone of `work.node`, which lies at or above the name.
void deny(Burst& burst, std::uint8_t index, AnswerClass answer_class) noexcept {
  Work& work = burst.state.work[index];
  work.answer_class = answer_class;
  work.hash = work.node->zone;
  __builtin_prefetch(&burst.root.catalog.zones()[work.node->zone]);
  burst.deny[burst.deny_count++] = index;
}

[[nodiscard]] dns::Rcode rcode_of(const Work& work) noexcept {
  return work.answer_class == AnswerClass::nxdomain ? dns::Rcode::nxdomain : dns::Rcode::noerror;
}

// The parent of every missing name is the likely encloser.
void parent_stage(Burst& burst) noexcept {
  const catalog::View& catalog = burst.root.catalog;
  const auto buckets = catalog.buckets();
  const auto bucket_count = static_cast<std::uint32_t>(buckets.size());
  unsigned kept = 0;
  for (unsigned n = 0; n < burst.miss_count; ++n) {
    const std::uint8_t i = burst.miss[n];
    Work& work = burst.state.work[i];
    if (!is_whole(burst, i)) {
      burst.resolve[burst.resolve_count++] = i;
      continue;
    }
    // The root has a node: a name that has none has a label.
    const dns::FoldedName& name = burst.state.names[i];
    const unsigned parent = 1 + std::to_integer<unsigned>(name.bytes[0]);
    work.hash = dns::hash_name(name.bytes.data() + parent, name.length - parent,
                               catalog.summary().hash_key);
    __builtin_prefetch(&buckets[catalog::bucket_of(work.hash, bucket_count)]);
    burst.miss[kept++] = i;
  }
  burst.miss_count = kept;
}

void parent_match_stage(Burst& burst) noexcept {
  const catalog::View& catalog = burst.root.catalog;
  const auto buckets = catalog.buckets();
  const auto bucket_count = static_cast<std::uint32_t>(buckets.size());
  unsigned kept = 0;
  for (unsigned n = 0; n < burst.miss_count; ++n) {
    const std::uint8_t i = burst.miss[n];
    Work& work = burst.state.work[i];
    const catalog::Bucket& bucket = buckets[catalog::bucket_of(work.hash, bucket_count)];
    const std::uint32_t matches = tag_matches(bucket, catalog::tag_of(work.hash));
    if (matches == 0) {
      burst.resolve[burst.resolve_count++] = i;
      continue;
    }
    work.node = catalog.node(first_match(bucket, matches));
    const auto* lines = reinterpret_cast<const std::byte*>(work.node);
    __builtin_prefetch(lines);
    __builtin_prefetch(lines + 64);
    burst.miss[kept++] = i;
  }
  burst.miss_count = kept;
}

// Nothing at the encloser or above it says anything but that the name is not there.
[[nodiscard]] bool denies_children(const catalog::Node& encloser) noexcept {
  const bool hidden = encloser.covering != 0 && (encloser.flags & catalog::node_flag::apex) == 0;
  return !hidden && encloser.zone != catalog::no_zone && encloser.wildcard_child == 0 &&
         (encloser.flags & catalog::node_flag::dname) == 0;
}

void encloser_stage(Burst& burst) noexcept {
  for (unsigned n = 0; n < burst.miss_count; ++n) {
    const std::uint8_t i = burst.miss[n];
    Work& work = burst.state.work[i];
    const dns::FoldedName& name = burst.state.names[i];
    const unsigned parent = 1 + std::to_integer<unsigned>(name.bytes[0]);
    if (is_name_of(*work.node, name.bytes.data() + parent, name.length - parent) &&
        denies_children(*work.node)) {
      deny(burst, i, AnswerClass::nxdomain);
    } else {
      work.node = nullptr;
      burst.resolve[burst.resolve_count++] = i;
    }
  }
}

// Which answer, and from where its pointers have moved.
void zone_stage(Burst& burst) noexcept {
  const catalog::View& catalog = burst.root.catalog;
  for (unsigned n = 0; n < burst.deny_count; ++n) {
    Work& work = burst.state.work[burst.deny[n]];
    const catalog::Zone& zone = catalog.zones()[work.node->zone];
    work.answer = catalog.answer(zone.negative);
    work.node = catalog.node(zone.apex);
    __builtin_prefetch(work.node);
    __builtin_prefetch(work.answer);
    __builtin_prefetch(reinterpret_cast<const std::byte*>(work.answer) + 64);
  }
}

// Owner and body have both moved by what the name is longer than the apex. Returns what that adds to the sum: a
// pointer at an even offset is a word of it, one at an odd offset lies across two, which swaps its bytes.
[[nodiscard]] std::uint64_t move_pointers(const Answer& answer, std::byte* message,
                                          unsigned body_at, unsigned delta) noexcept {
  const std::uint16_t* relocations = answer.relocations();
  const auto swapped = byte_swap(static_cast<std::uint16_t>(delta));
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < answer.relocation_count; ++i) {
    const unsigned at = body_at + (relocations[i] & ~relocation_of_body);
    const unsigned pointer = load<Be16>(message + at) + delta;
    store(message + at, Be16(static_cast<std::uint16_t>(pointer)));
    sum += at % 2 == 0 ? swapped : delta;
  }
  return sum;
}

[[nodiscard]] bool write_plain_denial(Burst& burst, std::uint8_t index) noexcept {
  const Work& work = burst.state.work[index];
  Query& query = burst.queries[index];
  const Request& request = work.request;
  const Answer& answer = *work.answer;
  if (!is_plain(burst.state, query, request, answer)) return false;
  const unsigned delta = request.name_bytes - unsigned{work.node->name_bytes};
  copy_body(query.message + request.question_end, answer.body(), answer.body_bytes);
  const auto moved = move_pointers(answer, query.message, request.question_end, delta);
  close_plain(burst.state, query, request, answer, rcode_of(work), moved);
  return true;
}

[[gnu::noinline]] void write_denial_with_care(Burst& burst, std::uint8_t index) noexcept {
  const Work& work = burst.state.work[index];
  const unsigned apex_bytes = work.node->name_bytes;
  ReplyBuilder reply(burst.state, burst.queries[index], work.request, burst.state.options[index]);
  reply.append(*work.answer, dns::header_bytes + work.request.name_bytes - apex_bytes, apex_bytes);
  reply.finish(rcode_of(work), true, burst.counters);
}

}  // namespace

bool is_whole(Burst& burst, std::uint8_t index) noexcept {
  const Work& work = burst.state.work[index];
  if (work.careful) return true;
  const unsigned bytes = work.request.name_bytes;
  return name_bytes_at(burst.queries[index].message + dns::header_bytes, bytes,
                       burst.state.labels[index]) == bytes;
}

void deny_type(Burst& burst, std::uint8_t index) noexcept {
  const catalog::Node& node = *burst.state.work[index].node;
  if (node.covering == 0 && node.zone != catalog::no_zone &&
      (node.flags & catalog::node_flag::cname) == 0) {
    deny(burst, index, AnswerClass::nodata);
  } else {
    burst.resolve[burst.resolve_count++] = index;
  }
}

void enclose_stages(Burst& burst) noexcept {
  parent_stage(burst);
  parent_match_stage(burst);
  encloser_stage(burst);
}

void deny_stage(Burst& burst) noexcept {
  zone_stage(burst);
  Tally nxdomain, nodata;
  std::uint64_t nodata_count = 0;
  for (unsigned n = 0; n < burst.deny_count; ++n) {
    const std::uint8_t i = burst.deny[n];
    const Work& work = burst.state.work[i];
    const bool no_name = work.answer_class == AnswerClass::nxdomain;
    nodata_count += no_name ? 0 : 1;
    if (write_plain_denial(burst, i)) {
      (no_name ? nxdomain : nodata).add(burst.queries[i], work.request);
    } else {
      write_denial_with_care(burst, i);
    }
  }
  nxdomain.count(Counter::rcode_nxdomain, burst.counters);
  nodata.count(Counter::rcode_noerror, burst.counters);
  burst.counters.count(Counter::answers_nodata, nodata_count);
}

}  // namespace pharos::dataplane
