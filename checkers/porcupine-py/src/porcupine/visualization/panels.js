// What stands around the picture: the parts, the explanation, the order step by step, and what the pointer is on.
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "onclick") made.onclick = value;
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child != null));
  return made;
}
function stateTag(id) {
  const made = element("span", { class: "state" }, stateText(id));
  made.style.background = stateColor(id);
  return made;
}
function opLink(part, op, words) {
  return element("button", { type: "button", class: "link", onclick: () => choose(part, op) }, words || who(part, op) + ": " + part.words(op));
}
function who(part, op) { return "client " + CLIENTS[part.client[op]]; }
function when(part, op) {
  const back = part.end[op] < 0 ? "\u2026" : instants.names[part.end[op]];
  return "in [" + instants.names[part.begin[op]] + ", " + (part.kind(op) === "i" ? "\u2026" : back) + "]";
}

// ---- parts ------------------------------------------------------------------------------------
const PARTS_LISTED = 400;
function fillParts() {
  $("side").hidden = PARTS.length < 2;
  $("filter").hidden = PARTS.length < 13;
  const wanted = $("filter").value.toLowerCase(), list = $("parts"), found = PARTS.filter(part => part.name.toLowerCase().includes(wanted));
  list.replaceChildren(...found.slice(0, PARTS_LISTED).map(part => element("li", { class: part.verdict },
    element("button", { type: "button", "aria-current": String(part.index === look.part), title: answer(part.verdict) + (part.cause ? " (" + part.cause + ")" : "") + (part.n ? "" : "; not drawn, to keep this file small"), disabled: !part.n && part.count > 0, onclick: () => showPart(part.index) },
      element("span", { class: "dot" }), element("span", { class: "key" }, part.name), element("span", { class: "size" }, grouped(String(part.count)) + " \u00b7 " + (part.verdict === "ok" ? "ok" : part.verdict))))));
  const more = found.length - PARTS_LISTED + (data.partsLeftOut || 0);
  if (found.length > PARTS_LISTED || data.partsLeftOut) list.append(element("li", { class: "more" }, "and " + Math.max(more, data.partsLeftOut) + " more"));
}
function markPart() {
  const names = [...$("parts").children];
  names.forEach(li => { const button = li.firstElementChild; if (button) button.setAttribute("aria-current", "false"); });
  fillParts();
  const current = $("parts").querySelector("[aria-current=true]");
  if (current) current.scrollIntoView({ block: "nearest" });
}

// ---- why --------------------------------------------------------------------------------------
function fillWhy() {
  const box = $("why"), part = PARTS[look.part], made = [];
  box.className = part ? part.verdict : "";
  if (!part) { box.replaceChildren(element("p", { class: "quiet" }, "There is no history here.")); return; }
  const name = PARTS.length > 1 || part.key ? "Part " + part.name : "The history";
  made.push(element("h2", {}, name + " is " + answer(part.verdict) + (part.cause ? " (" + part.cause + ")" : "")));
  if (part.n < part.count) made.push(element("p", { class: "quiet" }, grouped(String(part.count - part.n)) + " of its " + grouped(String(part.count)) + " operations are not drawn, to keep this file small."));
  if (part.verdict === "ok") {
    made.push(element("p", {}, part.ends.length ? "The line is an order of all that happened in which each operation does what it said. An operation of unknown outcome that is not on it may not have happened." : "No order was kept."));
  } else if (part.stuck >= 0) {
    const lead = part.verdict === "illegal" ? "No order gets past the return of " : "The longest order found ends before the return of ";
    made.push(element("p", {}, lead, opLink(part, part.stuck), " " + when(part, part.stuck) + "."));
  }
  if (part.ways > 1 || part.ends.length > 1) made.push(orderChips(part));
  if (shown && part.verdict !== "ok") made.push(...ending(part));
  if (part.witness && part.witness.closed) made.push(...contradiction(part));
  if (part.ordersLeftOut) made.push(element("p", { class: "quiet" }, grouped(String(part.ordersLeftOut)) + " more orders are not kept here, to keep this file small."));
  box.replaceChildren(...made);
}
const CHIPS = 24;
function orderChips(part) {
  const chips = element("div", { class: "chips", role: "group", "aria-label": "orders" });
  for (let i = 0; i < Math.min(part.ends.length, CHIPS); i++)
    chips.append(element("button", { type: "button", "aria-pressed": String(!!shown && shown.index === i), title: i < part.ways ? "a way to the error" : "another order", onclick: () => showOrder(part, i, true) },
      (i < part.ways ? "way " + (i + 1) : "order " + (i + 1)) + " \u00b7 " + part.depth[part.ends[i]]));
  if (part.ends.length > CHIPS) chips.append(element("span", { class: "quiet" }, "and " + (part.ends.length - CHIPS) + " more: click an operation for the longest with it"));
  return chips;
}
function ending(part) {
  const made = [], last = shown.length ? shown.states[shown.length - 1] : part.start;
  const p = element("p", {}, shown.length ? "The order shown ends after " + shown.length + " step" + (shown.length > 1 ? "s" : "") + " in the state " : "At the very beginning, in the state ", stateTag(last), ".");
  made.push(p);
  if (last === REFUSED) { p.append(" The model does not allow its last step."); return made; }
  if (!shown.refused.size) return made;
  p.append(" What might come next, and what the model says to it:");
  const rows = [...shown.refused].map(([op, after]) => element("tr", {}, element("td", {}, opLink(part, op)),
    element("td", { class: after === REFUSED ? "refused" : "" }, refusal(after))));
  made.push(element("table", {}, element("tbody", {}, ...rows)));
  return made;
}
function contradiction(part) {
  const text = TEXT[part.witness.text].split("\n")[0];
  const rows = ops => ops.map(op => element("li", {}, opLink(part, op), " " + when(part, op)));
  const made = [element("h2", {}, "A contradiction in itself"), element("p", {}, text), element("ul", {}, ...rows(part.witness.operations))];
  if (part.witness.support.length) made.push(element("p", {}, "Where these come from:"), element("ul", {}, ...rows(part.witness.support)));
  return made;
}

