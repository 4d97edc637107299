"use strict";
// The timeline. One rule: texts of the records enter the page by textContent or fillText only, never as markup.
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const again = $("copy");
if (again && navigator.clipboard) {
  again.hidden = false;
  again.onclick = () => navigator.clipboard.writeText($("again").textContent).then(() => { again.textContent = "Copied"; });
}
const stage = $("stage");
if (!stage) return;
for (const id of ["tools", "stage", "hint"]) $(id).hidden = false;

const C = data.ops.columns, N = C.b.length, END = Math.max(data.end, 1000);
const overview = $("overview"), chart = $("chart"), tip = $("tip");
const OUT = ["ok", "fail", "info"], GUTTER = 84, AXIS = 22, FAULT = 20, NODE = 50, LANE = 20, LATENCY = 150, RATE = 84, GAP = 14;
const marked = new Set();
for (const finding of data.findings) for (const op of finding.ops) marked.add(op);
let view = [0, END], key = -1, hover = null, color = {}, width = 0, shown = [true, true, true], selected = -1;

// ---- fixed facts ------------------------------------------------------------------------------
const endOf = i => C.e[i] < 0 ? C.b[i] : C.e[i];
const byLane = data.ops.lanes.map(() => []);
for (let i = 0; i < N; i++) byLane[C.l[i]].push(i);
for (const lane of byLane) lane.sort((a, b) => C.b[a] - C.b[b]);
const byEnd = [...Array(N).keys()].filter(i => C.e[i] >= 0).sort((a, b) => C.e[a] - C.e[b]);
const reads = data.ops.kinds.map(kind => /read|get|scan|local/.test(kind));
let slowest = 1000;
for (let i = 0; i < N; i++) slowest = Math.max(slowest, endOf(i) - C.b[i]);
const faults = data.faults.filter(f => f.e > f.b || f.outcome !== "installed");
const rows = [];                                    // each fault in the first row that is free
for (const fault of [...faults].sort((a, b) => a.b - b.b)) {
  let row = rows.findIndex(end => end <= fault.b);
  if (row < 0) { row = rows.length; rows.push(0); }
  rows[row] = Math.max(fault.e, fault.b + END / 12); // room for its name
  fault.row = row;
}
let skew = 0.02;
for (const node of data.nodes) for (const p of node.rates) skew = Math.max(skew, Math.abs(p[2] - 1) + p[3]);
skew = Math.min(skew, 1);
const y = {}; {
  let top = AXIS;
  y.faults = top; top += rows.length ? rows.length * FAULT + GAP : 0;
  y.nodes = top; top += data.nodes.length ? data.nodes.length * NODE + GAP : 0;
  y.lanes = top; top += byLane.length ? byLane.length * LANE + GAP : 0;
  y.latency = top; top += LATENCY + GAP;
  y.rate = top; top += RATE + 4;
  y.bottom = top;
}

// ---- drawing ----------------------------------------------------------------------------------
const px = t => GUTTER + (t - view[0]) / (view[1] - view[0]) * (width - GUTTER);
const at = x => view[0] + (x - GUTTER) / (width - GUTTER) * (view[1] - view[0]);
const faultColor = kind => color["f-" + (/pause/.test(kind) ? "pause" : /kill|power/.test(kind) ? "kill" : /clock/.test(kind) ? "clock"
  : /latency|delay|frames/.test(kind) ? "latency" : /partition/.test(kind) ? "partition" : "other")];
