// Where everything is. Horizontally in units, which the zoom turns into pixels; vertically in pixels.
//
// By order of events each instant is a cell: calls stand at its left edge, returns at its right edge, since
// intervals are closed and what is called at the instant another returns overlaps it. A cell is as wide as the
// points that must find room in it. In real time a unit is a fraction of the whole, and an instant has no width.
const LANE = 28, BOX = 22, ROW_GAP = 5, AXIS = 20, RIBBON = 24, TOP = AXIS + RIBBON + 6, GUTTER = 92;
const POINT_ROOM = 0.3, CELL = 0.6, GAP = 0.4, TAIL = 2.2;
const look = { part: 0, others: false, clock: false, packed: false, unit: 60 };
let L = null;                                                       // the layout in use

function layOut() {
  const shown = look.others || look.part < 0 ? PARTS : [PARTS[look.part]];
  const n = shown.reduce((sum, part) => sum + part.n, 0);
  const partOf = new Int32Array(n), opOf = new Int32Array(n), firstOf = new Map();
  let next = 0;
  for (const part of shown) {
    firstOf.set(part.index, next);
    for (let op = 0; op < part.n; op++) { partOf[next] = part.index; opOf[next++] = op; }
  }
  const layout = { n, partOf, opOf, firstOf, shown, item: (part, op) => firstOf.get(part) + op };
  axis(layout);
  const { x0, x1 } = layout, ranked = [...Array(n).keys()].sort((a, b) => x0[a] - x0[b] || a - b);
  rows(layout, ranked);
  L = layout;
  for (const part of PARTS) for (const order of part.cache.values()) order.xs = null;
}

// ---- the axis ---------------------------------------------------------------------------------
function axis(layout) {
  const count = instants.names.length, used = new Uint8Array(count);
  const mark = rank => { if (rank >= 0) used[rank] = 1; };
  for (const part of layout.shown) { part.begin.forEach(mark); part.end.forEach(mark); }
  for (const note of data.notes) { mark(note.begin); mark(note.end); }
  const left = new Float64Array(count), right = new Float64Array(count), ranks = [];
  for (let rank = 0; rank < count; rank++) if (used[rank]) ranks.push(rank);
  layout.ranks = Int32Array.from(ranks);
  if (look.clock) {
    const from = ranks.length ? instants.at[ranks[0]] : 0;
    const whole = ranks.length ? instants.at[ranks[ranks.length - 1]] - from || 1 : 1;
    layout.from = from;
    layout.perUnit = whole / Math.max(ranks.length, 12);
    for (const rank of ranks) left[rank] = right[rank] = (instants.at[rank] - from) / layout.perUnit;
    layout.width = Math.max(ranks.length, 12) + TAIL;
  } else {
    const need = new Uint16Array(count), room = new Uint16Array(count);
    for (const part of layout.shown)
      for (let index = 0; index < part.ends.length; index++) {
        need.fill(0);
        let latest = 0;
        const ops = [];
        for (let s = part.ends[index]; s > 0; s = part.above[s - 1]) ops.push(part.op[s - 1]);
        for (let i = ops.length - 1; i >= 0; i--) if (ops[i] >= 0) {
          latest = Math.max(latest, part.begin[ops[i]]);
          room[latest] = Math.max(room[latest], ++need[latest]);
        }
        if (layout.shown.length > 1 || part.ends.length * ops.length > 4e6) break;
      }
    let x = 0;
    for (const rank of ranks) {
      left[rank] = x;
      right[rank] = x += Math.max(CELL, 0.24 + POINT_ROOM * Math.min(room[rank], 80));
      x += GAP;
    }
    layout.width = x + TAIL;
  }
  layout.left = left; layout.right = right;
  layout.x0 = new Float64Array(layout.n); layout.x1 = new Float64Array(layout.n);
  for (let item = 0; item < layout.n; item++) {
    const part = PARTS[layout.partOf[item]], op = layout.opOf[item];
    layout.x0[item] = left[part.begin[op]];
    layout.x1[item] = part.end[op] < 0 ? -1 : right[part.end[op]];  // -1: nobody knows
  }
}

