"use strict";
// The data, unpacked. Its form is described in visualization/data.py and orders.py; texts of a history enter
// the page by textContent or fillText only, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const TEXT = data.texts, CLIENTS = data.clients;
const NOT_DRAWN = -1, REFUSED = -1, UNTOLD = -2, UNCHANGED = -2;

function sums(steps) {
  const all = new Int32Array(steps.length);
  let last = 0;
  for (let i = 0; i < steps.length; i++) all[i] = last += steps[i];
  return all;
}

// ---- time -------------------------------------------------------------------------------------
// Instants are known by their rank. `at` is a rank's distance from the first instant, as a number to draw with.
const instants = (() => {
  const raw = data.times, plain = raw.every(t => typeof t === "number");
  const names = [], at = new Float64Array(raw.length);
  if (plain) {
    let last = 0;
    raw.forEach((step, i) => { last += step; names.push(String(last)); at[i] = last; });
  } else {
    const whole = raw.every(t => /^-?\d+$/.test(t));
    raw.forEach((t, i) => { names.push(t); at[i] = whole ? Number(BigInt(t) - BigInt(raw[0])) : Number(t); });
  }
  const first = at.length ? at[0] : 0;
  for (let i = 0; i < at.length; i++) at[i] -= first;
  return { names, at, first: plain ? first : NaN };
})();
const SECONDS = { ns: 1e-9, us: 1e-6, ms: 1e-3, s: 1 }[data.unit] || 0;

function grouped(text) { return text.replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009"); }
function span(length) {
  if (!length) return "0";
  if (!SECONDS) return grouped(String(Math.round(length)));
  const s = length * SECONDS, [value, name] = s < 1e-6 ? [s * 1e9, "ns"] : s < 1e-3 ? [s * 1e6, "\u00b5s"] : s < 1 ? [s * 1e3, "ms"] : [s, "s"];
  return String(+value.toPrecision(4)) + " " + name;
}
// An instant for a person: as it was recorded, and with a unit also as a distance from the first one.
function instant(rank) {
  const name = grouped(instants.names[rank]);
  return SECONDS ? "+" + span(instants.at[rank]) + " (" + name + ")" : name;
}

// ---- parts ------------------------------------------------------------------------------------
class Part {
  constructor(raw, index) {
    Object.assign(this, raw);
    this.index = index;
    this.n = raw.client.length;
    this.begin = sums(raw.begin);
    this.end = Int32Array.from(raw.length, (length, i) => length < 0 ? -1 : this.begin[i] + length);
    const steps = raw.op.length;
    this.above = Int32Array.from(raw.up, (up, i) => i + 1 - up);   // of step i + 1
    this.depth = new Int32Array(steps + 1);
    for (let s = 1; s <= steps; s++) this.depth[s] = this.depth[this.above[s - 1]] + 1;
    this.cache = new Map();
    this.longestOf = null;
  }
  get name() { return this.key || "(all)"; }
  // An order: its operations, the texts of the states after them, and for each operation its place (-1: not in it).
  order(index) {
    if (index < 0 || index >= this.ends.length) return null;
    let found = this.cache.get(index);
    if (found) return found;
    const length = this.depth[this.ends[index]];
    const ops = new Int32Array(length), states = new Int32Array(length), place = new Int32Array(this.n).fill(-1);
    for (let s = this.ends[index], i = length - 1; s > 0; s = this.above[s - 1], i--) {
      ops[i] = this.op[s - 1]; states[i] = this.state[s - 1];
      if (ops[i] >= 0) place[ops[i]] = i;
    }
    const refused = new Map();
    for (const [op, after] of this.refusals[index] || []) refused.set(op, after);
    found = { part: this, index, length, ops, states, place, refused, xs: null };
    if (this.cache.size > 40) this.cache.clear();
    this.cache.set(index, found);
    return found;
  }
  // The order to begin with: the longest of those that come up to the error, else the longest.
  get best() {
    let best = -1;
    const among = this.ways || this.ends.length;
    for (let i = 0; i < among; i++) if (best < 0 || this.depth[this.ends[i]] > this.depth[this.ends[best]]) best = i;
    return best;
  }
  // The longest order kept with this operation in it, or -1.
  longestWith(op) {
    if (!this.longestOf) {
      this.longestOf = new Int32Array(this.n).fill(-1);
      const ranked = this.ends.map((_, i) => i).sort((a, b) => this.depth[this.ends[b]] - this.depth[this.ends[a]] || a - b);
      const seen = new Uint8Array(this.above.length + 1);
      for (const index of ranked)
        for (let s = this.ends[index]; s > 0 && !seen[s]; s = this.above[s - 1]) {
          seen[s] = 1;
          const op = this.op[s - 1];
          if (op >= 0 && this.longestOf[op] < 0) this.longestOf[op] = index;
        }
    }
    return this.longestOf[op];
  }
  stateBefore(order, place) { return place ? order.states[place - 1] : this.start; }
  words(op) { return TEXT[this.text[op]]; }
  remarkOf(op) { return this.remark.length ? TEXT[this.remark[op]] : ""; }
  kind(op) { return this.outcome[op]; }                             // "o", "f" or "i"
}
const PARTS = data.parts.map((raw, index) => new Part(raw, index));
const ERRORS = PARTS.filter(part => part.verdict === "illegal" && part.n);

function stateText(id) { return id === REFUSED ? "not possible" : id === UNTOLD ? "(no room to tell)" : TEXT[id]; }
function answer(verdict) { return { ok: "linearizable", illegal: "not linearizable", unknown: "not decided" }[verdict]; }
function refusal(after) {
  if (after === REFUSED) return "not possible here";
  if (after === UNCHANGED) return "possible, but changes nothing";
  return "possible, leads to " + TEXT[after] + ", from where it is no better";
}