function time(t, span) {
  const digits = span > 2e7 ? 1 : span > 2e6 ? 2 : span > 2e4 ? 3 : span > 2e3 ? 4 : 6;
  return (t / 1e6).toFixed(digits) + " s";
}
function took(us) { return us < 1000 ? us + " µs" : us < 1e6 ? (us / 1000).toPrecision(3) + " ms" : (us / 1e6).toFixed(2) + " s"; }
function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["bg", "card", "ink", "muted", "line", "soft", "ok", "fail", "info", "mark", "leader", "follower", "candidate", "down",
    "paused", "lease", "good", "bad", "f-partition", "f-pause", "f-kill", "f-clock", "f-latency", "f-other"])
    color[name] = style.getPropertyValue("--" + name).trim();
}
function prepare(canvas, height) {
  const ratio = window.devicePixelRatio || 1, w = Math.round(width * ratio), h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; canvas.style.height = height + "px"; }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  g.textBaseline = "middle";
  return g;
}
function fit(g, text, room) {
  if (room < 14) return "";
  if (g.measureText(text).width <= room) return text;
  let low = 0, high = text.length;
  while (low < high) { const mid = (low + high + 1) >> 1; if (g.measureText(text.slice(0, mid) + "…").width <= room) low = mid; else high = mid - 1; }
  return low > 1 ? text.slice(0, low) + "…" : "";
}
function ticks(from, to, wanted) {
  const raw = (to - from) / wanted, base = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * base).find(s => s >= raw), list = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) list.push(t);
  return list;
}
function hatch(g, x, top, w, h, ink) {
  g.save(); g.beginPath(); g.rect(x, top, w, h); g.clip(); g.strokeStyle = ink; g.lineWidth = 1; g.beginPath();
  for (let d = -h; d < w; d += 6) { g.moveTo(x + d, top + h); g.lineTo(x + d + h, top); }
  g.stroke(); g.restore();
}
function label(g, text, middle, strong) {
  g.fillStyle = strong ? color.ink : color.muted; g.textAlign = "right";
  g.fillText(fit(g, text, GUTTER - 14), GUTTER - 10, middle); g.textAlign = "left";
}
function draw() {
  const g = prepare(chart, y.bottom), span = view[1] - view[0];
  g.save(); g.beginPath(); g.rect(GUTTER, 0, width - GUTTER, y.bottom); g.clip();
  for (const f of faults) {                          // soft bands behind everything
    if (f.e < view[0] || f.b > view[1] || f.outcome !== "installed") continue;
    g.globalAlpha = .07; g.fillStyle = faultColor(f.kind);
    for (const [top, height] of [[y.latency, LATENCY], [y.rate, RATE]])
      g.fillRect(px(f.b), top, Math.max(1, px(f.e) - px(f.b)), height);
    g.globalAlpha = 1;
  }
  g.strokeStyle = color.line; g.fillStyle = color.muted; g.lineWidth = 1;
  for (const t of ticks(view[0], view[1], Math.max(3, (width - GUTTER) / 110))) {
    const x = Math.round(px(t)) + .5;
    g.beginPath(); g.moveTo(x, AXIS - 4); g.lineTo(x, y.bottom); g.stroke();
    g.fillText(time(t, span), x + 4, 9);
  }
  g.setLineDash([2, 4]); g.strokeStyle = color.muted;
  for (const [t] of data.phases) {
    if (t < view[0] || t > view[1]) continue;
    const x = Math.round(px(t)) + .5;
    g.globalAlpha = .6; g.beginPath(); g.moveTo(x, AXIS - 6); g.lineTo(x, y.nodes - 4); g.stroke(); g.globalAlpha = 1;
  }
  g.setLineDash([]);
  for (const f of faults) {
    if (f.e < view[0] && f.b + END / 12 < view[0] || f.b > view[1]) continue;
    const top = y.faults + f.row * FAULT, x = px(f.b), w = Math.max(3, px(f.e) - x), ink = faultColor(f.kind);
    const real = f.outcome === "installed";
    g.globalAlpha = real ? .22 : .08; g.fillStyle = ink; g.fillRect(x, top + 1, w, FAULT - 4); g.globalAlpha = 1;
    g.fillStyle = ink; g.fillRect(x, top + 1, 3, FAULT - 4);
    if (f.outcome === "indeterminate") { g.globalAlpha = .5; hatch(g, x, top + 1, w, FAULT - 4, ink); g.globalAlpha = 1; }
    g.fillStyle = real ? color.ink : color.muted;
    const left = Math.max(x, GUTTER) + 7;
    g.fillText(fit(g, (real ? "" : f.outcome + ": ") + f.text, Math.max(x + w - left - 4, real ? 0 : 150)), left, top + FAULT / 2 - .5);
  }
  data.nodes.forEach((node, n) => drawNode(g, node, y.nodes + n * NODE));
  byLane.forEach((lane, n) => drawLane(g, lane, y.lanes + n * LANE));
  drawLatency(g); drawRate(g);
  for (const i of marked) {                          // a thin line through everything at what proves a finding
    if (endOf(i) < view[0] || C.b[i] > view[1]) continue;
    g.globalAlpha = .5; g.fillStyle = color.mark; g.fillRect(px(C.b[i]), y.nodes, 1, y.rate + RATE - y.nodes); g.globalAlpha = 1;
  }
  for (const f of data.findings) if (!f.ops.length) for (const t of f.times) if (t >= view[0] && t <= view[1]) {
    g.globalAlpha = .7; g.fillStyle = color.mark; g.fillRect(px(t), y.nodes, 1.5, y.bottom - y.nodes); g.globalAlpha = 1;
  }
  if (hover && hover.x > GUTTER) { g.globalAlpha = .35; g.fillStyle = color.ink; g.fillRect(hover.x, AXIS, 1, y.bottom - AXIS); g.globalAlpha = 1; }
  g.restore();
  if (rows.length) label(g, "faults", y.faults + FAULT / 2);
  data.nodes.forEach((node, n) => { label(g, node.name, y.nodes + n * NODE + 10, true); label(g, "clock", y.nodes + n * NODE + 36); });
  data.ops.lanes.forEach((name, n) => label(g, name, y.lanes + n * LANE + LANE / 2));
  $("range").textContent = time(view[0], span) + " to " + time(view[1], span) + "  (" + took(Math.round(span)) + ")";
  drawOverview();
}
function drawNode(g, node, top) {
  for (const [b, e, role, term] of node.roles) {
    if (e < view[0] || b > view[1]) continue;
    const x = Math.max(px(b), GUTTER), w = Math.max(1, Math.min(px(e), width) - x);
    g.fillStyle = color[role]; g.globalAlpha = role === "down" ? .55 : 1;
    g.fillRect(x, top, w, 18); g.globalAlpha = 1;
    if (role === "down") hatch(g, x, top, w, 18, color.card);
    const dark = role === "leader" || role === "down";
    g.fillStyle = dark ? "#fff" : role === "candidate" ? "#1b1f26" : color.ink;
    g.fillText(fit(g, role === "follower" ? "term " + term : role === "down" ? "down" : role + " of term " + term, w - 10), x + 6, top + 9.5);
  }
  for (const [b, e] of node.paused) {
    if (e < view[0] || b > view[1]) continue;
    const x = Math.max(px(b), GUTTER), w = Math.max(2, Math.min(px(e), width) - x);
    g.fillStyle = color.paused; g.globalAlpha = .85; g.fillRect(x, top, w, 18); g.globalAlpha = 1;
    g.fillStyle = "#fff"; g.fillText(fit(g, "paused", w - 10), x + 6, top + 9.5);
  }
  g.fillStyle = color.lease;
  for (const [b, e] of node.lease) if (e >= view[0] && b <= view[1]) g.fillRect(px(b), top + 19.5, Math.max(1.5, px(e) - px(b)), 3);
  const middle = top + 36, half = 8;
  g.strokeStyle = color.line; g.beginPath(); g.moveTo(GUTTER, middle + .5); g.lineTo(width, middle + .5); g.stroke();
  let strayed = -1e9;
  for (const [b, e, rate, error] of node.rates) {
    if (e < view[0] || b > view[1]) continue;
    const off = (rate - 1) / skew * half, far = Math.abs(rate - 1) > .01 + error;
    g.fillStyle = far ? color["f-clock"] : color.muted; g.globalAlpha = far ? .3 : .5;
    g.fillRect(px(b), middle, px(e) - px(b) + .5, -off || .5);
    g.globalAlpha = 1; g.fillRect(px(b), middle - off - .75, px(e) - px(b) + .5, 1.5);
    if (far && px(b) > strayed) {
      const text = "×" + rate.toFixed(3), x = Math.max(px(b), GUTTER) + 4;
      g.fillStyle = color.ink; g.fillText(text, x, off > 0 ? middle + 7 : middle - 7); strayed = x + 150;
    }
  }
}
function words(i, short) {
  const kind = data.ops.kinds[C.f[i]], name = C.k[i] < 0 ? "" : data.ops.keys[C.k[i]];
  const parts = [short ? kind[0] : kind, name];
  if (!short && C.m[i] >= 0) parts.push(data.ops.modes[C.m[i]]);
  if (C.v[i] !== "") parts.push(C.v[i]);
  if (C.r[i] !== "" && C.o[i] === 0) parts.push("→ " + C.r[i]);
  return parts.filter(Boolean).join(" ");
}
function visible(i) { return shown[C.o[i]] || marked.has(i); }
function faint(i) { return key >= 0 && C.k[i] !== key && !marked.has(i); }
function drawLane(g, lane, top) {
  g.fillStyle = color.soft; g.fillRect(GUTTER, top + 2, width - GUTTER, LANE - 4);
  let from = 0, to = lane.length, process = -1;
  const early = view[0] - slowest;
  while (from < to) { const mid = (from + to) >> 1; if (C.b[lane[mid]] < early) from = mid + 1; else to = mid; }
  for (let n = from; n < lane.length; n++) {
    const i = lane[n];
    if (C.b[i] > view[1]) break;
    if (process >= 0 && C.p[i] !== process) {          // the client went on under a new process number
      g.fillStyle = color.muted; g.fillRect(px(C.b[i]) - 1, top, 1, LANE);
    }
    process = C.p[i];
    if (endOf(i) < view[0] && C.o[i] !== 2 || !visible(i)) continue;
    const x = px(C.b[i]), w = Math.max(C.e[i] < 0 ? 6 : 1.5, px(endOf(i)) - x), read = reads[C.f[i]];
    g.fillStyle = color[OUT[C.o[i]]];
    g.globalAlpha = faint(i) ? .1 : read && C.o[i] === 0 ? .45 : .95;
    g.fillRect(x, top + 4, w, LANE - 8);
    if (C.o[i] === 2 && !faint(i)) {                  // it may yet take effect
      g.globalAlpha = .8;
      for (let d = 0; d < 4; d++) g.fillRect(x + w + 3 + d * 5, top + LANE / 2 - .75, 2.5, 1.5);
    }
    g.globalAlpha = 1;
    if (marked.has(i)) { g.strokeStyle = color.mark; g.lineWidth = 2; g.strokeRect(x - 1, top + 2, w + 2, LANE - 4); g.lineWidth = 1; }
    if (i === selected) { g.strokeStyle = color.ink; g.strokeRect(x - 2.5, top + 1.5, w + 5, LANE - 3); }
    if (w > 26 && !faint(i)) {
      const left = Math.max(x, GUTTER) + 4;
      g.fillStyle = read && C.o[i] === 0 ? color.ink : C.o[i] === 2 ? "#1b1f26" : "#fff";
      g.fillText(fit(g, words(i, w < 110), x + w - left - 3), left, top + LANE / 2 + .5);
    }
  }
  // names beside the bars that prove something, over whatever lies there
  const named = [];
  for (let n = from; n < lane.length && C.b[lane[n]] <= view[1]; n++) if (marked.has(lane[n]) && endOf(lane[n]) >= view[0]) named.push(lane[n]);
  named.forEach((i, n) => {
    const x = px(C.b[i]), w = Math.max(1.5, px(endOf(i)) - x), limit = n + 1 < named.length ? px(C.b[named[n + 1]]) - 4 : width;
    if (w > 120) return;
    let text = words(i, false), room = g.measureText(text).width + 8, left = x + w + 4;
    if (left + room > limit) {
      if (n === 0 && x - room - 4 > GUTTER) left = x - room - 4;
      else { text = fit(g, text, limit - left - 8); room = g.measureText(text).width + 8; }
    }
    if (!text) return;
    g.fillStyle = color.card; g.fillRect(left, top + 2, room, LANE - 4);
    g.fillStyle = color.mark; g.fillText(text, left + 4, top + LANE / 2 + .5);
  });
}
const latencyY = us => {
  const low = 2, high = Math.log10(Math.max(slowest, 1e4)) + .1;   // from 100 µs up
  return y.latency + LATENCY - (Math.min(Math.max(Math.log10(Math.max(us, 1)), low), high) - low) / (high - low) * (LATENCY - 6);
};
function completed() {                              // the stretch of byEnd that is in view
  let from = 0, to = byEnd.length;
  while (from < to) { const mid = (from + to) >> 1; if (C.e[byEnd[mid]] < view[0]) from = mid + 1; else to = mid; }
  let last = from;
  while (last < byEnd.length && C.e[byEnd[last]] <= view[1]) last++;
  return byEnd.slice(from, last);
}
function drawLatency(g) {
  g.textAlign = "left";
  for (const [us, text] of [[1e2, "100 µs"], [1e3, "1 ms"], [1e4, "10 ms"], [1e5, "100 ms"], [1e6, "1 s"], [1e7, "10 s"]]) {
    if (us > slowest * 1.5 && us > 1e4) continue;
    const line = Math.round(latencyY(us)) + .5;
    g.strokeStyle = color.line; g.beginPath(); g.moveTo(GUTTER, line); g.lineTo(width, line); g.stroke();
    scale.push([text, line]);
  }
  const list = completed(), size = list.length > 4000 ? 1.5 : list.length > 400 ? 2.5 : 4;
  for (const i of list) {
    if (!visible(i)) continue;
    const mark = marked.has(i);
    g.fillStyle = mark ? color.mark : color[OUT[C.o[i]]]; g.globalAlpha = faint(i) ? .06 : mark ? 1 : .55;
    const s = mark ? 6 : size;
    g.fillRect(px(C.e[i]) - s / 2, latencyY(C.e[i] - C.b[i]) - s / 2, s, s);
  }
  g.globalAlpha = 1;
  const buckets = Math.max(10, Math.min(160, Math.floor((width - GUTTER) / 9))), step = (view[1] - view[0]) / buckets;
  const held = Array.from({ length: buckets }, () => []);
  for (const i of list) if (C.o[i] === 0 && !faint(i)) held[Math.min(buckets - 1, Math.floor((C.e[i] - view[0]) / step))].push(C.e[i] - C.b[i]);
  for (const bucket of held) bucket.sort((a, b) => a - b);
  for (const [part, dash, ink] of [[.5, [], color.ink], [.99, [4, 3], color.ink]]) {
    g.strokeStyle = ink; g.lineWidth = 1.4; g.setLineDash(dash); g.globalAlpha = .8; g.beginPath();
    let pen = false;
    held.forEach((bucket, n) => {
      if (bucket.length < 3) { pen = false; return; }
      const value = bucket[Math.min(bucket.length - 1, Math.floor(part * bucket.length))];
      const x = px(view[0] + (n + .5) * step), line = latencyY(value);
      if (pen) g.lineTo(x, line); else g.moveTo(x, line);
      pen = true;
    });
    g.stroke();
  }
  g.setLineDash([]); g.globalAlpha = 1; g.lineWidth = 1;
}
const scale = [];
function drawRate(g) {
  const buckets = Math.max(10, Math.min(240, Math.floor((width - GUTTER) / 5))), step = (view[1] - view[0]) / buckets;
  const counts = Array.from({ length: buckets }, () => [0, 0, 0]);
  for (const i of completed()) if (shown[C.o[i]] && !faint(i)) counts[Math.min(buckets - 1, Math.floor((C.e[i] - view[0]) / step))][C.o[i]]++;
  const most = Math.max(1, ...counts.map(c => c[0] + c[1] + c[2])), base = y.rate + RATE;
  counts.forEach((count, n) => {
    let line = base;
    for (const o of [0, 1, 2]) {
      const h = count[o] / most * (RATE - 6), x = px(view[0] + n * step);
      if (!h) continue;
      g.fillStyle = color[OUT[o]]; g.globalAlpha = .85;
      line -= h; g.fillRect(x, line, px(view[0] + (n + 1) * step) - x - .5, h);
    }
  });
  g.globalAlpha = 1;
  scale.push([Math.round(most / step * 1e6) + "/s", y.rate + 8]);
}
function drawScale(g) {
  for (const [text, line] of scale) label(g, text, line);
  scale.length = 0;
  g.fillStyle = color.muted; g.textAlign = "left";
  g.fillText("latency, log scale (line: median, dashed: 99 %)", GUTTER + 6, y.latency + 4);
  g.fillText("operations per second", GUTTER + 6, y.rate - 4);
}
function drawOverview() {
  const height = 52, g = prepare(overview, height), wide = width - GUTTER;
  const x = t => GUTTER + t / END * wide;
  g.fillStyle = color.soft; g.fillRect(GUTTER, 0, wide, height);
  for (const f of faults) if (f.outcome === "installed") {
    g.globalAlpha = .28; g.fillStyle = faultColor(f.kind); g.fillRect(x(f.b), 0, Math.max(1, x(f.e) - x(f.b)), height);
  }
  g.globalAlpha = .75;
  const buckets = Math.max(20, Math.floor(wide / 3)), counts = Array.from({ length: buckets }, () => [0, 0, 0]);
  for (const i of byEnd) counts[Math.min(buckets - 1, Math.floor(C.e[i] / END * buckets))][C.o[i]]++;
  const most = Math.max(1, ...counts.map(c => c[0] + c[1] + c[2]));
  counts.forEach((count, n) => {
    let line = height;
    for (const o of [0, 1, 2]) { const h = count[o] / most * (height - 8); g.fillStyle = color[OUT[o]]; line -= h; g.fillRect(GUTTER + n / buckets * wide, line, wide / buckets - .5, h); }
  });
  g.globalAlpha = 1; g.fillStyle = color.mark;
  for (const i of marked) g.fillRect(x(C.b[i]) - 1, 0, 2, height);
  for (const f of data.findings) if (!f.ops.length) for (const t of f.times) g.fillRect(x(t) - 1, 0, 2, height);
  g.fillStyle = color.card; g.globalAlpha = .62;
  g.fillRect(GUTTER, 0, x(view[0]) - GUTTER, height); g.fillRect(x(view[1]), 0, width - x(view[1]), height);
  g.globalAlpha = 1; g.strokeStyle = color.ink; g.strokeRect(Math.max(GUTTER, x(view[0])) + .5, .5, Math.max(3, x(view[1]) - x(view[0]) - 1), height - 1);
  label(g, "whole run", height / 2);
}
let queued = false;
function redraw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => { queued = false; paint(); });
}
function paint() {
  width = stage.clientWidth;
  scale.length = 0;
  draw();
  drawScale(chart.getContext("2d"));
  if (key >= 0) keyTable();
}

