// What a person does. The address's fragment tells what is shown, so that a view can be passed on.
const UNIT_MIN = 0.002, UNIT_MAX = 240, EXTENT_MAX = 8e6;

// ---- what is shown ----------------------------------------------------------------------------
function relay() {
  layOut();
  density = null; hover = -1;
  resize();
}
function resize() {
  look.unit = Math.min(look.unit, EXTENT_MAX / Math.max(L.width, 1));
  extent.style.width = GUTTER + L.width * look.unit + "px";
  extent.style.height = L.height + "px";
  draw();
}
function showPart(index, quiet) {
  look.part = index;
  selected = -1;
  const part = PARTS[index];
  shown = part ? part.order(part.best) : null;
  look.others = $("others").checked;
  relay();
  look.unit = usualUnit();
  resize();
  markPart();
  if (!quiet) toError(part);
  refresh();
}
function showOrder(part, index, look_at) {
  shown = part.order(index);
  if (selected >= 0 && (PARTS[L.partOf[selected]] !== part || shown.place[L.opOf[selected]] < 0)) selected = -1;
  refresh();
  if (look_at && shown && shown.length) reveal(points(shown)[shown.length - 1], null, 0.65);
}
function choose(part, op, keep) {
  if (!L.firstOf.has(part.index)) showPart(part.index, true);
  if (!keep || !shown || shown.part !== part || shown.place[op] < 0) {
    const index = part.longestWith(op);
    // An operation that the order shown refuses is best explained by that order.
    const explained = shown && shown.part === part && (shown.place[op] >= 0 && index >= 0 && part.depth[part.ends[index]] <= shown.length || index < 0 && shown.refused.has(op));
    if (!explained) shown = index >= 0 ? part.order(index) : part.order(part.best);
  }
  if (look.part !== part.index) { look.part = part.index; markPart(); }
  selected = L.item(part.index, op);
  showItem(selected);
  refresh();
}
function letGo() {
  const part = PARTS[look.part];
  selected = -1;
  if (part) shown = part.order(part.best);
  refresh();
}
function refresh() {
  fillWhy(); fillSteps(); tell(); remember(); hideTip();
  const at = ERRORS.findIndex(part => part.index === look.part);
  $("first").disabled = !ERRORS.length;
  $("before").disabled = at <= 0;
  $("after").disabled = at < 0 ? !ERRORS.length : at === ERRORS.length - 1;
  $("othersbox").hidden = PARTS.length < 2;
  $("ranks").setAttribute("aria-pressed", String(!look.clock));
  $("clock").setAttribute("aria-pressed", String(look.clock));
  draw();
}
// Wide enough for most words to be read.
function usualUnit() {
  const g = canvas.getContext("2d"), wanted = [];
  g.font = FONT;
  const every = Math.max(1, Math.floor(L.n / 300));
  for (let item = 0; item < L.n; item += every) {
    const long = L.x1[item] < 0 ? 1.2 : L.x1[item] - L.x0[item];
    if (long > 0) wanted.push((measure(g, PARTS[L.partOf[item]].words(L.opOf[item])) + 16) / long);
  }
  wanted.sort((a, b) => a - b);
  const fit = (scroller.clientWidth - GUTTER - 12) / Math.max(L.width, 1);
  const most = look.clock ? 2000 : 110, unit = Math.min(most, Math.max(46, wanted.length ? wanted[Math.floor(wanted.length * 0.7)] : 60));
  return fit > unit ? Math.min(fit, 160) : unit;
}

