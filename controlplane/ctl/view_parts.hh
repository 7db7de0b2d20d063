// What the views of pharosctl are made of: results of which nothing is certain, as words, cells and tables. Private to
// controlplane/ctl. Pure functions; nothing throws on a result of any shape.
#pragma once

#include "pharos/controlplane/ctl/terminal.hh"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace pharos::controlplane::ctl {

using nlohmann::json;

// The value of `name`; null where `object` is none, or has none.
[[nodiscard]] const json& at(const json& object, const char* name);
// A value as a word: text as it is, numbers and the rest as in JSON, '-' for nothing.
[[nodiscard]] std::string word(const json& value);
[[nodiscard]] std::string word(const json& object, const char* name);
[[nodiscard]] std::string joined(const json& list);
[[nodiscard]] std::string version_text(const json& version);
[[nodiscard]] std::string seconds_text(const json& object, const char* name);
[[nodiscard]] std::string ms_text(const json& object, const char* name);
[[nodiscard]] std::string score_text(const json& object, const char* name);
[[nodiscard]] std::string ttl_text(const json& object, const char* name);
[[nodiscard]] std::string counter_text(const json& value);
[[nodiscard]] Cell state_cell(const json& object, const char* name);

// A number through `format`, or '-'.
template <typename Format>
std::string with(const json& object, const char* name, Format format) {
  const auto& value = at(object, name);
  return value.is_number() ? format(value.get<double>()) : "-";
}

using Row = std::function<std::vector<Cell>(const json&)>;
// One row for each object of a list; `nothing` where there is none.
[[nodiscard]] std::string table(const json& list, std::vector<std::string> titles, const Row& row,
                                bool colours, const char* nothing);

// Lines of a name and a value; those without a value are left out.
class Facts {
 public:
  explicit Facts(bool colours) : colours_(colours) {}
  void add(std::string_view name, const Cell& value);
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  bool colours_;
  std::string text_;
};

// Views in files of their own.
[[nodiscard]] std::string explain_view(const json& told, bool colours);
[[nodiscard]] std::string failover_view(const json& told, bool colours);
[[nodiscard]] std::string dnstap_view(const json& told, bool colours);
[[nodiscard]] std::string probes_view(const json& probes, bool colours);
[[nodiscard]] std::string names_view(const json& told, bool colours);

}  // namespace pharos::controlplane::ctl