// ---- moving -----------------------------------------------------------------------------------
function look(from, to) {
  const span = Math.min(Math.max(to - from, 200), END);
  from = Math.min(Math.max((from + to - span) / 2, 0), END - span);
  view = [from, from + span];
  redraw();
}
function zoom(factor, t) { look(t - (t - view[0]) * factor, t + (view[1] - t) * factor); }
const middle = () => (view[0] + view[1]) / 2;
$("in").onclick = () => zoom(.5, middle());
$("out").onclick = () => zoom(2, middle());
$("fit").onclick = () => look(0, END);
OUT.forEach((name, o) => { $(name).onchange = event => { shown[o] = event.target.checked; redraw(); }; });
function place(event) { const box = chart.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; }
chart.addEventListener("wheel", event => {
  const [x] = place(event);
  if (event.ctrlKey || event.metaKey) { event.preventDefault(); zoom(Math.exp(event.deltaY * .004), at(x)); }
  else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    const d = event.deltaX / (width - GUTTER) * (view[1] - view[0]); look(view[0] + d, view[1] + d);
  }
}, { passive: false });
chart.ondblclick = event => zoom(.4, at(place(event)[0]));
let drag = null;
chart.onpointerdown = event => { drag = { x: event.clientX, view: [...view], moved: false }; chart.setPointerCapture(event.pointerId); };
chart.onpointermove = event => {
  const [x, line] = place(event);
  if (drag) {
    const d = (drag.x - event.clientX) / (width - GUTTER) * (drag.view[1] - drag.view[0]);
    if (Math.abs(drag.x - event.clientX) > 3) { drag.moved = true; chart.classList.add("dragging"); }
    if (drag.moved) { tip.hidden = true; look(drag.view[0] + d, drag.view[1] + d); return; }
  }
  hover = { x, y: line }; show(x, line); redraw();
};
chart.onpointerup = event => {
  chart.classList.remove("dragging");
  if (drag && !drag.moved) { const i = find(...place(event)); if (i >= 0) { selected = i; if (C.k[i] >= 0) follow(C.k[i]); } else if (key >= 0 && place(event)[1] < y.latency) { selected = -1; } redraw(); }
  drag = null;
};
chart.onpointerleave = () => { hover = null; tip.hidden = true; redraw(); };
chart.onkeydown = event => {
  const d = (view[1] - view[0]) * .2;
  const move = { ArrowLeft: () => look(view[0] - d, view[1] - d), ArrowRight: () => look(view[0] + d, view[1] + d),
    "+": () => zoom(.6, middle()), "=": () => zoom(.6, middle()), "-": () => zoom(1.6, middle()), 0: () => look(0, END), Escape: () => follow(-1) }[event.key];
  if (move) { event.preventDefault(); move(); }
};
let brush = null;
const overviewTime = event => (event.clientX - overview.getBoundingClientRect().left - GUTTER) / (width - GUTTER) * END;
overview.onpointerdown = event => { brush = overviewTime(event); overview.setPointerCapture(event.pointerId); };
overview.onpointermove = event => { if (brush !== null) { const t = overviewTime(event); if (Math.abs(t - brush) > END / 400) look(Math.min(t, brush), Math.max(t, brush)); } };
overview.onpointerup = event => {
  const t = overviewTime(event);
  if (brush !== null && Math.abs(t - brush) <= END / 400) { const half = (view[1] - view[0]) / 2; look(t - half, t + half); }
  brush = null;
};

