"""Reports from completed jobs: everything is shown, nothing is executed, nothing is fetched."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import msgspec
import pytest

import edgeproof.lab
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobError, JobView, Withdrawal
from edgeproof.lab.bundle import response_bundle
from edgeproof.lab.dev_bundle import OBJECTS, dev_bundle
from edgeproof.lab.report import ReportJob, render_html, render_markdown
from edgeproof.testing.evidence import NOW, Scene
from edgeproof.testing.folder import make_folder

NASTY = "<script>alert('x')</script> | `a` \n# b"
VOID = {"meta", "br"}


def reported(candidate: str, scene: Scene, *, raw: bool = True, **changes: object) -> ReportJob:
    made = make_folder(scene)
    result = json.loads(json.dumps(response_bundle(made.dossier, made.decision, made.decision_digest)))
    fields = {"status": "completed", "result": {**result, **changes}, "error": None}
    documents = made.evidence.documents if raw else {}
    return ReportJob(candidate=candidate, job=view(scene.job_id, **fields), documents=documents)


def view(job_id: str, **fields: object) -> JobView:
    given = {
        "created_at": NOW,
        "updated_at": NOW,
        "input_summary": {"workflow": "analyze", "model_path": "sha256:" + "a" * 64, "options": {}},
        "links": {},
        "next_actions": (),
        **fields,
    }
    return JobView(job_id=job_id, **given)


GOOD = reported("int8, calibrated", Scene(images=1000))
BAD = reported("int8, wrong data", Scene(job_id="job_bad", images=1000, accuracy=(0.98, 0.1)))
FAILED = ReportJob(
    candidate="broken",
    job=view(
        "job_failed",
        status="failed",
        result=None,
        error=JobError(code="model_truncated", message="cut short", stage="forge"),
    ),
)

BY_HAND = ReportJob(
    candidate="by hand",
    job=view(
        "job_by_hand",
        status="completed",
        result=dev_bundle(
            {
                **{name: {} for name in OBJECTS},
                "summary": {"deployment_decision": "deployable"},
                "deployment_decision": {"decision": "deployable", "reason": "<b>trust me</b>"},
                "comparison": {"rendered": {"html": "<script>x</script>", "markdown": "<script>x</script>"}},
            },
            "edgeproof-default-v1",
            "a" * 64,
        ),
        error=None,
    ),
)


class Page(HTMLParser):
    """Checks that elements nest, and keeps what could load or run something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "xlink:href")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_candidate_with_its_decision_and_reasons() -> None:
    page = Page(render_html([GOOD, BAD, FAILED]))
    for job in (GOOD, BAD):
        result = job.job.result or {}
        assert job.candidate in page.text
        for reason in result["deployment_decision"]["reasons"]:
            assert reason["effect"] in page.text
            assert all(detail in page.text for detail in reason["details"])
        for digest in (result["decision_digest"], *(one["digest"] for one in result["evidence"])):
            assert digest in page.text
    assert "deployable" in page.text
    assert "blocked" in page.text
    assert "model_truncated: cut short" in page.text
    assert page.tags.count("svg") == 2 * 4


def test_the_page_needs_no_network_and_runs_nothing() -> None:
    html = render_html([GOOD, BAD])
    page = Page(html)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(page.tags)
    assert page.handlers == []
    assert all(link.startswith("#") for link in page.links)
    assert html.count("url(") == html.count("url(#")
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.links} <= set(ids)
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_names_are_shown_and_not_interpreted() -> None:
    nasty = ReportJob(candidate=NASTY, job=GOOD.job)
    page = Page(render_html([nasty]))
    assert "script" not in page.tags
    assert NASTY in page.text
    markdown = render_markdown([nasty])
    assert "<script>" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows[:2]}
    assert cells == {6}


def test_names_in_the_bundle_are_shown_and_not_interpreted() -> None:
    made = make_folder(Scene())
    comparison = made.decision.predicate.deployment_decision
    shown = response_bundle(made.dossier, made.decision, made.decision_digest)["comparison"]["rendered"]
    assert comparison.reasons[0].effect in shown["html"]
    assert "no regression" in shown["markdown"]


