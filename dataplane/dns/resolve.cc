#include "pharos/dataplane/dns/resolve.hh"

#include "pharos/base/assert.hh"
#include "pharos/dataplane/dns/reply.hh"

#include <array>
#include <cstring>
#include <string_view>

namespace pharos::dataplane {

namespace {

constexpr auto type_cname = static_cast<std::uint16_t>(dns::Type::cname);
constexpr auto type_ds = static_cast<std::uint16_t>(dns::Type::ds);
constexpr auto type_any = static_cast<std::uint16_t>(dns::Type::any);
constexpr auto class_in = static_cast<std::uint16_t>(dns::Class::in);

// The target, or TTL, of the one record that a CNAME or DNAME answer starts with.
struct FirstRecord {
  std::uint32_t ttl_s;
  unsigned data_offset;  // in the body
  unsigned data_bytes;
};
[[nodiscard]] FirstRecord first_record(const Answer& answer) noexcept {
  const std::byte* body = answer.body();
  const unsigned owner_bytes = body[0] == std::byte{0} ? 1 : 2;  // the root, or a pointer
  return {load<Be32>(body + owner_bytes + 4), owner_bytes + 10, load<Be16>(body + owner_bytes + 8)};
}

// One question on its way through the zones. The name being looked for stands uncompressed in the message at
// `name_offset_`, folded in `name_`; a chain moves both on.
class Resolution {
 public:
  Resolution(const ServeState::Impl& state, const TableRoot& root, Query& query, Work& work,
             const EdnsOptions& options, dns::FoldedName& name, LabelMap& labels,
             CoreCounters& counters) noexcept
      : state_(state),
        root_(root),
        catalog_(root.catalog),
        query_(query),
        work_(work),
        request_(work.request),
        options_(options),
        name_(name),
        labels_(labels),
        counters_(counters),
        reply_(state, query, work.request, options) {}

  void run(const catalog::Node* node, bool absent) noexcept {
    const auto* found = node;
    if (found == nullptr && !absent) found = find_node(catalog_, name_.bytes.data(), name_.length);
    while (step(found) == Next::follow) {
      if (steps_ == chain_steps_max || reply_.end() > chain_bytes_max || comes_back()) break;
      found = find_node(catalog_, name_.bytes.data(), name_.length);
    }
    reply_.finish(rcode_, authoritative_, counters_);
  }

  // What a policy says in place of the zones. `node` is null where the name has none.
  void run_policy(const catalog::Node* node, const catalog::PolicyRule& rule) noexcept {
    if (node == nullptr) node = find_closest_encloser(catalog_, name_, labels_).node;
    if (rule.action == catalog::PolicyAction::route) {
      answer_route(*node, rule);
    } else {
      const bool exists = rule.action == catalog::PolicyAction::nodata;
      static_cast<void>(deny(*node, exists ? dns::Rcode::noerror : dns::Rcode::nxdomain));
      reply_.explain(extended_error::blocked);
    }
    reply_.finish(rcode_, authoritative_, counters_);
  }

 private:
  enum class Next { done, follow };

  // A name that the chain has left, uncompressed in the message, and the node that sent it on.
  struct Link {
    const catalog::Node* node;
    unsigned name_offset;
    unsigned name_bytes;
  };

  [[nodiscard]] Next step(const catalog::Node* exact) noexcept {
    if (exact != nullptr) return at_node(*exact);
    if (labels_known_ != all_labels) map_labels(name_.bytes.data(), labels_, labels_known_);
    labels_known_ = all_labels;
    const Encloser encloser = find_closest_encloser(catalog_, name_, labels_);
    work_.node = encloser.node;
    return below(*encloser.node, encloser);
  }