// ---- going there ------------------------------------------------------------------------------
function reveal(x, top, where) {
  const at = GUTTER + x * look.unit, room = scroller.clientWidth - GUTTER, left = scroller.scrollLeft + GUTTER;
  if (where != null || at < left + 30 || at > left + room - 60) scroller.scrollLeft = at - GUTTER - room * (where == null ? 0.5 : where);
  if (top != null && (top < scroller.scrollTop + TOP || top + LANE > scroller.scrollTop + scroller.clientHeight))
    scroller.scrollTop = top - TOP - (scroller.clientHeight - TOP) / 2;
  draw();
}
function showItem(item) {
  const part = PARTS[L.partOf[item]], op = L.opOf[item], place = shown && shown.part === part ? shown.place[op] : -1;
  reveal(place >= 0 ? points(shown)[place] : L.x0[item], L.lanes[L.laneOf[item]].top);
}
function toError(part) {
  if (!part) return;
  if (part.stuck < 0 || part.verdict === "ok") { scroller.scrollLeft = 0; scroller.scrollTop = 0; return; }
  const rank = part.end[part.stuck] < 0 ? part.begin[part.stuck] : part.end[part.stuck];
  reveal(L.right[rank], L.lanes[L.laneOf[L.item(part.index, part.stuck)]].top, 0.7);
}
function error(step) {
  if (!ERRORS.length) return;
  const at = ERRORS.findIndex(part => part.index === look.part);
  const next = step === 0 ? 0 : at < 0 ? 0 : Math.min(ERRORS.length - 1, Math.max(0, at + step));
  if (ERRORS[next].index !== look.part) showPart(ERRORS[next].index);
  else { letGo(); toError(ERRORS[next]); }
}
function walk(step) {
  if (!shown || !shown.length) return;
  const part = shown.part, here = selected >= 0 && PARTS[L.partOf[selected]] === part ? shown.place[L.opOf[selected]] : -1;
  let next = here < 0 ? (part.verdict === "ok" ? 0 : shown.length - 1) : here + step;
  while (next >= 0 && next < shown.length && shown.ops[next] < 0) next += Math.sign(step) || 1;
  if (next < 0 || next >= shown.length) return;
  choose(part, shown.ops[next], true);
}
function along(step) {
  const part = PARTS[look.part];
  if (selected < 0) { if (part && part.stuck >= 0) choose(part, part.stuck); return; }
  const items = L.lanes[L.laneOf[selected]].items, next = items[items.indexOf(selected) + step];
  if (next !== undefined) choose(PARTS[L.partOf[next]], L.opOf[next], true);
}
function zoom(factor, x) {
  const at = x == null ? GUTTER + (scroller.clientWidth - GUTTER) / 2 : Math.max(x, GUTTER), unit = unitAt(at);
  look.unit = Math.min(UNIT_MAX, Math.max(UNIT_MIN, look.unit * factor, (scroller.clientWidth - GUTTER - 12) / L.width * 0.999));
  if (look.clock) look.unit = Math.max(look.unit, UNIT_MIN);
  resize();
  scroller.scrollLeft = GUTTER + unit * look.unit - at;
}
function fitAll() { look.unit = Math.min((scroller.clientWidth - GUTTER - 12) / L.width, UNIT_MAX); resize(); scroller.scrollLeft = 0; }
function switchTime(clock) {
  const keep = selected >= 0 ? selected : -1, part = PARTS[look.part];
  look.clock = clock;
  relay(); look.unit = usualUnit(); resize();
  if (keep >= 0) showItem(keep); else toError(part);
  refresh();
}

// ---- find -------------------------------------------------------------------------------------
let finding = -1;
function find() {
  const wanted = $("find").value.toLowerCase();
  matches = new Set(); finding = -1;
  if (wanted) for (let item = 0; item < L.n; item++) {
    const part = PARTS[L.partOf[item]], op = L.opOf[item];
    if (part.words(op).toLowerCase().includes(wanted) || part.remarkOf(op).toLowerCase().includes(wanted)) matches.add(item);
  }
  $("found").textContent = wanted ? grouped(String(matches.size)) + " found" : "";
  draw();
}
function findNext() {
  if (!matches.size) return;
  const ranked = [...matches].sort((a, b) => L.x0[a] - L.x0[b]);
  finding = (finding + 1) % ranked.length;
  choose(PARTS[L.partOf[ranked[finding]]], L.opOf[ranked[finding]], true);
  $("found").textContent = finding + 1 + " of " + matches.size;
}

// ---- the pointer ------------------------------------------------------------------------------
function under(x, y) {
  if (x < GUTTER || y < TOP - 4) return null;
  const top = y + scroller.scrollTop, unit = unitAt(x);
  let at = firstAt(L.lanes.length, i => L.lanes[i].top, top + 0.001) - 1;
  const lane = L.lanes[at];
  if (!lane || top > lane.top + LANE) return null;
  if (lane.notes) {
    for (const note of lane.notes) {
      const from = L.left[note.begin], to = note.end < 0 ? from + 8 / look.unit : L.right[note.end];
      if (unit >= from - 4 / look.unit && unit <= to) return { note };
    }
    return null;
  }
  const slack = 3 / look.unit;
  at = firstAt(lane.items.length, i => L.x0[lane.items[i]], unit + slack) - 1;
  if (at < 0) return null;
  const box = boxEnd(lane, at);
  return unit <= Math.max(box.open ? box.until : box.solid, L.x0[lane.items[at]] + 2 * slack) + slack ? { item: lane.items[at] } : null;
}
function pointer(event) {
  const room = scroller.getBoundingClientRect(), x = event.clientX - room.left, y = event.clientY - room.top;
  return { x, y, hit: x < scroller.clientWidth && y < scroller.clientHeight ? under(x, y) : null };
}
scroller.addEventListener("mousemove", event => {
  const { x, y, hit } = pointer(event), item = hit && hit.item !== undefined ? hit.item : -1;
  scroller.classList.toggle("pick", item >= 0);
  if (item !== hover) { hover = item; draw(); }
  if (!hit) hideTip();
  else if (hit.note) showTip(TEXT[hit.note.text], noteFacts(hit.note), x, y);
  else showTip(PARTS[L.partOf[item]].words(L.opOf[item]), facts(item), x, y);
});
scroller.addEventListener("mouseleave", () => { hover = -1; hideTip(); draw(); });
scroller.addEventListener("click", event => {
  const { hit } = pointer(event);
  if (hit && hit.item !== undefined) choose(PARTS[L.partOf[hit.item]], L.opOf[hit.item]);
  else if (!hit) letGo();
});
scroller.addEventListener("scroll", () => { hideTip(); draw(); });
scroller.addEventListener("wheel", event => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * 0.002), event.clientX - scroller.getBoundingClientRect().left);
}, { passive: false });
function mapTo(event) {
  const unit = (event.clientX - map.getBoundingClientRect().left) / map.clientWidth * L.width;
  scroller.scrollLeft = unit * look.unit - (scroller.clientWidth - GUTTER) / 2;
}
map.addEventListener("pointerdown", event => { map.setPointerCapture(event.pointerId); mapTo(event); });
map.addEventListener("pointermove", event => { if (event.buttons & 1) mapTo(event); });

