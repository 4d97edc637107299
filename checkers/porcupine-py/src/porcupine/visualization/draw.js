// Drawing. Only what is in the viewport is drawn, so that the size of a history costs nothing but memory.
const canvas = $("canvas"), map = $("map"), scroller = $("scroller"), extent = $("extent");
const FONT = "12px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", SMALL = "11px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
let color = {}, dark = false, shown = null, hover = -1, selected = -1, matches = new Set();  // shown: the order; hover, selected: items
let width = 0, height = 0, drawing = 0;

function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["bg", "card", "ink", "muted", "line", "soft", "bad", "bad-bg", "warn", "warn-bg", "done", "done-bg", "done-line", "rest", "rest-line", "path", "fail", "find"])
    color[name] = style.getPropertyValue("--" + name).trim();
  dark = matchMedia("(prefers-color-scheme: dark)").matches;
}
function hue(id) { return (id * 137.508 + 210) % 360; }
function stateColor(id) { return id < 0 ? color.soft : dark ? `hsl(${hue(id)} 38% 25%)` : `hsl(${hue(id)} 62% 88%)`; }
function context(target, w, h) {
  const ratio = window.devicePixelRatio || 1, W = Math.round(w * ratio), H = Math.round(h * ratio);
  if (target.width !== W || target.height !== H) { target.width = W; target.height = H; target.style.width = w + "px"; target.style.height = h + "px"; }
  const g = target.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, w, h);
  g.font = FONT; g.textBaseline = "middle"; g.textAlign = "left";
  return g;
}
const widths = new Map();
function measure(g, text) {
  const key = g.font + text;
  let found = widths.get(key);
  if (found === undefined) { if (widths.size > 20000) widths.clear(); widths.set(key, found = g.measureText(text).width); }
  return found;
}
function fitted(g, text, room) {
  if (room < 9) return "";
  if (measure(g, text) <= room) return text;
  let low = 0, high = Math.min(text.length, Math.ceil(room / 3));
  while (low < high) { const middle = (low + high + 1) >> 1; if (g.measureText(text.slice(0, middle) + "\u2026").width <= room) low = middle; else high = middle - 1; }
  return low ? text.slice(0, low) + "\u2026" : "";
}

const px = x => GUTTER + x * look.unit - scroller.scrollLeft;
const py = top => top - scroller.scrollTop;
const unitAt = x => (x + scroller.scrollLeft - GUTTER) / look.unit;

// Where an item's box ends: what has no known end goes on until the next one in its lane, or out of the picture.
function boxEnd(lane, at) {
  const item = lane.items[at], begin = L.x0[item], end = L.x1[item];
  if (PARTS[L.partOf[item]].kind(L.opOf[item]) !== "i") return { solid: end < 0 ? begin + CELL : end, open: false };
  const next = at + 1 < lane.items.length ? L.x0[lane.items[at + 1]] - 0.12 : L.width;
  const solid = end >= 0 ? Math.min(end, next) : Math.min(begin + 1.2, next);
  return { solid, open: true, until: Math.max(next, solid) };
}
function inView(lane) {
  const from = unitAt(GUTTER) - 0.5, to = unitAt(width);
  let at = firstAt(lane.items.length, i => L.x0[lane.items[i]], from);
  if (at > 0) at--;                                                 // its box may reach into the view
  return { at, to };
}

