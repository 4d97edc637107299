"""The page around the timeline: verdict, findings, what was and was not checked, tables. Readable without its script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from typing import Any, Final

import msgspec

from checkers.records.schema import Evidence, Finding, Verdict
from harness.report import words
from harness.report.lanes import counts, errors, leaderships, node_lanes
from harness.report.load import LoadedRun
from harness.report.payload import payload

EVIDENCE_SHOWN: Final = 40
FINDINGS_SHOWN: Final = 50

_CLASSES: Final[dict[str, str]] = {
    "valid": "good",
    "invalid": "bad",
    "unknown": "warn",
    "insufficient coverage": "warn",
    "harness error": "odd",
    "holds": "good",
    "violated": "bad",
    "failed": "bad",
    "not checked": "quiet",
    "installed": "good",
    "skipped": "quiet",
    "indeterminate": "warn",
    "asked": "quiet",
}


def render(run: LoadedRun) -> str:
    """The whole document. Raises nothing for what the records hold."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    lanes = node_lanes(run)
    verdict = run.verdict
    name = verdict.verdict if verdict else "no verdict"
    sections = [
        _hero(run),
        _findings(verdict.findings if verdict else []),
        _timeline(run),
        _checked(verdict),
        _operations(run),
        _faults(run),
        _leaders(run),
        _files(run),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(name)}: {escape(run.name)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            "<main>",
            *(section for section in sections if section),
            "</main>",
            f'<script type="application/json" id="data">{_embed(payload(run, lanes))}</script>',
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _asset(name: str) -> str:
    return (resources.files("harness.report") / name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embed(document: Any) -> str:
    """JSON that cannot end its script element, begin a comment, or break a line."""
    text = msgspec.json.encode(document).decode()
    for raw, safe in (
        ("&", "\\u0026"),
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(raw, safe)
    return text


def _badge(status: str, text: str = "") -> str:
    return f'<span class="badge {_CLASSES.get(status, "quiet")}">{escape(text or status)}</span>'


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "") -> str:
    """Cells are HTML already; heads are text. A head that begins with # is a column of numbers."""
    named = [(head.removeprefix("#"), head.startswith("#")) for head in heads]
    head = "".join(
        f'<th scope="col"{" class=number" if number else ""}>{escape(text)}</th>'
        for text, number in named
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=number' if number else ''}>{cell}</td>"
            for cell, (_, number) in zip(row, named, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _section(title: str, body: str, kind: str = "") -> str:
    return f'<section class="card {kind}"><h2>{escape(title)}</h2>{body}</section>' if body else ""


def _hero(run: LoadedRun) -> str:
    verdict = run.verdict
    name = verdict.verdict if verdict else "no verdict"
    headline = verdict.headline if verdict else "No verdict was saved for these records."
    meaning = words.VERDICTS.get(name, "driftline check judges them.")
    parts = [
        f'<header class="card hero {_CLASSES.get(name, "quiet")}">',
        f'<p class="verdict">{escape(name)}</p>',
        f'<h1>{escape(headline or meaning)}</h1><p class="meaning">{escape(meaning)}</p>',
    ]
    if verdict:
        if verdict.interrupted:
            parts.append(
                '<p class="warning">Interrupted: this judges what was recorded until then.</p>'
            )
        if verdict.watch:
            parts.append(f"<p>{escape(verdict.watch)}.</p>")
        if verdict.expectation:
            parts.append(
                f"<p>What the plan expected of this run was "
                f"<strong>{escape(verdict.expectation)}</strong>.</p>"
            )
        parts += [f'<p class="warning">{escape(text)}</p>' for text in verdict.harness_errors]
    parts.append(f"<dl>{''.join(_facts(run))}</dl>")
    again = (verdict.rerun if verdict else "") or (run.plan_facts.rerun if run.plan_facts else "")
    if again:
        parts.append(
            f'<p class="again"><span>Run it again</span><code id="again">{escape(again)}</code>'
            '<button type="button" id="copy" hidden>Copy</button></p>'
        )
    parts.append("</header>")
    return "".join(parts)


def _facts(run: LoadedRun) -> list[str]:
    pairs: list[tuple[str, str]] = [("run", run.name)]
    if run.plan_facts:
        pairs.append(("seed", str(run.plan_facts.seed)))
        if run.plan_facts.bugs:
            pairs.append(("seeded bugs", " ".join(run.plan_facts.bugs)))
    if run.header:
        header = run.header
        pairs += [
            ("workload", header.workload.name),
            ("cluster", f"{len(header.nodes)} nodes, {header.clients} clients"),
            (
                "lease",
                f"{'on' if header.lease else 'off'}, E {header.election_timeout_ms} ms, "
                f"D {header.max_clock_drift_ms} ms",
            ),
        ]
    total = len(run.operations)
    ok = sum(operation.outcome == "ok" for operation in run.operations)
    fail = sum(operation.outcome == "fail" for operation in run.operations)
    installed = sum(step.outcome == "installed" for step in run.steps)
    pairs.append(("operations", f"{total} ({ok} ok, {fail} fail, {total - ok - fail} info)"))
    pairs.append(("faults", f"{installed} of {len(run.steps)} installed"))
    pairs.append(("length", words.seconds(run.end_ns, 1)))
    if run.facts_header:
        links = run.facts_header.links
        version = run.facts_header.versions.get(links, "")
        pairs.append(("links", f"{links} {version}".strip()))
        if run.facts_header.filesystem:
            pairs.append(("file system", run.facts_header.filesystem))
    return [f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>" for a, b in pairs]


def _findings(findings: list[Finding]) -> str:
    if not findings:
        return ""
    cards = []
    for number, finding in enumerate(findings[:FINDINGS_SHOWN]):
        notes = ""
        if finding.outside_contract:
            notes += "<p>Outside the contract: the plan itself broke an assumption it rests on.</p>"
        if finding.voided_by:
            notes += (
                '<p class="warning">Rests on assumptions that failed: '
                f"{escape(', '.join(finding.voided_by))}.</p>"
            )
        cards.append(
            f'<article class="finding"><h3>{_badge("violated", finding.property)} '
            f"{escape(words.property_name(finding.property).partition(' ')[2])}"
            f'<button type="button" class="jump" data-finding="{number}" hidden>'
            "Show in the timeline</button></h3>"
            f'<p class="what">{escape(finding.text)}</p>'
            f'<p class="meaning">{escape(words.explanation(finding.property))}</p>{notes}'
            f"{_proof(finding.evidence)}</article>"
        )
    if len(findings) > FINDINGS_SHOWN:
        cards.append(f"<p>And {len(findings) - FINDINGS_SHOWN} more in verdict.json.</p>")
    first, others = cards[0], cards[1:]
    if others:
        # Folded, so that the timeline, which opens at the first one, stands right below it.
        count = len(findings) - 1
        more = f"{count} more finding{'s' if count > 1 else ''}"
        first += f"<details><summary>{more}</summary>{''.join(others)}</details>"
    return _section(f"Findings ({len(findings)})", first)


def _proof(evidence: list[Evidence]) -> str:
    if not evidence:
        return ""
    rows = [
        (
            words.seconds(proof.time) if proof.time else "",
            f"<code>{escape(proof.file)}:{proof.index}</code>",
            escape(proof.text),
        )
        for proof in evidence[:EVIDENCE_SHOWN]
    ]
    more = len(evidence) - EVIDENCE_SHOWN
    tail = f"<p>And {more} more events in verdict.json.</p>" if more > 0 else ""
    return _table(("#time", "record", "what it says"), rows, "proof") + tail


def _timeline(run: LoadedRun) -> str:
    if not run.operations and not run.steps and not run.node_events:
        return ""
    return _section(
        "Timeline",
        '<div class="tools" id="tools" hidden>'
        '<label>key <select id="key"><option value="">all</option></select></label>'
        '<fieldset><label><input type="checkbox" id="ok" checked>'
        '<i class="swatch ok"></i>ok</label>'
        '<label><input type="checkbox" id="fail" checked><i class="swatch fail"></i>fail</label>'
        '<label><input type="checkbox" id="info" checked>'
        '<i class="swatch info"></i>info</label></fieldset>'
        '<span class="buttons"><button type="button" id="out" aria-label="zoom out">&minus;</button>'
        '<button type="button" id="in" aria-label="zoom in">+</button>'
        '<button type="button" id="fit">whole run</button>'
        '<button type="button" id="focus" hidden>finding</button></span>'
        '<span class="range" id="range"></span></div>'
        '<div id="stage" hidden><canvas id="overview" height="52"></canvas>'
        '<canvas id="chart" tabindex="0" aria-label="timeline of the run"></canvas>'
        '<div id="tip" hidden></div></div>'
        '<p class="hint" id="hint" hidden>Drag to move, Ctrl + wheel or double-click to zoom, '
        "drag in the strip on top to choose a stretch; click an operation to follow its key. "
        "Solid bars change something, light bars read.</p>"
        '<div id="keyview" hidden><h3 id="keytitle"></h3><div class="scroll">'
        '<table class="keyops"><thead><tr><th class="number">call</th><th class="number">return'
        '</th><th class="number">process</th><th>node</th><th>operation</th><th>outcome</th>'
        '<th class="number">term</th><th class="number">log index</th></tr></thead>'
        '<tbody id="keyrows"></tbody></table></div></div>'
        "<noscript><p>The timeline needs JavaScript; everything else on this page does not."
        "</p></noscript>",
        "timeline",
    )


def _checked(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    body = ""
    if verdict.properties:
        body += _table(
            ("property", "status", "why and how much"),
            [
                (
                    f"<strong>{escape(item.property)}</strong> "
                    f"{escape(item.title or words.property_name(item.property))}",
                    _badge(item.status),
                    _because(item.because, item.statistics),
                )
                for item in verdict.properties
            ],
        )
    if verdict.assumptions:
        body += "<h3>Assumptions that this rests on</h3>" + _table(
            ("assumption", "status", "as measured"),
            [
                (
                    escape(item.name.replace("_", " ")),
                    _badge(item.status, item.status + (" as planned" if item.planned else "")),
                    _because(item.because, item.statistics),
                )
                for item in verdict.assumptions
            ],
        )
    if verdict.quotas:
        body += "<h3>What the run promised to exercise</h3>" + _table(
            ("quota", "#wanted", "#got", "reached"),
            [
                (
                    escape(item.name.replace("_", " ")),
                    f"{item.wanted:g}",
                    f"{item.got:g}",
                    _badge("holds", "yes") if item.reached else _badge("violated", "no"),
                )
                for item in verdict.quotas
            ],
        )
    if verdict.coverage:
        body += "<h3>Statistics</h3>" + _table(
            ("what", "value"),
            [
                (escape(name.replace("_", " ")), escape(_flat(item)))
                for name, item in verdict.coverage.items()
            ],
        )
    return _section("What was and was not checked", body)


def _because(text: str, statistics: Mapping[str, Any]) -> str:
    parts = [escape(text)] if text else []
    if statistics:
        parts.append(f'<span class="quiet">{escape(_flat(statistics))}</span>')
    return "<br>".join(parts)


def _flat(item: Any) -> str:
    from harness.show import flat

    return flat(item)


def _operations(run: LoadedRun) -> str:
    rows = []
    for row in counts(run.operations):
        ranks = [row.percentile(part) for part in (0.5, 0.95, 0.99, 1.0)]
        rows.append(
            (
                escape(row.name),
                str(row.ok),
                str(row.fail),
                str(row.info),
                *("" if rank is None else words.length(rank) for rank in ranks),
            )
        )
    if not rows:
        return ""
    body = _table(("operation", "#ok", "#fail", "#info", "#p50", "#p95", "#p99", "#longest"), rows)
    failures = errors(run.operations)
    if failures:
        body += "<h3>Errors</h3>" + _table(
            ("#times", "outcome", "error"),
            [(str(count), escape(kind), escape(text)) for kind, text, count in failures[:20]],
        )
    return _section("Operations", body)


def _faults(run: LoadedRun) -> str:
    end = run.end_ns
    rows = []
    for step in run.steps:
        asked, targets = step.merged()
        force = step.in_force(end)
        installed = step.installed
        rows.append(
            (
                words.seconds(step.begin, 2),
                f"<strong>{escape(step.step)}</strong>",
                escape(words.fault(step.kind, asked, targets)),
                words.length(installed.time_end - installed.time_begin)
                if installed and force
                else "",
                words.seconds(force[1] - force[0], 2) + (", not healed" if step.unhealed else "")
                if force
                else "",
                _badge(step.outcome),
                escape(
                    "; ".join(
                        part
                        for part in (
                            (installed.because or "") if installed else "",
                            words.evidence(installed.evidence, 200) if installed else "",
                        )
                        if part
                    )
                ),
            )
        )
    if not rows:
        return ""
    return _section(
        "Faults",
        _table(("#at", "step", "what", "#took", "#in force", "outcome", "evidence"), rows),
    )


def _leaders(run: LoadedRun) -> str:
    rows = [
        (
            str(one.term),
            escape(one.node),
            words.seconds(one.begin, 2),
            words.seconds(one.end, 2),
            words.seconds(one.end - one.begin, 2),
        )
        for one in leaderships(node_lanes(run))
    ]
    if not rows:
        return ""
    return _section("Leaders by term", _table(("#term", "node", "#from", "#to", "#for"), rows))


def _files(run: LoadedRun) -> str:
    parts = []
    if run.verdict and run.verdict.recovered:
        files = "".join(f"<li><code>{escape(file)}</code></li>" for file in run.verdict.recovered)
        parts.append(
            f"<p>A torn last line was cut on reading (normal after a kill):</p><ul>{files}</ul>"
        )
    if run.notes:
        notes = "".join(f"<li>{escape(note)}</li>" for note in run.notes)
        parts.append(f"<p>Not on this page:</p><ul>{notes}</ul>")
    versions = dict(run.verdict.versions) if run.verdict else {}
    if run.facts_header:
        versions = {**run.facts_header.versions, **versions}
    if versions:
        said = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        parts.append(f"<p>Versions: {escape(said)}.</p>")
    if run.verdict and run.verdict.seconds:
        parts.append(f"<p>Seconds: {escape(_flat(run.verdict.seconds))}.</p>")
    return _section("Records", "".join(parts))