  // The name has a node.
  [[nodiscard]] Next at_node(const catalog::Node& node) noexcept {
    const auto* slot = find_slot(node, request_.type);
    if (slot != nullptr) return answer_slot(node, *slot);
    if (is_hidden(node) || (node.covering != 0 && request_.type == type_ds)) {
      const auto& cut = *catalog_.node(node.covering);
      // DS is the parent's to answer, or to deny (RFC 4035, 3.1.4.1).
      const bool parent_side = request_.type == type_ds && &cut == &node;
      return parent_side ? deny(node, dns::Rcode::noerror) : refer(cut);
    }
    if (node.zone == catalog::no_zone) return leave();
    if ((node.flags & catalog::node_flag::cname) != 0) return follow_cname(node);
    return deny(node, dns::Rcode::noerror);
  }

  // The name has none; `encloser` is its closest encloser, at `place`.
  [[nodiscard]] Next below(const catalog::Node& encloser, const Encloser& place) noexcept {
    if (is_hidden(encloser)) return refer(*catalog_.node(encloser.covering));
    if (encloser.zone == catalog::no_zone) return leave();
    if ((encloser.flags & catalog::node_flag::dname) != 0)
      return follow_dname(encloser, place.offset, place.label);
    if (encloser.wildcard_child == 0) return deny(encloser, dns::Rcode::nxdomain);
    counters_.count(Counter::answers_wildcard);
    count_as(AnswerClass::wildcard, encloser.zone);
    const auto& wildcard = *catalog_.node(encloser.wildcard_child);
    if (const auto* slot = find_slot(wildcard, request_.type)) return answer_slot(wildcard, *slot);
    if ((wildcard.flags & catalog::node_flag::cname) != 0) return follow_cname(wildcard);
    return deny(encloser, dns::Rcode::noerror);
  }

  [[nodiscard]] Next answer_slot(const catalog::Node& node,
                                 const catalog::RrsetSlot& slot) noexcept {
    authoritative_ = true;
    if (slot.kind == catalog::SlotKind::pool) return answer_pool(node, slot.value, slot.ecs);
    const Answer& answer = *catalog_.answer(slot.value);
    counters_.count(answer.answer_count != 0 ? Counter::answers_static : Counter::answers_nodata);
    reply_.append(answer, name_offset_, node.name_bytes);
    return Next::done;
  }

  // Answers of pools point to their owner only, whatever its length.
  [[nodiscard]] Next answer_pool(const catalog::Node& node, std::uint32_t pool,
                                 catalog::EcsMode ecs) noexcept {
    choose_client(state_, query_, work_.request, ecs, counters_);
    const IpAddress& client = client_of(query_, request_, options_);
    const Steered steered = steer(root_, pool, client);
    reply_.set_scope(steered.scope_length);
    if (steered.answer == nullptr) return deny(node, dns::Rcode::noerror);
    counters_.count(Counter::answers_ranked);
    work_.steered = true;
    work_.node = &node;
    work_.pool = pool;
    work_.set_place(locate(root_, pool, client));
    reply_.append(*steered.answer, name_offset_, name_.length);
    return Next::done;
  }

  // ANY takes the first type, as it does elsewhere. Types that are not routed have no data.
  void answer_route(const catalog::Node& node, const catalog::PolicyRule& rule) noexcept {
    authoritative_ = true;
    for (const catalog::PolicyRoute& route : rule.route()) {
      if (route.type != request_.type && request_.type != type_any) continue;
      static_cast<void>(answer_pool(node, route.pool, route.ecs));
      return;
    }
    static_cast<void>(deny(node, dns::Rcode::noerror));
  }

  // NODATA or NXDOMAIN, with the SOA of the zone of `node` (RFC 2308, 2), which is a suffix of the name.
  [[nodiscard]] Next deny(const catalog::Node& node, dns::Rcode rcode) noexcept {
    if (node.zone ==
        catalog::no_zone) {  // a policy's word on a name of nobody's: no SOA, not to be cached
      rcode_ = rcode;
      count_as(AnswerClass::error, 0);
      return Next::done;
    }
    const catalog::Zone& zone = catalog_.zones()[node.zone];
    const unsigned apex_bytes = catalog_.node(zone.apex)->name_bytes;
    authoritative_ = true;
    rcode_ = rcode;
    count_as(rcode == dns::Rcode::noerror ? AnswerClass::nodata : AnswerClass::nxdomain, node.zone);
    if (rcode == dns::Rcode::noerror) counters_.count(Counter::answers_nodata);
    reply_.append(*catalog_.answer(zone.negative), suffix_offset(apex_bytes), apex_bytes);
    return Next::done;
  }

