// The catalog image as text: `pharosctl image dump`. Stable: the same image gives the same text.
#include "pharos/shared/answer_text.hh"
#include "pharos/shared/catalog_image.hh"
#include "pharos/wire/name_text.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

namespace pharos::catalog {
namespace {

constexpr std::array<std::pair<std::uint16_t, std::string_view>, 8> flag_names{{
    {node_flag::apex, "apex"},
    {node_flag::cut, "cut"},
    {node_flag::below_cut, "below-cut"},
    {node_flag::dname, "dname"},
    {node_flag::cname, "cname"},
    {node_flag::wildcard, "wildcard"},
    {node_flag::outside, "outside"},
    {node_flag::service, "service"},
}};

[[nodiscard]] std::string node_text(const Node& node) {
  return dns::name_text({node.name(), node.name_bytes});
}

// Nothing where it is the usual.
[[nodiscard]] std::string ecs_text(EcsMode mode) {
  return mode == EcsMode::all ? std::string() : fmt::format(" ecs={}", name_of(mode));
}

void put_answer(std::string& out, std::string_view label, const Answer& answer, const Node& owner) {
  out += fmt::format("  {} {} bytes, {} required, {} relocations, checksum {:04x}\n", label,
                     answer.body_bytes, answer.required_bytes, answer.relocation_count,
                     answer.checksum);
  for (const auto& line : answer_text(answer, {owner.name(), owner.name_bytes})) {
    out += "    " + line + "\n";
  }
}

void put_node(std::string& out, const View& view, Ref ref) {
  const Node& node = *view.node(ref);
  out += fmt::format("node {} {}", ref, node_text(node));
  if (node.zone != no_zone) out += fmt::format(" zone={}", node.zone);
  for (const auto& [flag, name] : flag_names) {
    if ((node.flags & flag) != 0) out += fmt::format(" {}", name);
  }
  if (node.verdict != 0) {
    out += fmt::format(" policy={}", view.policies().rules()[node.verdict - 1].name());
  }
  if (node.covering != 0 && node.covering != ref) {
    out += " covered-by=" + node_text(*view.node(node.covering));
  }
  out += '\n';
  for (const RrsetSlot& slot : slots_of(node)) {
    if (slot.kind == SlotKind::pool) {
      out += fmt::format("  {} pool {}{}\n", dns::type_text(slot.type), slot.value,
                         ecs_text(slot.ecs));
    } else {
      put_answer(out, dns::type_text(slot.type), *view.answer(slot.value), node);
    }
  }
  if (node.referral != 0) put_answer(out, "referral", *view.answer(node.referral), node);
}

void put_policies(std::string& out, const PolicyView& policies) {
  for (std::size_t i = 0; i < policies.rules().size(); ++i) {
    const PolicyRule& rule = policies.rules()[i];
    out += fmt::format("policy {} {} priority={} {}{} patterns={}", i, rule.name(), rule.priority,
                       name_of(rule.action), (rule.flags & policy_flag::log) != 0 ? " logged" : "",
                       rule.pattern_count);
    if (rule.rate_class != 0) out += fmt::format(" rate_class={}", rule.rate_class);
    for (const PolicyRoute& route : rule.route())
      out +=
          fmt::format(" {}=pool {}{}", dns::type_text(route.type), route.pool, ecs_text(route.ecs));
    out += '\n';
  }
  const auto verdict_text = [&](std::uint32_t verdict) {
    return verdict == 0 ? std::string_view("-") : policies.rules()[verdict - 1].name();
  };
  for (const PolicyName& name : policies.names()) {
    if (name.name_bytes == 0) continue;
    out += fmt::format("pattern {} itself={} below={}\n", dns::name_text(policies.name_of(name)),
                       verdict_text(name.exact), verdict_text(name.below));
  }
  if (const auto* database = policies.database()) {
    out += fmt::format("expressions={} bytes={} library={}\n", database->expression_count,
                       database->database_bytes, database->library.data());
  }
}

}  // namespace

std::string dump(const View& view) {
  const ImageHeader& header = view.header();
  const Summary& summary = view.summary();
  std::string out = fmt::format(
      "catalog epoch={} generation={} content_id={:016x} bytes={}\n"
      "names={} zones={} pools={} buckets={} labels_max={}\n",
      header.version.epoch, header.version.generation, header.content_id, header.image_bytes,
      summary.node_count, view.zones().size(), summary.pool_count, view.buckets().size(),
      summary.label_count_max);
  for (std::size_t i = 0; i < view.zones().size(); ++i) {
    const Zone& zone = view.zones()[i];
    const Node& apex = *view.node(zone.apex);
    out += fmt::format("zone {} {} serial={} negative_ttl={} names={}\n", i, node_text(apex),
                       zone.serial, zone.negative_ttl_s, zone.name_count);
    put_answer(out, "negative", *view.answer(zone.negative), apex);
  }
  put_policies(out, view.policies());
  std::vector<Ref> refs;
  refs.reserve(summary.node_count);
  for (const Bucket& bucket : view.buckets()) {
    std::ranges::copy_if(bucket.refs, std::back_inserter(refs), [](Ref ref) { return ref != 0; });
  }
  std::ranges::sort(refs);
  for (const Ref ref : refs) put_node(out, view, ref);
  return out;
}

}  // namespace pharos::catalog