def test_markdown_tells_the_decision_first() -> None:
    lines = render_markdown([BAD]).splitlines()
    section = lines.index("### int8, wrong data: blocked")
    assert lines[section + 2].startswith("- **The guard found an error")
    assert any(line.startswith("| p90 |") for line in lines)


def test_the_summary_names_the_metric_of_each_candidates_latency() -> None:
    """A policy may put the p90 first, and two candidates may be judged under two policies."""
    result = json.loads(json.dumps(GOOD.job.result))
    result["comparison"]["result"]["latency"].reverse()
    gate = result["comparison"]["result"]["latency"][0]
    assert gate["metric"] == "p90"
    turned = ReportJob("p90 first", view("job_p90", status="completed", result=result, error=None))
    for jobs in ([GOOD, turned], [turned, GOOD]):
        page, markdown = render_html(jobs), render_markdown(jobs)
        summary = Page(page[page.index("<table") : page.index("</table>") + 8]).text
        rows = "\n".join(line for line in markdown.splitlines()[:8] if line.startswith("|"))
        for told in (summary, rows):
            assert sorted(re.findall(r"p\d\d [\d.]+ ms", told)) == ["p50 0.4993 ms", "p90 0.5045 ms"]
            assert "p90 certified" in told
        assert "p50" not in markdown.splitlines()[2]


def test_markdown_tells_in_its_details_what_the_page_tells() -> None:
    result = json.loads(json.dumps(BAD.job.result))
    around = result["provenance"]["environment"]
    around["before"].update(governor="powersave", temperature_c=41.5)
    around["after"].update(governor="performance", versions={"onnxruntime": "1.29.0"})
    job = view("job_bad", status="completed", result=result, error=None)
    markdown = render_markdown([replace(BAD, job=job)])
    before, details = markdown.split("<details>")
    assert "blocked" in before and "Next: Do not deploy." in before
    details, after = details.split("</details>")
    assert after.startswith("\n\nSigned by control plane")
    for told in (
        "| first inference | 3.000 ms | 3.000 ms | +0.0 % | median of starts |",
        "| load | 20.00 ms |",
        "| peak memory | 83.9 MB |",
        "| artifact size | 1 kB |",
        "| baseline right | 100 | **880** lost |",
        "| 9 | 100 | 98 | 10 | 88 | 0 |",
        "Lost samples, by place in the data set: 20 (0 → 1), ",
        "Only the baseline is right on 880 samples, only the candidate on 0.",
        "| risky\\_tradeoff | warning | faster, and less accurate",
        "| likely\\_quantization\\_effect | note |",
        "Passed: provenance\\_mismatch (18), ",
        "**Environment**: invented, 2 logical processors, 1.07 GB memory, Linux",
        "Versions: onnxruntime 1.29.0.",
        "| governor | powersave | performance |",
        "| temperature | 41.5 °C | not told |",
        "| p95 | 1.016 ms | 0.5068 ms | -50.1 % | interval above; not certified (64 of 130) |",
        'curl --fail-with-body "$EDGEPROOF_SERVER/api/analyze"',
        '"model_path": "sha256:' + "a" * 64,
        "edgeproof report job_bad --out report",
    ):
        assert told in details, told


def test_tables_of_the_markdown_hold_together() -> None:
    """A table is rows without a gap, of as many cells as its head, whatever the names in it are."""
    result = json.loads(json.dumps(BAD.job.result))
    result["provenance"]["environment"]["before"]["governor"] = NASTY
    result["provenance"]["environment"]["after"]["versions"] = {NASTY: NASTY}
    result["runtime_result"]["system"]["cpu_model"] = NASTY
    result["guard_analysis"]["evidence"][0].update(type=NASTY, explanation=NASTY, recommendation=NASTY)
    asked = {"model_path": "x", "notes": "\n```\n</pre>\n| <b>"}
    job = view("job_x", status="completed", result=result, error=None, input_summary=asked)
    lines = render_markdown([replace(BAD, candidate=NASTY, job=job)]).splitlines()
    prose = re.sub(r"(?s)^```.*?^```$", "", "\n".join(lines), flags=re.MULTILINE)
    assert "<script>" not in prose and "<b>" not in prose and "</details>" in prose
    assert len([line for line in lines if line.startswith("```")]) == 4
    heads = [at for at, line in enumerate(lines) if re.fullmatch(r"[|:-]+", line)]
    assert len(heads) == 7
    for at in heads:
        end = next(row for row in range(at, len(lines)) if not lines[row].startswith("|"))
        assert lines[at - 2] == lines[end] == "" and end > at + 1
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in lines[at - 1 : end]}) == 1