  // A referral is not authoritative, unless it ends a chain that was (RFC 1034, 4.3.1; RFC 6604, 2.1).
  [[nodiscard]] Next refer(const catalog::Node& cut) noexcept {
    counters_.count(Counter::answers_referral);
    count_as(AnswerClass::referral, cut.zone);
    reply_.append(*catalog_.answer(cut.referral), suffix_offset(cut.name_bytes), cut.name_bytes);
    return Next::done;
  }

  // Out of our zones: refused as a question, the end of the answer as a link of a chain.
  [[nodiscard]] Next leave() noexcept {
    if (steps_ > 0) return Next::done;
    rcode_ = dns::Rcode::refused;
    count_as(AnswerClass::error, 0);
    reply_.explain(extended_error::not_authoritative);
    return Next::done;
  }

  [[nodiscard]] Next follow_cname(const catalog::Node& node) noexcept {
    const Answer& answer = *catalog_.answer(catalog::slots_of(node)[0].value);
    ASSERT(catalog::slots_of(node)[0].type == type_cname);
    authoritative_ = true;
    const unsigned body_offset = reply_.end();
    if (!reply_.append(answer, name_offset_, node.name_bytes)) return Next::done;
    const FirstRecord record = first_record(answer);
    move_on(node, body_offset + record.data_offset, record.data_bytes);
    return Next::follow;
  }

  // RFC 6672, 2.2 and 3.1: the DNAME, and a CNAME made from it with its TTL.
  [[nodiscard]] Next follow_dname(const catalog::Node& node, unsigned offset,
                                  unsigned label) noexcept {
    const auto* slot = find_slot(node, static_cast<std::uint16_t>(dns::Type::dname));
    ASSERT(slot != nullptr && slot->kind == catalog::SlotKind::fixed);
    const Answer& answer = *catalog_.answer(slot->value);
    authoritative_ = true;
    count_as(AnswerClass::wildcard, node.zone);
    // A DNAME that the chain passes again stands in the answer already.
    if (!passed(node) && !reply_.append(answer, name_offset_ + offset, node.name_bytes)) {
      return Next::done;
    }
    const FirstRecord record = first_record(answer);
    if (offset + record.data_bytes > dns::name_bytes_max) {
      rcode_ = dns::Rcode::yxdomain;
      return Next::done;
    }
    const ConstBytes labels(query_.message + name_offset_, offset);
    const ConstBytes target(answer.body() + record.data_offset, record.data_bytes);
    const unsigned record_offset = reply_.end();
    if (!reply_.append_record(name_offset_, type_cname, class_in, record.ttl_s, labels, target))
      return Next::done;
    if (request_.type == type_cname || request_.type == type_any) return Next::done;
    move_on(node, record_offset + 12, offset + record.data_bytes);
    // The labels in front of the target stay where they were.
    labels_known_ = label;
    return Next::follow;
  }

  // Until something says otherwise, a reply counts for the first name.
  void count_as(AnswerClass answer_class, std::uint32_t zone) noexcept {
    work_.answer_class = answer_class;
    work_.hash = zone;
  }

  // Below a cut, or the cut itself. An apex is not: there, `covering` only says who is asked for its DS.
  [[nodiscard]] static bool is_hidden(const catalog::Node& node) noexcept {
    return node.covering != 0 && (node.flags & catalog::node_flag::apex) == 0;
  }

  // Whether the chain has used the data of `node` before.
  [[nodiscard]] bool passed(const catalog::Node& node) const noexcept {
    for (unsigned i = 0; i < steps_; ++i) {
      if (chain_[i].node == &node) return true;
    }
    return false;
  }