// ---- rows -------------------------------------------------------------------------------------
// A lane holds operations that do not overlap. A client has more than one only if it overlaps itself.
function rows(layout, ranked) {
  const lanes = [], found = [], laneOf = new Int32Array(layout.n), groups = look.packed ? [ranked] : CLIENTS.map(() => []);
  if (!look.packed) for (const item of ranked) groups[PARTS[layout.partOf[item]].client[layout.opOf[item]]].push(item);
  let top = TOP;
  const add = (label, first, client) => { found.push({ label, client, top, height: (lanes.length - first) * LANE }); top += (lanes.length - first) * LANE + (look.packed ? 0 : ROW_GAP); };
  groups.forEach((group, client) => {
    const notes = look.packed ? [] : data.notes.filter(note => note.client === client);
    if (!group.length && !notes.length) return;
    const first = lanes.length, free = [], mine = [];
    for (const item of group) {
      const begin = layout.x0[item], end = layout.x1[item] < 0 ? begin + 0.2 : layout.x1[item];
      let lane = free.findIndex(until => until < begin);
      if (lane < 0) { lane = free.length; free.push(0); mine.push([]); }
      free[lane] = look.packed && layout.x1[item] < 0 ? begin + 1.6 : end;
      mine[lane].push(item);
      laneOf[item] = first + lane;
    }
    mine.forEach((items, i) => lanes.push({ items, top: top + i * LANE, notes: null }));
    if (notes.length) lanes.push({ items: [], top: top + mine.length * LANE, notes });
    add(look.packed ? "" : CLIENTS[client], first, !look.packed);
  });
  data.tags.forEach((tag, index) => {
    const notes = data.notes.filter(note => note.tag === index && note.client < 0), first = lanes.length, free = [];
    notes.forEach(note => {
      let lane = free.findIndex(until => until < note.begin);
      if (lane < 0) { lane = free.length; free.push(0); lanes.push({ items: [], top: top + lane * LANE, notes: [] }); }
      free[lane] = Math.max(note.end, note.begin + 1);
      lanes[first + lane].notes.push(note);
    });
    add(tag || "notes", first);
  });
  layout.lanes = lanes; layout.laneOf = laneOf; layout.rows = found; layout.height = top + 6;
}

// The first place in sorted `items` whose key is not below `wanted`.
function firstAt(length, key, wanted) {
  let low = 0, high = length;
  while (low < high) { const middle = (low + high) >> 1; if (key(middle) < wanted) low = middle + 1; else high = middle; }
  return low;
}

// ---- linearization points ---------------------------------------------------------------------
// A point lies between the latest call before it and the earliest return after it; in the middle of what is left, as far
// as its neighbours leave room.
function points(order) {
  if (order.xs) return order.xs;
  const { part, ops, length } = order, early = new Float64Array(length), late = new Float64Array(length), xs = new Float64Array(length);
  let latest = L.ranks.length ? L.left[L.ranks[0]] : 0;
  for (let i = 0; i < length; i++) {
    if (ops[i] >= 0) latest = Math.max(latest, L.left[part.begin[ops[i]]]);
    early[i] = latest;
  }
  let soonest = part.stuck >= 0 && part.end[part.stuck] >= 0 ? L.right[part.end[part.stuck]] : L.width;
  for (let i = length - 1; i >= 0; i--) {
    const op = ops[i];
    if (op >= 0 && part.end[op] >= 0 && part.kind(op) !== "i") soonest = Math.min(soonest, L.right[part.end[op]]);
    late[i] = Math.min(soonest, early[i] + (look.clock ? L.width : 3 * CELL + POINT_ROOM * length));
    if (late[i] < early[i]) late[i] = early[i];
  }
  for (let i = 0; i < length;) {                                    // those with the same room share it evenly
    let j = i;
    while (j < length && early[j] === early[i] && late[j] === late[i]) j++;
    for (let k = i; k < j; k++) xs[k] = early[i] + (late[i] - early[i]) * (k - i + 1) / (j - i + 1);
    i = j;
  }
  const apart = look.clock ? 0 : POINT_ROOM;
  for (let i = 1; i < length; i++) xs[i] = Math.min(Math.max(xs[i], xs[i - 1] + apart), Math.max(late[i] - 0.06, xs[i - 1]));
  for (let i = length - 2; i >= 0; i--) xs[i] = Math.max(Math.min(xs[i], xs[i + 1] - apart), Math.min(early[i] + 0.06, xs[i + 1]));
  return order.xs = xs;
}
