#include "reply.hh"

#include <ldns/ldns.h>

#include <algorithm>
#include <memory>

namespace pharos::oracle {
namespace {

[[nodiscard]] std::vector<std::string> lines_of(ldns_rr_list* section) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < ldns_rr_list_rr_count(section); ++i) {
    ldns_rr* record = ldns_rr_list_rr(section, i);
    if (ldns_rr_get_type(record) == LDNS_RR_TYPE_OPT) continue;
    ldns_rr2canonical(record);
    char* text = ldns_rr2str(record);
    std::string line = text;
    std::free(text);
    while (!line.empty() && line.back() == '\n') line.pop_back();
    lines.push_back(line);
  }
  std::ranges::sort(lines);
  return lines;
}

}  // namespace

Reply read_reply(ConstBytes wire) {
  Reply reply;
  ldns_pkt* packet = nullptr;
  if (ldns_wire2pkt(&packet, reinterpret_cast<const std::uint8_t*>(wire.data()), wire.size()) !=
      LDNS_STATUS_OK) {
    return reply;
  }
  const std::unique_ptr<ldns_pkt, void (*)(ldns_pkt*)> owned(packet, ldns_pkt_free);
  reply.parsed = true;
  reply.rcode = static_cast<unsigned>(ldns_pkt_get_rcode(packet));
  reply.authoritative = ldns_pkt_aa(packet);
  reply.truncated = ldns_pkt_tc(packet);
  reply.recursion = ldns_pkt_ra(packet);
  reply.answer = lines_of(ldns_pkt_answer(packet));
  reply.authority = lines_of(ldns_pkt_authority(packet));
  reply.additional = lines_of(ldns_pkt_additional(packet));
  return reply;
}

bool same_meaning(const Reply& a, const Reply& b) {
  if (a.parsed != b.parsed || a.rcode != b.rcode || a.truncated != b.truncated ||
      a.recursion != b.recursion)
    return false;
  if (a.authoritative != b.authoritative) return false;
  if (a.truncated) return true;  // what is left in it means nothing (RFC 2181, 9)
  return a.answer == b.answer && a.authority == b.authority;
}

std::string Reply::text() const {
  if (!parsed) return "  no reply that parses\n";
  std::string out = "  rcode=" + std::to_string(rcode) + (authoritative ? " aa" : "") +
                    (truncated ? " tc" : "") + (recursion ? " ra" : "") + "\n";
  const auto put = [&](const char* name, const std::vector<std::string>& lines) {
    for (const auto& line : lines) out += std::string("  ") + name + " " + line + "\n";
  };
  put("answer", answer);
  put("authority", authority);
  put("additional", additional);
  return out;
}

}  // namespace pharos::oracle