function draw() {
  if (drawing) return;
  drawing = requestAnimationFrame(() => { drawing = 0; paint(); });
}
function paint() {
  width = scroller.clientWidth; height = scroller.clientHeight;
  const g = context(canvas, width, height);
  const path = shown ? points(shown) : null, part = shown && shown.part;
  g.save(); g.beginPath(); g.rect(GUTTER, TOP - 4, width - GUTTER, height); g.clip();
  for (let i = 0; i < L.rows.length; i++) {
    const row = L.rows[i], top = py(row.top);
    if (top > height || top + row.height < 0) continue;
    if (i % 2 === 0 && !look.packed) { g.fillStyle = color.soft; g.globalAlpha = 0.55; g.fillRect(GUTTER, top - ROW_GAP / 2, width, row.height + ROW_GAP); g.globalAlpha = 1; }
  }
  grid(g);
  const end = deadEnd();
  if (end) { g.fillStyle = color[end.ink + "-bg"]; g.globalAlpha = 0.5; g.fillRect(px(end.from), 0, Math.max(px(end.to) - px(end.from), 2), height); g.globalAlpha = 1; }
  for (const lane of L.lanes) {
    const top = py(lane.top);
    if (top > height || top + LANE < TOP - 4) continue;
    if (lane.notes) { drawNotes(g, lane, top); continue; }
    const { at, to } = inView(lane);
    for (let i = at; i < lane.items.length && L.x0[lane.items[i]] <= to; i++) drawItem(g, lane, i, top);
  }
  if (end) { g.strokeStyle = color[end.ink]; g.lineWidth = 1.5; g.setLineDash([5, 4]); line(g, px(end.to), 0, px(end.to), height); g.setLineDash([]); }
  if (path) drawPath(g, path, part);
  g.restore();
  drawTop(g, path, part, end);
  drawLabels(g);
  drawMap();
}
function line(g, x0, y0, x1, y1) { g.beginPath(); g.moveTo(x0, y0); g.lineTo(x1, y1); g.stroke(); }

// The stretch from the end of the order shown to the return it does not get past.
function deadEnd() {
  const part = shown ? shown.part : look.part >= 0 ? PARTS[look.part] : null;
  if (!part || part.stuck < 0 || !L.firstOf.has(part.index)) return null;
  const rank = part.end[part.stuck] < 0 ? part.begin[part.stuck] : part.end[part.stuck], to = L.right[rank];
  if (shown && shown.place[part.stuck] >= 0) return null;
  let from = L.left[part.begin[part.stuck]];
  if (shown && shown.length) from = points(shown)[shown.length - 1];
  return { from: Math.min(from, to), to, ink: part.verdict === "illegal" ? "bad" : "warn" };
}

function grid(g) {
  g.strokeStyle = color.line; g.lineWidth = 1;
  for (const tick of ticks()) { const x = Math.round(px(tick.x)) + 0.5; line(g, x, 0, x, height); }
}
function ticks() {
  const from = unitAt(GUTTER), to = unitAt(width), found = [];
  if (look.clock) {
    const least = 95 / look.unit * L.perUnit, base = 10 ** Math.floor(Math.log10(least || 1));
    let step = [1, 2, 5, 10].map(m => m * base).find(s => s >= least);
    if (!SECONDS) step = Math.max(1, step);
    const zero = SECONDS || !(Math.abs(instants.first) < 1e9) ? 0 : instants.first, offset = zero + L.from;
    for (let t = Math.ceil((offset + from * L.perUnit) / step) * step; t <= offset + to * L.perUnit; t += step)
      if (t >= offset) found.push({ x: (t - offset) / L.perUnit, text: SECONDS ? "+" + span(t) : grouped(String(Math.round(t))) });
    return found;
  }
  const ranks = L.ranks;
  let last = -1e9;
  for (let i = firstAt(ranks.length, k => L.right[ranks[k]], from); i < ranks.length && L.left[ranks[i]] <= to; i++) {
    const every = Math.max(1, Math.round(78 / look.unit));            // the same instants wherever the view stands
    const x = L.left[ranks[i]];
    if (i % every && look.unit < 60 || (x - last) * look.unit < 62) continue;
    last = x;
    found.push({ x, text: SECONDS ? "+" + span(instants.at[ranks[i]]) : grouped(instants.names[ranks[i]]) });
  }
  return found;
}

