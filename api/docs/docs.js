
"use strict";

// Draws the OpenAPI document. Everything is set as text, never as markup.
const methods = ["get", "post", "put", "patch", "delete"];
let spec;

function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) e.setAttribute(name, value);
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

function resolve(object) {
  if (!object || !object.$ref) return object;
  return object.$ref.slice(2).split("/").reduce((at, key) => at[key], spec);
}

function refName(object) {
  return object && object.$ref ? object.$ref.split("/").pop() : "";
}

// Paragraphs, `code` and nothing else.
function prose(text) {
  return (text || "").trim().split(/\n\s*\n/).filter(Boolean).map((paragraph) => {
    const p = el("p");
    paragraph.split("`").forEach((part, i) => p.append(i % 2 ? el("code", {}, part) : part));
    return p;
  });
}

function typeName(schema) {
  const s = resolve(schema) || {};
  let name = s.type || (s.oneOf || s.anyOf || s.allOf ? "value" : "any");
  if (Array.isArray(name)) name = name.join(" or ");
  if (s.type === "array") name = "array of " + (refName(s.items) || typeName(s.items));
  else if (refName(schema)) name = refName(schema);
  if (s.enum) name = s.enum.map(String).join(" | ");
  const facts = [];
  if (s.format) facts.push(s.format);
  if (s.minLength !== undefined || s.maxLength !== undefined) facts.push(`${s.minLength || 0} to ${s.maxLength || "any"} characters`);
  if (s.minItems !== undefined || s.maxItems !== undefined) facts.push(`${s.minItems || 0} to ${s.maxItems || "any"} elements`);
  if (s.minimum !== undefined && s.maximum !== undefined) facts.push(`${s.minimum} to ${s.maximum}`);
  if (s.default !== undefined) facts.push("default " + s.default);
  if (s.nullable) facts.push("or null");
  return facts.length ? name + ", " + facts.join(", ") : name;
}

function row(name, required, type, description) {
  return el("tr", {},
    el("td", {}, el("code", {}, name), required ? " (required)" : ""),
    el("td", {}, el("span", { class: "type" }, type), ...prose(description)));
}

function members(schema) {
  const s = resolve(schema);
  if (!s) return null;
  if (s.type === "array") return members(s.items);
  const entries = Object.entries(s.properties || {});
  if (!entries.length) return null;
  const required = s.required || [];
  return el("table", {}, ...entries.map(([name, value]) =>
    row(name, required.includes(name), typeName(value), (resolve(value) || {}).description || value.description)));
}

// An example value made of the schema's own examples.
function example(schema, depth = 0) {
  const s = resolve(schema) || {};
  if (s.example !== undefined) return s.example;
  if (s.default !== undefined) return s.default;
  if (s.enum) return s.enum[0];
  if (depth > 6) return null;
  if (s.type === "array") return [example(s.items, depth + 1)];
  if (s.type === "object") {
    if (s.properties) {
      return Object.fromEntries(Object.entries(s.properties).map(([name, value]) => [name, example(value, depth + 1)]));
    }
    return {};
  }
  return { string: "text", integer: 1, number: 0.5, boolean: false }[s.type] ?? null;
}

function content(body, title) {
  const parts = [];
  for (const [type, media] of Object.entries(body.content || {})) {
    parts.push(el("h4", {}, `${title} (${type})`));
    if (!media.schema) continue;
    const table = members(media.schema);
    if (table) parts.push(table);
    if (type.includes("json")) {
      parts.push(el("details", {}, el("summary", {}, "Example"),
        el("pre", {}, JSON.stringify(media.example ?? example(media.schema), null, 2))));
    }
  }
  return parts;
}

function responses(operation) {
  return el("table", {}, ...Object.entries(operation.responses).map(([status, reference]) => {
    const response = resolve(reference);
    const media = Object.entries(response.content || {})[0];
    const headers = Object.keys(response.headers || {});
    return row(status, false, media ? media[0] + (media[1].schema ? ": " + typeName(media[1].schema) : "") : "no body",
      response.description + (headers.length ? "\n\nHeaders: `" + headers.join("`, `") + "`" : ""));
  }));
}

function successExample(operation) {
  for (const [status, reference] of Object.entries(operation.responses)) {
    const response = resolve(reference);
    if (status[0] === "2" && response.content && response.content["application/json"]) {
      return content({ content: { "application/json": response.content["application/json"] } }, "Answer " + status);
    }
  }
  return [];
}

function draw(path, method, operation, anchor) {
  const article = el("article", { id: anchor },
    el("h3", {}, el("span", { class: "method " + method }, method.toUpperCase()), el("span", { class: "path" }, path),
      el("span", {}, operation.summary || ""),
      operation.security && !operation.security.length ? el("span", { class: "badge" }, "open") : null,
      operation["x-role"] ? el("span", { class: "badge" }, operation["x-role"]) : null),
    ...prose(operation.description));
  const parameters = (spec.paths[path].parameters || []).concat(operation.parameters || []).map(resolve);
  if (parameters.length) {
    article.append(el("h4", {}, "Parameters"), el("table", {}, ...parameters.map((p) =>
      row(p.name, p.required, p.in + ": " + typeName(p.schema), p.description))));
  }
  if (operation.requestBody) article.append(...content(resolve(operation.requestBody), "Body"));
  article.append(...successExample(operation), el("h4", {}, "Answers"), responses(operation));
  return article;
}

function render(document_) {
  spec = document_;
  document.title = spec.info.title;
  document.getElementById("title").textContent = spec.info.title;
  document.getElementById("version").textContent = "Version " + spec.info.version;
  document.getElementById("intro").replaceChildren(...prose(spec.info.description));
  const index = document.getElementById("index");
  const main = document.getElementById("content");
  for (const tag of spec.tags) {
    index.append(el("h2", {}, tag.name));
    main.append(el("h2", { class: "group" }, tag.name), ...prose(tag.description));
    for (const [path, item] of Object.entries(spec.paths)) {
      for (const method of methods) {
        const operation = item[method];
        if (!operation || !operation.tags.includes(tag.name)) continue;
        const anchor = operation.operationId;
        index.append(el("a", { class: "entry", href: "#" + anchor },
          el("span", { class: "method " + method }, method.toUpperCase()), el("span", { class: "path" }, path)));
        main.append(draw(path, method, operation, anchor));
      }
    }
  }
  if (location.hash) {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target) target.scrollIntoView();
  }
}

fetch("/openapi.json")
  .then((response) => response.json())
  .then(render)
  .catch((error) => {
    document.getElementById("content").replaceChildren(el("p", {}, "The document could not be read: " + error.message));
  });