def test_an_unbounded_interval_is_told() -> None:
    result = json.loads(json.dumps(GOOD.job.result))
    gate = result["comparison"]["result"]["latency"][0]
    gate.update(ratio_low=None, ratio_high=None, verdict="inconclusive", improved=False)
    job = ReportJob(candidate="few pairs", job=view("job_few", status="completed", result=result, error=None))
    assert "no interval" in Page(render_html([job])).text
    assert "unbounded" in render_markdown([job])


def test_kinds_of_figures_are_told() -> None:
    assert "all figures simulated" in render_html([reported("x", Scene(numbers="simulated"))])


@pytest.mark.parametrize("result", [{}, {"comparison": 3}, {"comparison": {"result": {}}}])
def test_another_kind_of_result_is_refused(result: dict[str, object]) -> None:
    job = ReportJob(candidate="x", job=view("job_x", status="completed", result=result, error=None))
    for render in (render_html, render_markdown):
        with pytest.raises(Refused) as caught:
            render([job])
        assert (caught.value.code, "job_x" in caught.value.detail) == ("result_invalid", True)


def test_the_charts_take_their_colours_from_the_page() -> None:
    html = render_html([GOOD])
    drawn = html[html.index("<svg") : html.rindex("</svg>")]
    assert re.findall(r"#[0-9a-f]{6}\b", re.sub(r'(id|href)="[^"]*"|url\([^)]*\)', "", drawn)) == []
    variables = set(re.findall(r"var\(--([a-z-]+)\)", drawn))
    assert {"baseline", "candidate", "ink", "soft", "line", "good"} <= variables
    assert all(f"--{name}:" in html for name in variables)
    assert "font:" not in drawn


def test_the_same_job_gives_the_same_page() -> None:
    assert render_html([GOOD, BAD]) == render_html([GOOD, BAD])


def test_percentiles_are_certified_or_it_is_told_what_is_wanting() -> None:
    for text in (Page(render_html([GOOD])).text, render_markdown([GOOD])):
        assert "not certified (64 of 130)" in text
        assert "not certified (64 of 662)" in text
        assert "of 64)" not in text
    few = Page(render_html([reported("few blocks", Scene(blocks=7))])).text
    assert "not certified (56 of 64)" in few
    assert (
        "p90 ratio" in few
        and "is not certified (56 of 64) blocks, too few to hold it against a margin" in few
    )


def test_percentiles_over_all_calls_are_certified_or_it_is_told_what_is_wanting() -> None:
    """In the table of figures too, and not only where the ratios are."""
    page = render_html([GOOD])
    figures = page[page.index("<th>certainty</th>") :]
    told = dict(
        re.findall(
            r'<tr><th>(\w+)</th>(?:\s*<td class="num">[^<]*</td>)+<td class="soft nowrap">(.*?)</td>', figures
        )
    )
    assert told["p50"] == told["mean"] == "interval above"
    assert told["p90"] == "interval above; certified"
    assert told["p95"] == "interval above; not certified (64 of 130)"
    assert told["p99"] == "interval above; not certified (64 of 662)"
    assert told["max"] == "no interval"


def test_flips_are_counted() -> None:
    text = " ".join(Page(render_html([BAD])).text.split())
    assert "880 lost" in text
    assert "0 gained" in text
    assert "Lost samples" in text


