// schema() and reference(): the key tables as a JSON schema and as Markdown.
#include "pharos/config/keys.hh"

#include <nlohmann/json.hpp>

#include <set>

namespace pharos::config {

using json = nlohmann::ordered_json;

namespace {

// Names of definitions: "services[].endpoints[]" -> "services-endpoints".
std::string definition_name(const Table& table) {
  std::string name;
  for (const char c : table.name) {
    if (c == '.' || c == ' ') name += '-';
    if (c != '.' && c != '[' && c != ']' && c != ' ') name += c;
  }
  return name;
}

class SchemaWriter {
 public:
  json object(const Table& table) {
    json result = {{"type", "object"}, {"description", table.description}};
    json properties = json::object(), required = json::array();
    for (const auto& key : table.keys) {
      properties[key.name] = property(key);
      if (key.required) required.push_back(key.name);
    }
    result["properties"] = std::move(properties);
    if (!required.empty()) result["required"] = std::move(required);
    if (table.extensions) result["patternProperties"] = {{"^x-", json::object()}};
    result["additionalProperties"] = false;
    return result;
  }

  json definitions = json::object();

 private:
  json property(const Key& key) {
    json result = shape(key.shape);
    if (key.shape.kind == Shape::Kind::object) result = {{"allOf", json::array({result})}};
    if (key.description != "see below") result["description"] = key.description;
    if (!key.default_text.empty()) result["default"] = key.default_text;
    return result;
  }

  json shape(const Shape& from) {
    switch (from.kind) {
      case Shape::Kind::boolean:
        return {{"type", "boolean"}};
      case Shape::Kind::integer:
        return numeric("integer", from);
      case Shape::Kind::number:
        return numeric("number", from);
      case Shape::Kind::text:
        return text(from);
      case Shape::Kind::choice:
        return {{"enum", from.choices}};
      case Shape::Kind::list:
        return list(from);
      case Shape::Kind::map:
        return {{"type", "object"}, {"additionalProperties", shape(from.parts[0])}};
      case Shape::Kind::object:
        return reference_to(*from.table());
      case Shape::Kind::either:
        return either(from);
    }
    return {};
  }

  static json numeric(const char* type, const Shape& from) {
    json result = {{"type", type}};
    if (from.minimum) result["minimum"] = *from.minimum;
    if (from.maximum) result["maximum"] = *from.maximum;
    return result;
  }

  // Names made of digits alone are numbers in YAML; where any text will do, they are taken.
  static json text(const Shape& from) {
    json result = {{"type", from.pattern.empty() ? json({"string", "number"}) : json("string")}};
    if (!from.pattern.empty()) result["pattern"] = from.pattern;
    return result;
  }

  json list(const Shape& from) {
    json result = {{"type", "array"}, {"items", shape(from.parts[0])}};
    if (from.count_min > 0) result["minItems"] = from.count_min;
    if (from.count_max > 0) result["maxItems"] = from.count_max;
    return result;
  }

  json either(const Shape& from) {
    json parts = json::array();
    for (const auto& part : from.parts) parts.push_back(shape(part));
    return {{"anyOf", std::move(parts)}};
  }

  json reference_to(const Table& table) {
    const auto name = definition_name(table);
    if (!definitions.contains(name)) {
      definitions[name] = nullptr;  // ends the recursion of a table that holds itself
      definitions[name] = object(table);
    }
    return {{"$ref", "#/$defs/" + name}};
  }
};

// ---- Markdown ----

std::string shape_text(const Shape& shape) {
  switch (shape.kind) {
    case Shape::Kind::choice: {
      std::string all;
      for (const auto& word : shape.choices) all += (all.empty() ? "`" : ", `") + word + "`";
      return all;
    }
    case Shape::Kind::integer:
    case Shape::Kind::number:
      if (shape.minimum && shape.maximum && *shape.maximum < 1e15) {
        return shape.word + " " + number_text(*shape.minimum) + "-" + number_text(*shape.maximum);
      }
      return shape.word;
    case Shape::Kind::list:
      return shape.word == "list" ? "list of " + shape_text(shape.parts[0]) : shape.word;
    case Shape::Kind::object:
      return "keys of `" + shape.table()->name + "`";
    default:
      return shape.word;
  }
}

void append_table(const Table& table, std::set<const Table*>& written, std::string& out);

void append_nested(const Shape& shape, std::set<const Table*>& written, std::string& out) {
  if (shape.table != nullptr) append_table(*shape.table(), written, out);
  for (const auto& part : shape.parts) append_nested(part, written, out);
}

void append_table(const Table& table, std::set<const Table*>& written, std::string& out) {
  if (!written.insert(&table).second) return;
  out += "### " + table.name + "\n\n" + table.description + "\n\n";
  out += "| key | value | default | meaning | example |\n|---|---|---|---|---|\n";
  for (const auto& key : table.keys) {
    const auto fallback = key.required               ? "**required**"
                          : key.default_text.empty() ? ""
                                                     : "`" + key.default_text + "`";
    const auto example = key.example.empty() ? "" : "`" + key.name + ": " + key.example + "`";
    out += "| `" + key.name + "` | " + shape_text(key.shape) + " | " + fallback + " | " +
           key.description + " | " + example + " |\n";
  }
  out += "\n";
  for (const auto& key : table.keys) append_nested(key.shape, written, out);
}

}  // namespace

std::string schema() {
  SchemaWriter writer;
  json root = writer.object(*table_of<Config>());
  json result = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", "Pharos configuration"}};
  result.update(root);
  result["$defs"] = writer.definitions;
  return result.dump(2) + "\n";
}

std::string reference() {
  std::string out;
  std::set<const Table*> written;
  append_table(*table_of<Config>(), written, out);
  return out;
}

}  // namespace pharos::config