// ---- operations -------------------------------------------------------------------------------
function rounded(g, x, y, w, h, r) {
  r = Math.max(0, Math.min(r, w / 2, h / 2));
  g.beginPath(); g.moveTo(x + r, y); g.arcTo(x + w, y, x + w, y + h, r); g.arcTo(x + w, y + h, x, y + h, r); g.arcTo(x, y + h, x, y, r); g.arcTo(x, y, x + w, y, r); g.closePath();
}
function drawItem(g, lane, at, top) {
  const item = lane.items[at], part = PARTS[L.partOf[item]], op = L.opOf[item], kind = part.kind(op);
  const box = boxEnd(lane, at), x = px(L.x0[item]), right = px(box.open ? box.until : box.solid);
  if (right < GUTTER) return;
  const mine = shown && shown.part === part, done = mine && shown.place[op] >= 0, y = top + (LANE - BOX) / 2;
  const stuck = part.stuck === op && part.verdict !== "ok" && !done;
  const open = mine && !done && shown.refused.has(op);
  const w = Math.max(px(box.solid) - x, look.unit < 8 ? 1 : 3), seen = Math.max(x, GUTTER), away = look.others && look.part >= 0 && part.index !== look.part;
  const bad = part.verdict === "illegal" ? "bad" : "warn";
  let paper = done ? color["done-bg"] : color.rest, edge = done ? color["done-line"] : color["rest-line"], ink = done ? color.ink : color.muted;
  if (stuck) { paper = color[bad]; edge = color[bad]; ink = color.card; } else if (open) { edge = color[bad]; ink = color.ink; } else if (!shown) ink = color.ink;
  if (kind === "f") { paper = color.card; edge = color.fail; ink = color.muted; }
  g.globalAlpha = away ? 0.35 : 1;
  if (box.open) {                                                   // fades out: it may take effect at any later time
    const until = Math.min(px(box.until), width + 20), fade = g.createLinearGradient(x, 0, Math.max(until, x + 1), 0);
    fade.addColorStop(0, paper); fade.addColorStop(Math.min(0.9, Math.max(0.02, (x + w - x) / Math.max(until - x, 1))), paper); fade.addColorStop(1, paper + "00");
    g.fillStyle = fade; g.fillRect(seen, y, Math.max(until - seen, 0), BOX);
    g.strokeStyle = edge; g.lineWidth = stuck || open ? 1.6 : 1; g.setLineDash([4, 3]);
    g.beginPath(); g.moveTo(Math.min(until, width), y + 0.5); g.lineTo(x + 0.5, y + 0.5); g.lineTo(x + 0.5, y + BOX - 0.5); g.lineTo(Math.min(until, width), y + BOX - 0.5); g.stroke(); g.setLineDash([]);
  } else {
    rounded(g, x + 0.5, y + 0.5, Math.max(w - 1, 0.5), BOX - 1, 4);
    g.fillStyle = w > 3 ? paper : edge; g.fill();
    if (w > 3) { g.strokeStyle = edge; g.lineWidth = stuck || open ? 1.6 : 1; g.stroke(); }
    if (kind === "f" && w > 6) hatch(g, Math.max(x, GUTTER - 6), y, Math.min(w, width - x), BOX, color.fail, 0.35);
  }
  if (part.witness && part.witness.closed && part.witness.operations.includes(op)) { g.fillStyle = stuck ? color.card : color[bad]; g.fillRect(seen + 3, y + BOX - 4, Math.max(Math.min(w - 6, 30), 2), 2); }
  if (matches.has(item)) { g.strokeStyle = color.find; g.lineWidth = 2.5; rounded(g, seen - 1, y - 1, Math.max(w + 2, 6), BOX + 2, 5); g.stroke(); }
  if (item === hover || item === selected) { g.strokeStyle = color.ink; g.lineWidth = item === selected ? 2.2 : 1.3; rounded(g, x - 1, y - 1, w + 2, BOX + 2, 5); g.stroke(); }
  if (look.unit >= 6) {
    g.fillStyle = ink; g.font = FONT;
    const name = (look.packed ? CLIENTS[part.client[op]] + ": " : "") + part.words(op);
    const { from, room } = besidePoint(seen, box.open ? Math.min(px(box.until), width) : Math.min(x + w, width), measure(g, name), mark(part, op, done, open)), said = fitted(g, name, room);
    g.fillText(said, from, y + BOX / 2 + 0.5);
    if (kind === "f" && said) { g.strokeStyle = ink; g.lineWidth = 1; line(g, from, y + BOX / 2, from + measure(g, said), y + BOX / 2); }
  }
  g.globalAlpha = 1;
}
// Where a point or a cross stands on an operation's box, and how much of it it hides: [x, half], or null.
function mark(part, op, done, open) {
  if (done) return [px(points(shown)[shown.place[op]]), Math.max(8, String(shown.place[op] + 1).length * 3.2 + 3) + 2];
  return open && shown.length ? [crossAt(part, op), 9] : null;
}
// The room for a text on a box: all of it, or what lies before or after the mark.
function besidePoint(left, right, wanted, marked) {
  const from = left + 6, whole = { from, room: right - from - 4 };
  if (!marked || marked[0] + marked[1] < from || marked[0] - marked[1] > from + Math.min(wanted, whole.room)) return whole;
  const before = marked[0] - marked[1] - from, after = right - 4 - (marked[0] + marked[1]);
  return before >= wanted || before >= after ? { from, room: before } : { from: marked[0] + marked[1] + 1, room: after };
}
function hatch(g, x, y, w, h, ink, alpha) {
  if (w <= 0) return;
  g.save(); g.beginPath(); g.rect(x, y, w, h); g.clip(); g.strokeStyle = ink; g.globalAlpha = alpha; g.lineWidth = 1; g.beginPath();
  for (let d = -h; d < w; d += 6) { g.moveTo(x + d, y + h); g.lineTo(x + d + h, y); }
  g.stroke(); g.restore();
}
function drawNotes(g, lane, top) {
  for (const note of lane.notes) {
    const x = px(L.left[note.begin]), point = note.end < 0, w = point ? 2 : Math.max(px(L.right[note.end]) - x, 3), y = top + (LANE - BOX) / 2;
    const said = TEXT[note.text], seen = Math.max(x, GUTTER);
    g.font = SMALL;
    const room = point ? measure(g, said) + 12 : x + w - seen - 8;
    if (x + Math.max(w, room) < GUTTER || x > width) continue;
    g.fillStyle = note.paper || color.warn; g.globalAlpha = note.paper ? 1 : 0.22;
    if (point) { g.globalAlpha = 1; g.fillRect(x - 1, y, 2, BOX); } else { rounded(g, x, y, w, BOX, 4); g.fill(); }
    g.globalAlpha = 1; g.fillStyle = note.ink || color.ink;
    g.fillText(fitted(g, said, room), seen + 5, y + BOX / 2 + 0.5);
  }
}

