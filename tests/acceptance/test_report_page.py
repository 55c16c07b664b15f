"""The report in a real browser, in both schemes, wide, on a phone, on paper: nothing cut off, no overlaps."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeproof.contract.jobs import JobView
from edgeproof.lab.bundle import response_bundle
from edgeproof.lab.report import ReportJob, render_html
from edgeproof.testing.evidence import NOW, Scene
from edgeproof.testing.folder import make_folder

from .chromium import Page, chromium

pytestmark = pytest.mark.slow

SCENES = {
    "a candidate with quite a long name, calibrated on 1,000 images": Scene(images=1000, blocks=9),
    "wrong data": Scene(job_id="job_bad", images=1000, accuracy=(0.98, 0.1)),
    "slower": Scene(job_id="job_slow", images=1000, ratio=1.031, jitter=0.02, pairs=16, blocks=5),
    "unlabelled": Scene(job_id="job_plain", accuracy=None, ratio=30.0),
}
VISIBLE = "[...document.querySelectorAll('svg')].filter(one => one.getBoundingClientRect().width > 0)"
CHARTS = f"""{VISIBLE}.map(svg => {{
  const box = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map(text => {{
    const {{left, right, top, bottom}} = text.getBoundingClientRect();
    return {{left, right, top, bottom, text: text.textContent, colour: getComputedStyle(text).fill,
             size: parseFloat(getComputedStyle(text).fontSize) * box.width / svg.viewBox.baseVal.width}};
  }});
  return {{label: svg.ariaLabel, left: box.left, right: box.right, top: box.top, bottom: box.bottom, texts}};
}})"""
A4 = 718
"""CSS pixels: 210 mm without margins of 10 mm."""
CUT_OFF = """[...document.querySelectorAll('body *')].filter(one =>
  getComputedStyle(one).overflowX !== 'visible' && one.scrollWidth > one.clientWidth + 1
).map(one => one.innerText)"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_html([_reported(name, scene) for name, scene in SCENES.items()]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("media", "width"), [("screen", 1100), ("screen", 390), ("print", A4)])
def test_everything_is_in_view_and_readable(
    report: Path, page: Page, tmp_path: Path, media: str, width: int, scheme: str
) -> None:
    page.open(report, width=width, scheme=scheme, media=media)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    charts = page.evaluate(CHARTS)
    assert len(charts) == 3 * len(SCENES)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for chart in charts:
        assert chart["right"] - chart["left"] > 250
        assert chart["bottom"] - chart["top"] > 60
        assert len(chart["texts"]) >= 4
        for text in chart["texts"]:
            assert text["left"] >= chart["left"] - 2, (chart["label"], text)
            assert text["right"] <= chart["right"] + 2, (chart["label"], text)
            assert text["top"] >= chart["top"] - 2, (chart["label"], text)
            assert text["bottom"] <= chart["bottom"] + 2, (chart["label"], text)
            assert text["size"] >= 8.5, (chart["label"], text)
            assert _contrast(text["colour"], ground) >= 4.5
        assert _overlaps(chart["texts"]) == [], chart["label"]
    page.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 50_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_white_and_cuts_nothing_off(report: Path, page: Page, scheme: str) -> None:
    """Nobody can scroll it. Its ink is dark whatever the screen's scheme."""
    page.open(report, width=A4, scheme=scheme, media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= A4
    assert page.evaluate(CUT_OFF) == []
    assert _luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
    assert _luminance(page.evaluate("getComputedStyle(document.body).color")) < 0.1


def test_the_schemes_differ(report: Path, page: Page) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page.open(report, width=1100, scheme=scheme)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert _luminance(grounds[0]) > 0.9
    assert _luminance(grounds[1]) < 0.1


def test_it_asks_for_nothing_and_complains_of_nothing(report: Path, page: Page) -> None:
    page.requests.clear()
    page.complaints.clear()
    page.open(report, width=1100, scheme="light")
    page.evaluate("1")
    assert page.requests == [report.as_uri()]
    assert page.complaints == []


def _reported(name: str, scene: Scene) -> ReportJob:
    made = make_folder(scene)
    result = json.loads(json.dumps(response_bundle(made.dossier, made.decision, made.decision_digest)))
    job = JobView(
        job_id=scene.job_id, status="completed", created_at=NOW, updated_at=NOW, result=result, error=None,
        input_summary={"workflow": "analyze", "model_path": "sha256:" + "a" * 64, "options": {}},
        links={}, next_actions=(),
    )  # fmt: skip
    return ReportJob(candidate=name, job=job, documents=made.evidence.documents)


def _overlaps(texts: list[dict[str, float]]) -> list[tuple[object, object]]:
    """Pairs of texts that share more than a hair's breadth."""
    return [
        (one["text"], other["text"])
        for index, one in enumerate(texts)
        for other in texts[index + 1 :]
        if min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 3
    ]


def _luminance(colour: str) -> float:
    """WCAG 2 relative luminance of a computed ``rgb(…)``."""
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : colour.index(")")].split(",")[:3]]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