// ---- the order --------------------------------------------------------------------------------
const STEPS_SHOWN = 80;
function fillSteps() {
  const box = $("steps");
  if (!shown) { box.replaceChildren(element("p", { class: "quiet" }, "Click an operation for the longest order with it.")); return; }
  const part = shown.part, chosen = selected >= 0 && PARTS[L.partOf[selected]] === part ? shown.place[L.opOf[selected]] : -1;
  const middle = chosen >= 0 ? chosen : part.verdict === "ok" ? 0 : shown.length - 1;
  const from = Math.max(0, Math.min(middle - STEPS_SHOWN / 2, shown.length - STEPS_SHOWN)), to = Math.min(shown.length, from + STEPS_SHOWN);
  const gap = (count, words) => element("tr", {}, element("td", { class: "gap", colspan: 4 }, grouped(String(count)) + " " + words));
  const body = element("tbody", {});
  if (from > 0) body.append(gap(from, "steps before"));
  else body.append(element("tr", {}, element("td", { class: "number" }, "0"), element("td", { class: "quiet", colspan: 2 }, "at first"), element("td", {}, stateTag(part.start))));
  for (let i = from; i < to; i++) {
    const op = shown.ops[i];
    body.append(element("tr", { class: i === chosen ? "here" : "", onclick: op < 0 ? null : () => choose(part, op, true) },
      element("td", { class: "number" }, String(i + 1)), element("td", {}, op < 0 ? "" : CLIENTS[part.client[op]]),
      element("td", {}, op < 0 ? "operations that are not drawn" : part.words(op)), element("td", {}, stateTag(shown.states[i]))));
  }
  if (to < shown.length) body.append(gap(shown.length - to, "steps after"));
  const complete = part.verdict === "ok";
  box.replaceChildren(element("h2", {}, (complete ? "An order of it, " : "The order shown, ") + grouped(String(shown.length)) + " of " + grouped(String(part.count)) + " operations"),
    element("table", {}, element("thead", {}, element("tr", {}, ...["", "client", "operation", "state after it"].map(text => element("th", {}, text)))), body));
  const row = box.querySelector("tr.here") || (complete ? null : body.lastElementChild);
  box.scrollTop = 0;
  if (row) box.scrollTop = row.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight * (chosen >= 0 ? 0.5 : 0.85);
}

