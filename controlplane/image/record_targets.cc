#include "pharos/controlplane/image/record_targets.hh"

#include "pharos/config/service_records.hh"
#include "pharos/controlplane/image/answer_encoder.hh"
#include "pharos/wire/name_text.hh"

#include <utility>

namespace pharos::controlplane {
namespace {

// Without room for all optional records none is sent: 1232 bytes less header, EDNS, and a question with a long name.
constexpr std::size_t optional_body_bytes_max = 1232 - 12 - 40 - 4 - 128;

void append(std::vector<std::byte>& out, ConstBytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}
void append16(std::vector<std::byte>& out, std::uint16_t value) {
  append(out, object_bytes(Be16(value)));
}

// The addresses of the endpoint's name, as the catalog answers them: A before AAAA.
void add_addresses(RecordTarget& target, ConstBytes name, const config::EndpointConfig& endpoint,
                   std::uint32_t ttl_s) {
  for (const auto type : {dns::Type::a, dns::Type::aaaa}) {
    for (const auto& address : endpoint.addresses) {
      if (address.is_ipv4() != (type == dns::Type::a)) continue;
      append(target.additional, name);
      append16(target.additional, std::to_underlying(type));
      append16(target.additional, std::to_underlying(dns::Class::in));
      append(target.additional, object_bytes(Be32(ttl_s)));
      append16(target.additional, static_cast<std::uint16_t>(address.wire().size()));
      append(target.additional, address.wire());
      ++target.additional_count;
    }
  }
}

}  // namespace

Result<std::vector<RecordTarget>> record_targets_of(const config::ServiceConfig& service,
                                                    dns::Type type) {
  std::vector<RecordTarget> targets;
  for (const auto& endpoint : service.endpoints) {
    const auto name = dns::parse_name(config::target_of(service, endpoint));
    if (!name) return std::unexpected(Error(name.error()).in(endpoint.source.text()));
    RecordTarget& target = targets.emplace_back();
    if (type == dns::Type::srv) append16(target.rdata_tail, endpoint.port);
    append(target.rdata_tail, name->view());
    if (type != dns::Type::srv) {
      append(target.rdata_tail, dns::svc_params_wire(config::svc_params_of(service, endpoint)));
    }
    if (endpoint.target.empty()) {
      add_addresses(target, name->view(), endpoint, config::target_ttl_s(service, endpoint));
    }
  }
  return targets;
}

Status encode_record_answer(std::uint16_t type, std::uint32_t ttl_s,
                            std::span<const RecordTarget> targets,
                            std::span<const RankedRecord> records, std::vector<std::byte>& out) {
  const bool weighs = type == std::to_underlying(dns::Type::srv);
  std::vector<std::vector<std::byte>> data;
  std::vector<OwnedRecord> owned;
  data.reserve(records.size());
  for (const auto& record : records) {
    if (record.target >= targets.size()) {
      return fail(ErrorCode::invalid, "a record names target " + std::to_string(record.target) +
                                          " of " + std::to_string(targets.size()));
    }
    auto& rdata = data.emplace_back();
    append16(rdata, record.priority);
    if (weighs) append16(rdata, record.weight);
    append(rdata, targets[record.target].rdata_tail);
    owned.push_back({type, ttl_s, rdata});
  }
  std::vector<std::byte> optional;
  std::uint16_t optional_count = 0;
  std::size_t body_bytes = 0;
  for (const auto& record : owned) body_bytes += 12 + record.rdata.size();
  for (const auto& record : records) {
    const auto& target = targets[record.target];
    const std::size_t whole_bytes = body_bytes + optional.size() + target.additional.size();
    if (whole_bytes > optional_body_bytes_max) break;
    append(optional, target.additional);
    optional_count = static_cast<std::uint16_t>(optional_count + target.additional_count);
  }
  return encode_answer(owned, {optional, optional_count}, out);
}

}  // namespace pharos::controlplane
