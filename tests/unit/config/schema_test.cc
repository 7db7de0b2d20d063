// The schema, the reference and the example stay true to the loader: all come from one table of keys.
#include "pharos/config/model.hh"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <regex>
#include <sstream>

namespace pharos::config {
namespace {

using nlohmann::json;

std::string read_source_file(const std::string& path) {
  std::ifstream file(std::string(PHAROS_SOURCE_ROOT) + "/" + path);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

json to_json(const YAML::Node& node) {
  if (node.IsSequence()) {
    auto list = json::array();
    for (const auto& item : node) list.push_back(to_json(item));
    return list;
  }
  if (node.IsMap()) {
    auto object = json::object();
    for (const auto& member : node) object[member.first.as<std::string>()] = to_json(member.second);
    return object;
  }
  if (node.Tag() == "!") return node.as<std::string>();
  if (bool b = false; YAML::convert<bool>::decode(node, b)) return b;
  if (double d = 0; YAML::convert<double>::decode(node, d)) return d;
  return node.as<std::string>();
}

// The part of JSON schema 2020-12 that schema() uses. Returns the first path that does not fit, or nothing.
class Validator {
 public:
  explicit Validator(const json& root) : root_(root) {}

  std::string check(const json& rule, const json& value, const std::string& at) const {
    if (rule.contains("$ref"))
      return check(root_.at(json::json_pointer(rule["$ref"].get<std::string>().substr(1))), value,
                   at);
    if (rule.contains("allOf")) return check(rule["allOf"][0], value, at);
    if (rule.contains("anyOf")) {
      for (const auto& part : rule["anyOf"]) {
        if (check(part, value, at).empty()) return {};
      }
      return at + " fits nothing";
    }
    if (rule.contains("enum")) {
      return std::ranges::find(rule["enum"], value) != rule["enum"].end() ? ""
                                                                          : at + " is no choice";
    }
    if (rule.contains("type") && !has_type(rule["type"], value)) return at + " has the wrong type";
    if (value.is_number() && rule.contains("minimum") && value < rule["minimum"])
      return at + " is too small";
    if (value.is_number() && rule.contains("maximum") && value > rule["maximum"])
      return at + " is too large";
    if (value.is_string() && rule.contains("pattern") &&
        !std::regex_search(value.get<std::string>(), std::regex(rule["pattern"].get<std::string>(),
                                                                std::regex::ECMAScript))) {
      return at + " fits no pattern";
    }
    return value.is_array()    ? check_items(rule, value, at)
           : value.is_object() ? check_members(rule, value, at)
                               : "";
  }

 private:
  static bool has_type(const json& type, const json& value) {
    if (type.is_array())
      return std::ranges::any_of(type, [&](const json& one) { return has_type(one, value); });
    if (type == "integer")
      return value.is_number() && value.get<double>() == std::floor(value.get<double>());
    if (type == "array") return value.is_array();
    return (type == "string" && value.is_string()) || (type == "number" && value.is_number()) ||
           (type == "boolean" && value.is_boolean()) || (type == "object" && value.is_object());
  }
  std::string check_items(const json& rule, const json& value, const std::string& at) const {
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (auto fault = check(rule.at("items"), value[i], at + "[" + std::to_string(i) + "]");
          !fault.empty())
        return fault;
    }
    return {};
  }
  std::string check_members(const json& rule, const json& value, const std::string& at) const {
    for (const auto& name : rule.value("required", json::array())) {
      if (!value.contains(name.get<std::string>())) return at + " lacks " + name.get<std::string>();
    }
    for (const auto& [name, member] : value.items()) {
      if (rule.contains("patternProperties") && name.starts_with("x-")) continue;
      const bool known = rule.contains("properties") && rule["properties"].contains(name);
      const json& other = rule.at("additionalProperties");
      if (!known && other.is_boolean()) return at + " has the unknown key " + name;
      if (auto fault = check(known ? rule["properties"][name] : other, member, at + "." + name);
          !fault.empty())
        return fault;
    }
    return {};
  }
  const json& root_;
};

std::string check_schema(const std::string& yaml) {
  const auto root = json::parse(schema());
  return Validator(root).check(root, to_json(YAML::Load(yaml)), "$");
}

TEST(SchemaTest, IsValidJsonOfItsDialect) {
  const auto root = json::parse(schema());
  EXPECT_EQ(root.at("$schema"), "https://json-schema.org/draft/2020-12/schema");
  for (const char* section :
       {"dataplane", "controlplane", "sites", "locales", "zones", "services", "include"}) {
    EXPECT_TRUE(root.at("properties").contains(section)) << section;
  }
}

TEST(SchemaTest, FitsTheExamples) {
  EXPECT_EQ(check_schema(read_source_file("scripts/example/pharos.yaml")), "");
  EXPECT_EQ(check_schema(read_source_file("scripts/example/services/api.yaml")), "");
}

TEST(SchemaTest, RefusesWhatTheLoaderRefuses) {
  for (const char* text : {"bogus: 1", "dataplane: {dns_port: 65536}", "dataplane: {dns_port: x}",
                           "dataplane: {ecs: 1}", "sites: [{id: fra}]", "log_level: loud",
                           "services: {}", "controlplane: {beacon_window: 5}",
                           "dataplane: {memory: 12zb}", "zones: [{id: a.example, ttl: [1]}]"}) {
    EXPECT_NE(check_schema(text), "") << text;
    EXPECT_FALSE(load_text(text, "test.yaml")) << text;
  }
}

TEST(SchemaTest, DefaultsAreTakenByTheLoader) {
  // Each default of a section of plain values, as the schema says it, loads to what was there before.
  const auto root = json::parse(schema());
  std::string text = "controlplane:\n  score:\n";
  for (const auto& [name, rule] :
       root.at("$defs").at("controlplane-score").at("properties").items()) {
    text += "    " + name + ": " + rule.at("default").get<std::string>() + "\n";
  }
  text += "  health:\n";
  for (const auto& [name, rule] :
       root.at("$defs").at("controlplane-health").at("properties").items()) {
    text += "    " + name + ": " + rule.at("default").get<std::string>() + "\n";
  }
  const auto config = load_text(text, "test.yaml");
  ASSERT_TRUE(config) << config.error().text();
  const HealthConfig defaults;
  EXPECT_EQ(config->controlplane.health.rise, defaults.rise);
  EXPECT_DOUBLE_EQ(config->controlplane.health.cpu_high, defaults.cpu_high);
  EXPECT_DOUBLE_EQ(config->controlplane.health.mass_silence_share, defaults.mass_silence_share);
}

TEST(ExampleTest, LoadsWhole) {
  const auto config = load(std::string(PHAROS_SOURCE_ROOT) + "/scripts/example/pharos.yaml");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->services.size(), 4U);
  EXPECT_EQ(config->files.size(), 2U);
  EXPECT_EQ(config->sites[0].keys[0].secret, config->sites[1].keys[0].secret);
}

TEST(ReferenceTest, StandsInTheReadmeAsTheTablesSayIt) {
  // pharosctl config reference prints what belongs between the two marks.
  const auto readme = read_source_file("include/pharos/config/README.md");
  EXPECT_NE(readme.find("<!-- reference -->\n" + reference() + "<!-- end of reference -->\n"),
            std::string::npos)
      << "put the output of 'pharosctl config reference' between the marks of "
         "include/pharos/config/README.md";
}

}  // namespace
}  // namespace pharos::config
