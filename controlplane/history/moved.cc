#include "moved.hh"

#include "pharos/controlplane/history/leads.hh"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace pharos::controlplane {
namespace {

using nlohmann::json;

constexpr double moved_much = 0.1;     // of a factor: worth a word
constexpr double led_another = 0.005;  // of a locale's clients
constexpr std::size_t words_bytes_max = 400;

// Words, one after the other, up to a length.
class Words {
 public:
  void add(const std::string& text) {
    if (text_.size() < words_bytes_max) text_ += (text_.empty() ? "" : "; ") + text;
  }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

const json* find_member(const json& members, const json& id) {
  const auto at = std::ranges::find_if(
      members, [&](const json& member) { return member.at("endpoint") == id; });
  return at == members.end() ? nullptr : &*at;
}

std::string text_of(const json& member, const char* key) {
  return member.at(key).get<std::string>();
}

void member_moved(const json& before, const json& member, Words& words) {
  const auto id = text_of(member, "endpoint");
  if (before.at("state") != member.at("state")) {
    words.add(fmt::format("{}: {} -> {} ({})", id, text_of(before, "state"),
                          text_of(member, "state"), text_of(member, "reason")));
    return;
  }
  for (const char* factor :
       {"health", "headroom", "condition", "risk", "confidence", "preference", "weight"}) {
    // What an earlier version wrote has not all of them.
    const double was = before.value(factor, 1.0);
    const double is = member.value(factor, 1.0);
    if (std::abs(is - was) < moved_much * std::max(std::abs(was), 0.1)) continue;
    words.add(fmt::format("{}: {} {:.2f} -> {:.2f} ({})", id, factor, was, is,
                          text_of(member, "reason")));
  }
}

}  // namespace

std::string facts_moved(const PoolThen& former, const PoolThen& now) {
  if (former.answered_by.empty()) return std::string(first_ranking);
  Words words;
  if (former.answered_by != now.answered_by) {
    words.add("answered by " + now.answered_by);
    return words.take();
  }
  if (former.panic != now.panic) words.add(now.panic ? "panic begins" : "panic is over");
  if (!former.members.is_array()) return words.take();
  for (const auto& member : now.members) {
    if (const auto* before = find_member(former.members, member.at("endpoint")))
      member_moved(*before, member, words);
    else
      words.add(text_of(member, "endpoint") + " is new");
  }
  for (const auto& member : former.members) {
    if (find_member(now.members, member.at("endpoint")) == nullptr)
      words.add(text_of(member, "endpoint") + " is gone");
  }
  return words.take();
}

std::string clients_moved(const CellThen& before, const CellThen& after) {
  if (!before.members.is_array() || before.members.empty()) return {};
  Words words;
  auto led = leads_of(before.content, before.members);
  for (const auto& [id, share] : leads_of(after.content, after.members)) {
    const double was = led.contains(id) ? led.at(id) : 0.0;
    led.erase(id);
    if (std::abs(share - was) >= led_another)
      words.add(fmt::format("{} leads {:.0f} % -> {:.0f} %", id, was * 100, share * 100));
  }
  for (const auto& [id, was] : led)
    words.add(fmt::format("{} leads {:.0f} % -> 0 %", id, was * 100));
  if (words.empty() && before.ttl_s != after.ttl_s)
    words.add(fmt::format("TTL {} s -> {} s", before.ttl_s, after.ttl_s));
  if (words.empty()) words.add("another order behind the first");
  return words.take();
}

std::map<std::string, double> leads_of(const json& content, const json& members) try {
  std::map<std::string, double> leads;
  if (!content.is_object() || !members.is_array()) return leads;
  const auto& slots = content.at("slots");
  const auto& answers = content.at(content.contains("records") ? "records" : "answers");
  std::vector<unsigned> led(members.size(), 0);  // slots
  for (const auto& slot : slots) {
    const auto& answer = answers.at(slot.get<std::size_t>());
    if (!answer.empty()) ++led.at(answer.at(0).at(0).get<std::size_t>());
  }
  for (std::size_t m = 0; m < led.size(); ++m) {
    if (led[m] > 0)
      leads[text_of(members[m], "endpoint")] = led[m] / static_cast<double>(slots.size());
  }
  return leads;
} catch (const std::exception&) {
  return {};  // a damaged file
}

}  // namespace pharos::controlplane