// ---- what the pointer is on -------------------------------------------------------------------
function facts(item) {
  const part = PARTS[L.partOf[item]], op = L.opOf[item], kind = part.kind(op), rows = [["client", CLIENTS[part.client[op]]]];
  rows.push(["call", instant(part.begin[op])]);
  if (kind === "i") rows.push(["return", part.end[op] < 0 ? "none: nobody knows whether it took effect" : "given up at " + instant(part.end[op]) + "; nobody knows whether it took effect"]);
  else rows.push(["return", (part.end[op] < 0 ? "none" : instant(part.end[op])) + (kind === "f" ? "; it failed" : "")]);
  if (part.remarkOf(op)) rows.push(["metadata", part.remarkOf(op)]);
  if (PARTS.length > 1) rows.push(["part", part.name + ", " + answer(part.verdict)]);
  if (part.witness && part.witness.closed && part.witness.operations.includes(op)) rows.push(["witness", "one of those that contradict each other"]);
  if (!shown || shown.part !== part) { rows.push(["order", "click for the longest with it"]); return rows; }
  const place = shown.place[op];
  if (place >= 0) {
    rows.push(["step", place + 1 + " of " + shown.length], ["state before", stateTag(part.stateBefore(shown, place))], ["state after", stateTag(shown.states[place])]);
    return rows;
  }
  const last = shown.length ? shown.states[shown.length - 1] : part.start;
  if (shown.refused.has(op)) rows.push(["state there", stateTag(last)], ["next?", element("span", { class: "refused" }, refusal(shown.refused.get(op)))]);
  else if (part.verdict === "ok") rows.push(["step", kind === "f" ? "none: it did not happen" : "none: it need not have happened"]);
  else if (kind === "f") rows.push(["step", "none: it did not happen"]);
  else if (part.stuck >= 0 && part.begin[op] > (part.end[part.stuck] < 0 ? part.begin[part.stuck] : part.end[part.stuck])) rows.push(["step", "none: called after the return nothing gets past"]);
  else { const index = part.longestWith(op); rows.push(["step", index < 0 ? "none in any order kept here" : "not in this order; click for one of " + part.depth[part.ends[index]] + " steps with it"]); }
  return rows;
}
function noteFacts(note) {
  const rows = [["at", instant(note.begin)]];
  if (note.end >= 0) rows.push(["until", instant(note.end)]);
  if (TEXT[note.details]) rows.push(["details", TEXT[note.details]]);
  return rows;
}
function showTip(title, rows, x, y) {
  const tip = $("tip"), list = element("dl", { class: "facts" });
  for (const [name, value] of rows) list.append(element("dt", {}, name), element("dd", {}, value));
  tip.replaceChildren(element("div", { class: "name" }, title), list);
  tip.className = look.part >= 0 ? PARTS[look.part].verdict : "";
  tip.hidden = false;
  const room = $("stage").getBoundingClientRect();
  let left = x + 14, top = y + 16;
  if (left + tip.offsetWidth > room.width - 6) left = Math.max(4, x - tip.offsetWidth - 14);
  if (top + tip.offsetHeight > room.height - 4) top = y - tip.offsetHeight - 12;
  if (top < -room.top + 4) top = Math.max(-room.top + 4, room.height - tip.offsetHeight - 4);
  tip.style.left = left + "px"; tip.style.top = top + "px";
}
function hideTip() { $("tip").hidden = true; }

// For those who do not see the picture.
function tell() {
  const part = PARTS[look.part];
  let said = part ? (PARTS.length > 1 ? "Part " + part.name + ", " : "") + answer(part.verdict) + ". " : "";
  if (selected >= 0) {
    const of = PARTS[L.partOf[selected]], op = L.opOf[selected];
    said = who(of, op) + ": " + of.words(op) + ". " + facts(selected).map(([name, value]) => name + ": " + (typeof value === "string" ? value : value.textContent)).join("; ") + ".";
  } else if (shown) said += "The order shown has " + shown.length + " steps.";
  $("told").textContent = said;
}
const LEGEND = [["done", "linearized in the order shown"], ["rest", "not in it"], ["info", "of unknown outcome: at any later time, or never"], ["fail", "failed: did not happen"],
  ["stuck", "no order gets past its return"], ["open", "might come next where the order ends: \u00d7 is not possible, \u2212 leads nowhere"], ["witness", "one of a few that contradict each other"]];
const KEYS = [["e", "first error"], ["n / p", "next, previous error"], ["\u2192 / \u2190", "next, previous step of the order"], ["\u2193 / \u2191", "next, previous operation of the row"],
  ["Home / End", "first, last step"], ["o", "next order"], ["+ / -", "zoom"], ["0", "all of it"], ["t", "order of events, or real time"], ["/", "find"], ["Enter", "next one found"], ["Esc", "let go of the selection"], ["Ctrl + wheel", "zoom at the pointer"], ["Shift + wheel", "along the time"]];
$("keys").append(element("div", { class: "legend" }, ...LEGEND.map(([name, words]) => element("span", {}, element("i", { class: "swatch " + name }), words))));
$("keys").append(element("div", { class: "columns" }, ...KEYS.map(([key, words]) => element("div", {}, element("kbd", {}, key), words))));
