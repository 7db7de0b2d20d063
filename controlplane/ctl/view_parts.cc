#include "view_parts.hh"

#include "pharos/config/scalars.hh"

#include <map>

namespace pharos::controlplane::ctl {

const json& at(const json& object, const char* name) {
  static const json nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(name);
  return found == object.end() ? nothing : *found;
}

std::string word(const json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>().empty() ? "-" : value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float()) return config::number_text(value.get<double>());
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}
std::string word(const json& object, const char* name) {
  return word(at(object, name));
}

std::string joined(const json& list) {
  if (!list.is_array()) return word(list);
  std::string all;
  for (const auto& item : list) all += (all.empty() ? "" : ", ") + word(item);
  return all.empty() ? "-" : all;
}

std::string version_text(const json& version) {
  return version.is_object() ? word(version, "epoch") + "." + word(version, "generation") : "none";
}

std::string seconds_text(const json& object, const char* name) {
  return with(object, name, age_text);
}
std::string ms_text(const json& object, const char* name) {
  return with(object, name, [](double ms) { return age_text(ms / 1e3); });
}
std::string score_text(const json& object, const char* name) {
  return with(object, name, [](double value) { return decimal_text(value, 3); });
}
std::string ttl_text(const json& object, const char* name) {
  const auto text = word(object, name);
  return text == "-" ? text : text + "s";
}

Cell state_cell(const json& object, const char* name) {
  static const std::map<std::string, Colour> colours = {
      {"up", Colour::good},          {"running", Colour::good},    {"adopted", Colour::good},
      {"loaded", Colour::good},      {"suspect", Colour::warning}, {"degraded", Colour::warning},
      {"draining", Colour::warning}, {"drain", Colour::warning},   {"leaving", Colour::warning},
      {"waiting", Colour::warning},  {"pending", Colour::warning}, {"unknown", Colour::warning},
      {"stale", Colour::warning},    {"down", Colour::bad},        {"refused", Colour::bad}};
  auto text = word(object, name);
  const auto found = colours.find(text);
  return {std::move(text), found == colours.end() ? Colour::none : found->second};
}

std::string table(const json& list, std::vector<std::string> titles, const Row& row, bool colours,
                  const char* nothing) {
  TextTable result(std::move(titles));
  if (list.is_array()) {
    for (const auto& item : list) result.add(row(item));
  }
  return result.empty() ? std::string(nothing) + "\n" : result.text(colours);
}

std::string counter_text(const json& value) {
  return value.is_number_unsigned() ? grouped_text(value.get<std::uint64_t>()) : word(value);
}

void Facts::add(std::string_view name, const Cell& value) {
  constexpr std::size_t name_width = 16;
  if (value.text == "-") return;
  std::string title(name);
  title.resize(std::max(name_width, title.size() + 1), ' ');
  text_ += coloured(title, Colour::faint, colours_) +
           coloured(harmless(value.text), value.colour, colours_) + "\n";
}

}  // namespace pharos::controlplane::ctl