// ---- what is under the pointer ------------------------------------------------------------------
function find(x, line) {
  if (x < GUTTER) return -1;
  const t = at(x), slack = (view[1] - view[0]) / (width - GUTTER) * 4;
  if (line >= y.lanes && line < y.lanes + byLane.length * LANE) {
    let best = -1, distance = slack;
    for (const i of byLane[Math.floor((line - y.lanes) / LANE)]) {
      if (C.b[i] > t + slack) break;
      if (!visible(i)) continue;
      const d = t < C.b[i] ? C.b[i] - t : t > endOf(i) ? t - endOf(i) : 0;
      if (d < distance || d === 0 || d === distance && !faint(i)) { best = i; distance = d; }
    }
    return best;
  }
  if (line >= y.latency && line <= y.latency + LATENCY) {
    let best = -1, distance = 64;
    for (const i of completed()) {
      if (!visible(i) || faint(i)) continue;
      const d = (px(C.e[i]) - x) ** 2 + (latencyY(C.e[i] - C.b[i]) - line) ** 2;
      if (d < distance) { best = i; distance = d; }
    }
    return best;
  }
  return -1;
}
function describe(x, line) {
  const t = at(x), i = find(x, line);
  if (i >= 0) {
    const list = [["process", C.p[i]], ["call", time(C.b[i], 1e5)],
      ["return", C.e[i] < 0 ? "none recorded" : time(C.e[i], 1e5) + "  (" + took(C.e[i] - C.b[i]) + ")"], ["outcome", OUT[C.o[i]]]];
    if (C.x[i] >= 0) list.push(["error", data.ops.errors[C.x[i]]]);
    if (C.n[i] >= 0) list.push(["node", data.ops.nodes[C.n[i]]]);
    if (C.t[i] != null) list.push(["term", C.t[i]]);
    if (C.g[i] != null) list.push(["log index", C.g[i]]);
    if (marked.has(i)) list.push(["", "proves a finding"]);
    return [words(i, false), list];
  }
  if (line >= y.faults && line < y.faults + rows.length * FAULT) {
    const row = Math.floor((line - y.faults) / FAULT);
    const f = faults.find(f => f.row === row && f.b <= t && (f.e >= t || f.outcome !== "installed" && f.b + END / 12 >= t));
    if (f) return [f.text, [["step", f.step], ["outcome", f.outcome], ["because", f.because], ["in force", time(f.b, 1e6) + " to " + time(f.e, 1e6)],
      ["evidence", f.evidence]].filter(pair => pair[1])];
  }
  if (line >= y.nodes && line < y.nodes + data.nodes.length * NODE) {
    const node = data.nodes[Math.floor((line - y.nodes) / NODE)], inside = span => span[0] <= t && t <= span[1];
    const role = node.roles.find(inside), rate = node.rates.find(inside), list = [["time", time(t, view[1] - view[0])]];
    if (role) list.push(["role", role[2] + (role[2] === "down" ? "" : " in term " + role[3])], ["since", time(role[0], 1e6)]);
    if (node.paused.some(inside)) list.push(["process", "paused"]);
    if (role && role[2] === "leader") list.push(["lease", node.lease.some(inside) ? "observed valid" : "not observed valid here"]);
    if (rate) list.push(["clock", "× " + rate[2].toFixed(4) + " of true time (± " + rate[3].toFixed(4) + ")"]);
    return [node.name, list];
  }
  return null;
}
function show(x, line) {
  const found = x > GUTTER ? describe(x, line) : null;
  tip.hidden = !found;
  if (!found) return;
  const title = document.createElement("b"), grid = document.createElement("div");
  title.textContent = found[0];
  for (const [name, value] of found[1]) for (const text of [name, value]) { const span = document.createElement("span"); span.textContent = text; grid.append(span); }
  tip.replaceChildren(title, grid);
  const left = x + 18 + tip.offsetWidth > width ? x - tip.offsetWidth - 18 : x + 18;
  tip.style.left = Math.max(0, left) + "px";
  tip.style.top = Math.min(line + 70, y.bottom + 58 - tip.offsetHeight) + "px";
}