// ---- the order --------------------------------------------------------------------------------
function pointAt(path, place) {
  const op = shown.ops[place], lane = op < 0 ? null : L.lanes[L.laneOf[L.item(shown.part.index, op)]];
  return { x: px(path[place]), y: lane ? py(lane.top) + LANE / 2 : TOP + 6 };
}
function drawPath(g, path, part) {
  if (!L.firstOf.has(part.index)) return;
  const count = shown.length, from = Math.max(0, firstAt(count, i => path[i], unitAt(GUTTER)) - 1), to = Math.min(count - 1, firstAt(count, i => path[i], unitAt(width)));
  if (to < from) return;
  const crowd = (to - from) / Math.max(width - GUTTER, 1);
  // Where there is no room for it, the line would hide what it connects.
  g.strokeStyle = color.path; g.lineWidth = crowd > 0.1 ? 1 : 2; g.lineJoin = "round"; g.globalAlpha = Math.min(0.85, 0.04 / crowd);
  g.beginPath();
  for (let i = from; i <= to; i++) { const p = pointAt(path, i); if (i === from) g.moveTo(p.x, p.y); else g.lineTo(p.x, p.y); }
  g.stroke(); g.globalAlpha = 1;
  g.textAlign = "center"; g.font = "bold 9.5px system-ui, 'DejaVu Sans', sans-serif";
  let lastX = -1e9, lastY = -1e9;
  for (let i = from; i <= to; i++) {
    const p = pointAt(path, i), op = shown.ops[i], item = op < 0 ? -2 : L.item(part.index, op), chosen = item === selected || item === hover;
    if (op >= 0 && part.kind(op) === "i") tailTo(g, item, p);
    const near = Math.abs(p.x - lastX) < 13 && Math.abs(p.y - lastY) < 13;
    if (!chosen && crowd > 1) continue;
    if (!chosen && (near || crowd > 0.12)) { g.fillStyle = color.path; g.beginPath(); g.arc(p.x, p.y, crowd > 0.3 ? 1.5 : 3, 0, 7); g.fill(); continue; }
    lastX = p.x; lastY = p.y;
    const text = String(i + 1), half = Math.max(8, text.length * 3.2 + 3);
    rounded(g, p.x - half, p.y - 8, 2 * half, 16, 8);
    g.fillStyle = chosen ? color.ink : color.path; g.fill(); g.strokeStyle = color.card; g.lineWidth = 1.2; g.stroke();
    g.fillStyle = color.card; g.fillText(text, p.x, p.y + 0.5);
  }
  g.textAlign = "left"; g.font = FONT;
  const last = path[count - 1];
  if (part.verdict !== "ok" && last <= unitAt(width) && last >= unitAt(GUTTER)) for (const [op] of shown.refused) crossOut(g, part, op, pointAt(path, count - 1));
}
// An operation of unknown outcome that took effect long after its call: a thin line from its box to its point.
function tailTo(g, item, p) {
  const lane = L.lanes[L.laneOf[item]], at = lane.items.indexOf(item), from = px(boxEnd(lane, at).until);
  if (p.x <= from) return;
  g.save(); g.strokeStyle = color["done-line"]; g.setLineDash([2, 3]); g.lineWidth = 1.5; line(g, Math.max(from, GUTTER), p.y + BOX / 2 - 2, p.x, p.y + BOX / 2 - 2); line(g, p.x, p.y + BOX / 2 - 2, p.x, p.y); g.restore();
}
function crossAt(part, op) {
  const last = px(points(shown)[shown.length - 1]), x = Math.max(last + 15, px(L.left[part.begin[op]]) + 9), back = part.end[part.stuck];
  return part.stuck < 0 || back < 0 ? x : Math.max(Math.min(x, px(L.right[back]) - 9), last + 2);
}
function crossOut(g, part, op, end) {
  const item = L.item(part.index, op), lane = L.lanes[L.laneOf[item]], y = py(lane.top) + LANE / 2, after = shown.refused.get(op);
  const box = boxEnd(lane, lane.items.indexOf(item)), x = Math.min(crossAt(part, op), Math.max(px(box.open ? box.until : box.solid) - 8, px(L.x0[item]) + 9));
  g.strokeStyle = color.path; g.globalAlpha = 0.6; g.lineWidth = 1.2; g.setLineDash([2, 3]); line(g, end.x, end.y, x, y); g.setLineDash([]); g.globalAlpha = 1;
  g.fillStyle = color[part.verdict === "illegal" ? "bad" : "warn"]; g.beginPath(); g.arc(x, y, 7, 0, 7); g.fill();
  g.strokeStyle = color.card; g.lineWidth = 1.2; g.stroke(); g.lineWidth = 1.8;
  if (after === REFUSED) { line(g, x - 2.8, y - 2.8, x + 2.8, y + 2.8); line(g, x - 2.8, y + 2.8, x + 2.8, y - 2.8); } else line(g, x - 3, y, x + 3, y);
}