// ---- keys and buttons -------------------------------------------------------------------------
const ON_KEY = {
  e: () => error(0), n: () => error(1), p: () => error(-1), t: () => switchTime(!look.clock), "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: fitAll,
  ArrowRight: () => walk(1), ArrowLeft: () => walk(-1), ArrowDown: () => along(1), ArrowUp: () => along(-1), Escape: letGo, "?": () => $("help").click(),
  Home: () => { if (shown && shown.length) { selected = -1; choose(shown.part, shown.ops[0], true); } }, End: () => { if (shown && shown.length) choose(shown.part, shown.ops[shown.length - 1], true); },
  o: () => { const part = PARTS[look.part]; if (part && part.ends.length > 1) showOrder(part, ((shown ? shown.index : -1) + 1) % part.ends.length, true); },
  "/": () => $("find").focus(), Enter: findNext,
};
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const on = event.target;
  if (on.tagName === "INPUT" && on.type === "search") {
    if (event.key === "Escape") { on.value = ""; on.dispatchEvent(new Event("input")); scroller.focus(); }
    if (event.key === "Enter" && on.id === "find") findNext();
    return;
  }
  const moves = event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End" || event.key === "Enter";
  if (moves && on !== scroller && on !== document.body) return;     // those are the others' own keys
  const act = ON_KEY[event.key];
  if (act) { event.preventDefault(); act(); }
});
$("first").onclick = () => error(0);
$("before").onclick = () => error(-1);
$("after").onclick = () => error(1);
$("ranks").onclick = () => switchTime(false);
$("clock").onclick = () => switchTime(true);
$("in").onclick = () => zoom(1.4);
$("out").onclick = () => zoom(1 / 1.4);
$("fit").onclick = fitAll;
$("packed").onchange = event => { look.packed = event.target.checked; const part = PARTS[look.part]; selected = -1; relay(); toError(part); refresh(); };
$("others").onchange = () => { const part = PARTS[look.part]; look.others = $("others").checked; selected = -1; relay(); toError(part); refresh(); };
$("help").onclick = () => { const keys = $("keys"); keys.hidden = !keys.hidden; $("help").setAttribute("aria-expanded", String(!keys.hidden)); draw(); };
$("filter").oninput = fillParts;
$("find").oninput = find;

// ---- the address ------------------------------------------------------------------------------
function remember() {
  const told = [];
  if (look.part > 0) told.push("part=" + look.part);
  if (shown && shown.index !== shown.part.best) told.push("order=" + shown.index);
  if (selected >= 0) told.push("op=" + L.opOf[selected]);
  if (look.clock) told.push("time=real");
  try { history.replaceState(null, "", told.length ? "#" + told.join("&") : location.pathname + location.search); } catch (refused) { /* where a page may not, it does without */ }
}
function recall() {
  const told = new URLSearchParams(location.hash.slice(1)), number = (name, most) => { const n = Number(told.get(name)); return told.has(name) && Number.isInteger(n) && n >= 0 && n < most ? n : -1; };
  look.clock = told.get("time") === "real";
  const wanted = number("part", PARTS.length), op = told.get("op"), order = told.get("order");
  showPart(wanted >= 0 && PARTS[wanted].n ? wanted : PARTS.length ? 0 : -1);
  const part = PARTS[look.part];
  if (!part) return;
  if (order !== null && /^\d+$/.test(order) && +order < part.ends.length) showOrder(part, +order, true);
  if (op !== null && /^\d+$/.test(op) && +op < part.n) choose(part, +op, order !== null);
}

$("app").hidden = false;
$("words").open = false;
readColors();
look.packed = $("packed").checked = CLIENTS.length > 60;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); refresh(); });
new ResizeObserver(() => draw()).observe($("stage"));
recall();
document.documentElement.dataset.ready = "yes";