def test_without_raw_data_the_rest_is_shown() -> None:
    page = Page(render_html([reported("no raw data", Scene(), raw=False)]))
    assert page.tags.count("svg") == 1
    assert "lost" not in page.text


def test_without_matplotlib_the_tables_are_shown_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "edgeproof.lab.charts", raising=False)
    monkeypatch.delattr(edgeproof.lab, "charts", raising=False)
    page = Page(render_html([GOOD]))
    assert "svg" not in page.tags
    assert "made without the extra edgeproof[report]" in page.text
    assert "not certified (64 of 130)" in page.text


def test_raw_data_of_another_digest_is_refused() -> None:
    changed = {digest: data + b" " for digest, data in GOOD.documents.items()}
    with pytest.raises(Refused, match="another digest") as caught:
        render_html([replace(GOOD, documents=changed)])
    assert caught.value.code == "result_invalid"


def test_nothing_to_report_is_a_page_too() -> None:
    assert "0 candidates" in Page(render_html([])).text
    assert "Edgeproof report" in render_markdown([])


def test_the_device_under_the_figures_is_told() -> None:
    """Noise floor, background, contaminated blocks, warm-up: in every form."""
    told = "noise floor is p50 0.5 %, p90 0.5 %; background load: blocks waited 0 % of their time"
    assert told in render_html([GOOD]) and told in render_markdown([GOOD])
    restless = reported("restless", Scene(images=1000, settled=False))
    assert "warm-up of process pair 0, 1, 2, 3, 4, 5, 6, 7 never came to rest" in render_html([restless])


def test_the_devices_power_clocks_and_uncounted_waits_are_shown() -> None:
    assert GOOD.job.result is not None
    provenance = GOOD.job.result["provenance"]
    after = {
        **provenance["environment"]["after"],
        "power_mode": "15W", "max_frequency_mhz": [729.6, 1510.4], "waits_told": False,
    }  # fmt: skip
    environment = {**provenance["environment"], "after": after}
    page = render_html(
        [reported("told", Scene(images=1000), provenance={**provenance, "environment": environment})]
    )
    rows = {
        "power mode": ("not told", "15W"),
        "highest clocks": ("not told", "729.6, 1510.4 MHz"),
        "waits for a processor": ("counted", "not told"),
    }
    for name, (before, now) in rows.items():
        cells = f'<td class="num">{before}</td><td class="num">{now}</td>'
        assert f"<tr><th>{name}</th>{cells}</tr>" in page


def test_a_guard_finding_for_information_is_a_note_and_no_warning() -> None:
    assert GOOD.job.result is not None
    evidence = [*GOOD.job.result["guard_analysis"]["evidence"]]
    note = {**evidence[0], "type": "for_information", "status": "warning", "severity": "low"}
    analysis = {**GOOD.job.result["guard_analysis"], "evidence": [*evidence, note]}
    page = render_html([reported("noted", Scene(images=1000), guard_analysis=analysis)])
    row = page[page.index("for_information") :][:200]
    assert 'class="badge note' in row and "warning" not in row


def test_an_unsigned_result_is_named_and_not_shown() -> None:
    for page in (render_html([GOOD, BY_HAND]), render_markdown([GOOD, BY_HAND])):
        assert "unsigned evidence, which proves nothing" in page
        assert "<script>x" not in page
        assert "<b>trust me" not in page
    assert "unsigned evidence" in render_html([BY_HAND])


def test_a_withdrawn_decision_is_told_first() -> None:
    given = reported("candidate", Scene())
    key = make_folder(Scene()).evidence.runner.public
    told = Withdrawal(
        at=NOW, by="admin-1", reason="<b>stolen</b>", runner_key=key.base64, compromised_since=NOW,
        signed_decision="deployable",
    )  # fmt: skip
    withdrawn = replace(given, job=msgspec.structs.replace(given.job, withdrawn=told))
    page, text = render_html([withdrawn]), render_markdown([withdrawn])
    for shown in (page, text):
        assert "counts no more" in shown
        assert key.fingerprint in shown
    assert "<b>stolen" not in page
    assert "counts no more" not in render_html([given])