// ---- axis, states, labels ---------------------------------------------------------------------
function drawTop(g, path, part, end) {
  g.fillStyle = color.card; g.fillRect(0, 0, width, TOP - 3);
  g.save(); g.beginPath(); g.rect(GUTTER, 0, width - GUTTER, TOP - 3); g.clip();
  g.font = SMALL; g.fillStyle = color.muted; g.strokeStyle = color.line;
  for (const tick of ticks()) { const x = Math.round(px(tick.x)) + 0.5; line(g, x, 4, x, AXIS); g.fillText(tick.text, x + 4, AXIS / 2 + 1); }
  if (path && L.firstOf.has(part.index)) {
    const count = shown.length, state = i => i < 0 ? part.start : shown.states[i], first = Math.max(-1, firstAt(count, i => path[i], unitAt(GUTTER)) - 1);
    for (let i = first; i < count;) {
      const id = state(i), x0 = i < 0 ? px(0) - 6 : px(path[i]);
      if (x0 > width) break;
      let next = i + 1;
      while (next < count && state(next) === id && px(path[next]) < width) next++;
      const ends = next >= count, x1 = !ends ? px(path[next]) : end ? px(end.to) : px(L.width), seen = Math.max(x0, GUTTER);
      g.fillStyle = stateColor(id); g.fillRect(x0, AXIS + 2, x1 - x0 + 0.5, RIBBON - 2);
      if (ends && end) { const at = Math.max(px(path[count - 1] || 0), GUTTER); hatch(g, at, AXIS + 2, Math.min(x1, width) - at, RIBBON - 2, color[end.ink], 0.45); }
      for (let k = Math.max(i, 0); k < next; k++) if (k === i || px(path[k]) - px(path[k - 1]) > 5) { g.fillStyle = color.card; g.fillRect(px(path[k]), AXIS + 2, 1, k === i ? RIBBON - 2 : 4); }
      g.fillStyle = color.ink; g.fillText(fitted(g, stateText(id), Math.min(x1, width) - seen - 8), seen + 5, AXIS + 2 + (RIBBON - 2) / 2 + 0.5);
      i = next;
    }
  }
  if (end) { g.fillStyle = color[end.ink]; g.fillRect(px(end.to) - 1, 0, 2, TOP); }
  g.restore();
  g.strokeStyle = color.line; line(g, 0, TOP - 3.5, width, TOP - 3.5);
}
function drawLabels(g) {
  g.fillStyle = color.card; g.fillRect(0, 0, GUTTER, TOP - 3);
  g.save(); g.beginPath(); g.rect(0, TOP - 3, GUTTER, height); g.clip();
  g.fillStyle = color.card; g.fillRect(0, TOP - 3, GUTTER, height);
  g.textAlign = "right"; g.font = FONT;
  for (const row of L.rows) {
    const top = py(row.top);
    if (top > height || top + row.height < TOP - 3) continue;
    const y = Math.max(top, TOP - LANE / 2 + 6) + LANE / 2, said = fitted(g, row.label, GUTTER - 18), room = GUTTER - 18 - measure(g, said);
    g.fillStyle = color.ink; g.fillText(said, GUTTER - 10, y);
    if (row.client && room > 44) { g.fillStyle = color.muted; g.fillText("client", GUTTER - 14 - measure(g, said), y); }
  }
  g.restore();
  g.textAlign = "right"; g.font = SMALL; g.fillStyle = color.muted;
  g.fillText(look.clock ? "time" : "instant", GUTTER - 10, AXIS / 2 + 1);
  if (shown) g.fillText("state", GUTTER - 10, AXIS + 2 + (RIBBON - 2) / 2);
  g.textAlign = "left"; g.strokeStyle = color.line; line(g, GUTTER - 0.5, 0, GUTTER - 0.5, height);
}