// ---- one key ------------------------------------------------------------------------------------
const select = $("key");
data.ops.keys.map((name, n) => [name, n]).sort((a, b) => a[0].localeCompare(b[0], undefined, { numeric: true })).forEach(([name, n]) => {
  const option = document.createElement("option"); option.value = n; option.textContent = name; select.append(option);
});
select.onchange = () => follow(select.value === "" ? -1 : +select.value);
function follow(n) {
  key = n; select.value = n < 0 ? "" : n;
  if (n < 0) { selected = -1; $("keyview").hidden = true; }
  redraw();
}
let tabled = "";
function keyTable() {
  const list = [];
  for (let i = 0; i < N; i++) if (C.k[i] === key && endOf(i) >= view[0] && C.b[i] <= view[1]) list.push(i);
  list.sort((a, b) => C.b[a] - C.b[b]);
  const limit = 60, token = key + ":" + list[0] + ":" + list.length + ":" + selected;
  if (token === tabled) return;
  tabled = token;
  let cut = list;
  if (list.length > limit) {                         // those around what is marked or chosen
    const center = list.findIndex(i => i === selected || selected < 0 && marked.has(i));
    const from = Math.max(0, Math.min(list.length - limit, (center < 0 ? 0 : center) - limit / 2)); cut = list.slice(from, from + limit);
  }
  $("keytitle").textContent = "Key " + data.ops.keys[key] + ": " + list.length + " operations in view" + (cut.length < list.length ? ", " + cut.length + " shown" : "");
  const body = $("keyrows"); body.replaceChildren();
  for (const i of cut) {
    const row = document.createElement("tr");
    if (marked.has(i)) row.className = "marked";
    const cells = [[time(C.b[i], 1e5), 1], [C.e[i] < 0 ? "" : time(C.e[i], 1e5), 1], [C.p[i], 1], [C.n[i] < 0 ? "" : data.ops.nodes[C.n[i]]], [words(i, false)],
      [OUT[C.o[i]] + (C.x[i] < 0 ? "" : ": " + data.ops.errors[C.x[i]])], [C.t[i] ?? "", 1], [C.g[i] ?? "", 1]];
    for (const [text, number] of cells) { const cell = document.createElement("td"); cell.textContent = text; if (number) cell.className = "number"; row.append(cell); }
    row.onclick = () => { selected = i; const half = (view[1] - view[0]) / 2, m = (C.b[i] + endOf(i)) / 2; look(m - half, m + half); };
    body.append(row);
  }
  $("keyview").hidden = false;
}

// ---- findings -----------------------------------------------------------------------------------
function jump(n, scroll) {
  const finding = data.findings[n];
  if (!finding) return;
  let times = finding.ops.flatMap(i => [C.b[i], endOf(i)]).concat(finding.ops.length ? [] : finding.times);
  if (!times.length && finding.time) times = [finding.time];
  if (!times.length) return;
  let from = Math.min(...times), to = Math.max(...times);
  if (to - from > 5e6) from = Math.max(from, to - 1e6);   // the proof begins long ago: show where it ends
  const room = Math.max((to - from) * .35, 40000);
  if (finding.key != null) follow(data.ops.keys.indexOf(finding.key));
  look(from - room, to + room);
  if (scroll) stage.scrollIntoView({ behavior: "smooth", block: "start" });
}
for (const button of document.querySelectorAll(".jump")) { button.hidden = false; button.onclick = () => jump(+button.dataset.finding, true); }
if (data.findings.length) { $("focus").hidden = false; $("focus").onclick = () => jump(0, false); }
if (data.leftOut) $("hint").append(" " + data.leftOut + " operations far from any finding are left out of the drawing.");

readColors();
jump(0, false);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); redraw(); });
new ResizeObserver(redraw).observe(stage);
paint();
})();