  // A chain that comes back to a name runs in circles: it ends with what it has.
  [[nodiscard]] bool comes_back() const noexcept {
    for (unsigned i = 0; i < steps_; ++i) {
      if (chain_[i].name_bytes != name_.length) continue;
      const std::byte* earlier = query_.message + chain_[i].name_offset;
      unsigned same = 0;
      while (same < name_.length && dns::fold_byte(earlier[same]) == name_.bytes[same]) ++same;
      if (same == name_.length) return true;
    }
    return false;
  }

  // The chain left `node`; the next name stands at `offset`.
  void move_on(const catalog::Node& node, unsigned offset, unsigned bytes) noexcept {
    chain_[steps_++] = {&node, name_offset_, name_.length};
    counters_.count(Counter::answers_chained);
    labels_known_ = 0;
    name_offset_ = offset;
    dns::fold_name(query_.message + offset, bytes, name_);
  }

  [[nodiscard]] unsigned suffix_offset(unsigned suffix_bytes) const noexcept {
    ASSERT(suffix_bytes <= name_.length);
    return name_offset_ + name_.length - suffix_bytes;
  }

  const ServeState::Impl& state_;
  const TableRoot& root_;
  const catalog::View& catalog_;
  Query& query_;
  Work& work_;
  const Request& request_;
  const EdnsOptions& options_;
  dns::FoldedName& name_;
  LabelMap& labels_;
  CoreCounters& counters_;
  ReplyBuilder reply_;
  unsigned name_offset_ = dns::header_bytes;
  static constexpr unsigned all_labels = ~0U;
  unsigned labels_known_ = all_labels;  // of name_, in labels_
  unsigned steps_ = 0;
  bool authoritative_ = false;
  dns::Rcode rcode_ = dns::Rcode::noerror;
  std::array<Link, chain_steps_max> chain_{};
};

[[nodiscard]] bool is_text_name(const std::byte* name, unsigned bytes,
                                std::string_view wire) noexcept {
  if (bytes != wire.size() + 1) return false;  // the literal's own end is the root octet
  for (unsigned i = 0; i < bytes; ++i) {
    if (dns::fold_byte(name[i]) != static_cast<std::byte>(wire.data()[i])) return false;
  }
  return true;
}

}  // namespace

void resolve(const ServeState::Impl& state, const TableRoot& root, Query& query, Work& work,
             const EdnsOptions& options, dns::FoldedName& name, LabelMap& labels,
             CoreCounters& counters) noexcept {
  work.steered = false;
  Resolution(state, root, query, work, options, name, labels, counters).run(work.node, work.absent);
}

void resolve_policy(const ServeState::Impl& state, const TableRoot& root, Query& query, Work& work,
                    const EdnsOptions& options, dns::FoldedName& name, LabelMap& labels,
                    const catalog::PolicyRule& rule, CoreCounters& counters) noexcept {
  work.steered = false;
  Resolution(state, root, query, work, options, name, labels, counters).run_policy(work.node, rule);
}

void answer_chaos(const ServeState::Impl& state, Query& query, const Request& request,
                  const EdnsOptions& options, CoreCounters& counters) noexcept {
  const auto* name = query.message + dns::header_bytes;
  const auto is = [&](std::string_view wire) {
    return is_text_name(name, request.name_bytes, wire);
  };
  const std::string* text = nullptr;
  if (is("\7version\4bind") || is("\7version\6server")) text = &state.version_text;
  if (is("\2id\6server") || is("\10hostname\4bind")) text = &state.server_id;
  const bool right_type =
      request.type == static_cast<std::uint16_t>(dns::Type::txt) || request.type == type_any;
  if (text == nullptr || text->empty() || !right_type) {
    reply_error(state, query, request, options, dns::Rcode::refused, extended_error::none,
                counters);
    return;
  }
  ReplyBuilder reply(state, query, request, options);
  const std::array<std::byte, 1> length{static_cast<std::byte>(text->size())};
  reply.append_record(dns::header_bytes, static_cast<std::uint16_t>(dns::Type::txt),
                      static_cast<std::uint16_t>(dns::Class::ch), 0, length, as_bytes(*text));
  reply.finish(dns::Rcode::noerror, true, counters);
}

}  // namespace pharos::dataplane