// ---- the strip that shows it all --------------------------------------------------------------
let density = null;
function drawMap() {
  const w = map.clientWidth, h = 34, g = context(map, w, h);
  g.fillStyle = color.soft; g.fillRect(0, 0, w, h);
  const scale = w / L.width, bins = Math.ceil(w / 2);
  if (!density || density.layout !== L || density.bins.length !== bins) {
    density = { layout: L, bins: new Float64Array(bins), most: 1 };
    for (let item = 0; item < L.n; item++) { const bin = Math.min(bins - 1, L.x0[item] * scale / 2 | 0); density.most = Math.max(density.most, ++density.bins[bin]); }
  }
  const last = shown && shown.length ? points(shown)[shown.length - 1] * scale : shown ? 0 : w;
  for (let i = 0; i < bins; i++) {
    const tall = density.bins[i] / density.most * (h - 8);
    g.fillStyle = 2 * i <= last && shown ? color["done-line"] : color["rest-line"];
    if (tall) g.fillRect(2 * i, h - 3 - tall, 1.6, tall);
  }
  for (const part of L.shown) if (part.stuck >= 0 && part.verdict !== "ok") {
    const rank = part.end[part.stuck] < 0 ? part.begin[part.stuck] : part.end[part.stuck];
    g.fillStyle = color[part.verdict === "illegal" ? "bad" : "warn"]; g.fillRect(L.right[rank] * scale - 1, 0, 2, h);
  }
  if (matches.size) { g.fillStyle = color.find; for (const item of matches) g.fillRect(L.x0[item] * scale - 1, 0, 2, 4); }
  const from = unitAt(GUTTER) * scale, to = unitAt(width) * scale;
  g.strokeStyle = color.ink; g.lineWidth = 1.5; g.strokeRect(Math.max(0.75, from), 0.75, Math.min(w - 1.5, Math.max(to - from, 4)), h - 1.5);
}
